"""Experts under a memory budget: which of them stand in fast memory, and what is read in next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from gearshift.expert_profile import LIKELY, ExpertProfile, Shares
from gearshift.experts import STREAMING_SLOTS
from gearshift.program import Program

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Read = Callable[[str, int, int], None]
"""read(bank, expert, slot) copies one expert's weights into a slot."""
Group = list[tuple[int, int]]
"""Experts of one bank and the slots where they stand."""


class ExpertStore:
    """Slots in fast memory for experts; what is not there is read in, ahead of its use if it can.

    A slot's content gives way when it is the one that is expected back last: L. A. Belady, "A study
    of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5 (1966), with
    the expected time of the next use (`ExpertProfile.waits`) in the place of the known one. Which
    expert stands where follows from the runs alone, never from how long a read took.

    For one thread at a time.
    """

    hits: int
    """Of the run: chosen experts that stood in a slot, or were on their way, when their bank's
    turn came."""
    misses: int
    """Of the run: chosen experts that did not. hits + misses = chosen."""
    moves: int
    """Of the run: experts that were read, for a miss or ahead of time."""

    def __init__(
        self, banks: Mapping[str, int], slots: int, read: Read, profile: ExpertProfile
    ) -> None:
        """All slots are empty.

        Args:
            banks: experts by mixture, in the order of a run.
            slots: at least two, so that one expert computes while the next one arrives; see
                `gearshift.experts.plan_residency`.
            read: copies one expert's weights into a slot. Called in the store's loader thread, one
                call after the other; it should release the GIL. What it raises, `take` raises.
            profile: of the same banks.

        Raises:
            ValueError: fewer than two slots.
        """
        if slots < STREAMING_SLOTS:
            raise ValueError(f"{slots} slots: an expert store needs {STREAMING_SLOTS} or more")
        self._banks = tuple(banks)
        self._read = read
        self._profile = profile
        self._content: list[tuple[str, int] | None] = [None] * slots
        self._slot: dict[tuple[str, int], int] = {}
        self._reads: dict[int, Future[None]] = {}
        """By slot, the read of its content, in the order in which they were asked for."""
        self._loader: ThreadPoolExecutor | None = None
        self.hits = self.misses = self.moves = 0

    def begin(self, task: str) -> None:
        """A run of `task` starts: its counts are zero, and its first experts are sent for."""
        self.hits = self.misses = self.moves = 0
        self._profile.begin(task)
        self._prefetch(self._banks[0], None)

    def take(self, bank: str, tokens_per_expert: Sequence[int]) -> Iterator[Group]:
        """The chosen experts of a bank (those with tokens), a group at a time, each exactly once.

        All of a group stand in their slots until the next group is asked for. What stands there
        already comes first (as one group if nothing is missing), so that it computes while the
        others are read. After the last group the profile learns what was chosen, and the next
        bank's likely experts are sent for.

        Raises:
            Exception: what `read` raised. The expert, and all that are on their way, count as not
                there and are read again when they are chosen again.
        """
        there, coming, missing = self._find(bank, tokens_per_expert)
        self.hits += len(there) + len(coming)
        self.misses += len(missing)
        waits = self._profile.waits(bank)
        spare = self._spare(waits, kept={slot for _, slot in there + coming}) if missing else []
        while there or coming or missing:
            while missing and spare:
                # Better to wait for a slot of this bank when its expert is expected back later than
                # what stands in any other; unless none would be read while one computes.
                at_hand = [waits[bank][expert] for expert, _ in there + coming]
                if len(at_hand) >= STREAMING_SLOTS and -spare[0][0] < max(at_hand):
                    break
                expert, slot = missing.pop(0), heappop(spare)[1]
                self._fetch(bank, expert, slot)
                coming.append((expert, slot))
            if there and not missing:
                group, there = there, []
            else:
                # One by one, so that its slot is soon free for a read.
                group = [there.pop(0) if there else coming.pop(0)]
            for _, slot in group:
                self._arrive(slot)
            yield group
            for expert, slot in group if missing else ():
                heappush(spare, (-waits[bank][expert], slot))
        self._profile.learn(bank, tokens_per_expert)
        following = self._banks[(self._banks.index(bank) + 1) % len(self._banks)]
        self._prefetch(following, bank)

    def close(self) -> None:
        """Stop the loader, dropping what it has not begun. Every slot is empty then."""
        if self._loader is not None:
            self._loader.shutdown(cancel_futures=True)
            self._loader = None
        for slot in range(len(self._content)):
            self._forget(slot)

    def _find(self, bank: str, tokens_per_expert: Sequence[int]) -> tuple[Group, Group, list[int]]:
        """The chosen experts that stand in slots, those sent for in the order of their reads, and
        those that are missing."""
        order = {slot: place for place, slot in enumerate(self._reads)}
        there: Group = []
        coming: Group = []
        missing: list[int] = []
        for expert, tokens in enumerate(tokens_per_expert):
            slot = self._slot.get((bank, expert))
            if not tokens:
                continue
            if slot is None:
                missing.append(expert)
            else:
                (coming if slot in order else there).append((expert, slot))
        return there, sorted(coming, key=lambda pair: order[pair[1]]), missing

    def _spare(
        self, waits: Mapping[str, Sequence[float]], kept: set[int]
    ) -> list[tuple[float, int]]:
        """(-expected wait of its content, slot), sorted, without the slots in `kept`."""
        return sorted(
            (-waits[content[0]][content[1]] if content else -inf, slot)
            for slot, content in enumerate(self._content)
            if slot not in kept
        )

    def _prefetch(self, bank: str, after: str | None) -> None:
        """Send for the likely experts of the bank that comes next.

        They may replace anything that is not likely to be used again. Of the rest only as much as
        streaming needs: more would have to be read again, and reading takes a processor's time.
        """
        wanted = [e for e in self._profile.likely(bank, after) if (bank, e) not in self._slot]
        if not wanted:
            return
        waits = self._profile.waits(after)
        likely_again = 0
        for expert, (negative, slot) in zip(wanted, self._spare(waits, set()), strict=False):
            likely_again += -negative <= len(self._banks) / LIKELY
            if -negative <= waits[bank][expert] or likely_again > STREAMING_SLOTS:
                return
            self._fetch(bank, expert, slot)

    def _fetch(self, bank: str, expert: int, slot: int) -> None:
        """Have the loader read an expert; it reads in this order, so a slot ends with the last."""
        if self._loader is None:
            from concurrent.futures import ThreadPoolExecutor  # loaded only where experts move

            self._loader = ThreadPoolExecutor(1, "gearshift-experts")
        self._forget(slot)
        self._content[slot] = bank, expert
        self._slot[bank, expert] = slot
        self._reads[slot] = self._loader.submit(self._read, bank, expert, slot)
        self.moves += 1

    def _arrive(self, slot: int) -> None:
        """Wait until a slot's content is there."""
        if slot not in self._reads:
            return
        try:
            self._reads[slot].result()
        except BaseException:
            # What was sent for at the same time has most likely failed as well: no later run may
            # hear of it.
            for pending, read in list(self._reads.items()):
                read.cancel()
                self._forget(pending)
            raise
        del self._reads[slot]

    def _forget(self, slot: int) -> None:
        content = self._content[slot]
        if content is not None:
            del self._slot[content]
        self._content[slot] = None
        self._reads.pop(slot, None)


def open_store(
    program: Program, slots: int, read: Read, shares: Shares | None = None
) -> ExpertStore | None:
    """The store for the experts of a program's model, or None if it has none.

    All programs of the model share it. `shares` is `Options.expert_share`.
    """
    mixtures = [step for step in program.steps if step.kernel == "expert_mixture"]
    if not mixtures:
        return None
    banks = {step.name: int(step.attributes["experts"]) for step in mixtures}
    batch, tokens, top_k = program.values[mixtures[0].inputs[1]].shape
    profile = ExpertProfile(banks, shares, batch * tokens * top_k)
    return ExpertStore(banks, slots, read, profile)
