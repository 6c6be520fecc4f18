"""Which of those that wait run next.

`DuePolicy` is the server's; the others are there to be compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

from gearshift.scheduler.entry import Entry, Key
from gearshift.scheduler.state import State

_by_due = attrgetter("due", "number")


class Policy(Protocol):
    """Asked when nothing runs and something waits."""

    def choose(self, state: State, now: float) -> list[Entry] | float:
        """The entries of the next batch, of one key; or when to ask again, later than `now`."""
        ...


class DuePolicy:
    """The earliest due first, together with its like; but rather the task that ran before, as long
    as nobody becomes late by that and switching has not yet been paid off.

    - A request of level n is due `n * patience_seconds` after its arrival, or when it has to begin
      to meet its deadline, whichever is first. In overload it is due sooner: the default level when
      it was expected to be answered as it was taken in, the others in proportion.
    - A batch is the first entries of a key, as many as make images cheaper (`useful_batch`).
    - Staying: while the work since the last switch is so little that switching now would take more
      than `switch_share` of the time, the same task goes on if it has requests and if the earliest
      due request of another task can still begin in time. Where a switch costs nothing there is no
      staying.
    - Waiting: when hardware is idle, only one key waits and another image of it is likely to come
      in time, it waits for that at most as long as the larger batch saves, at most
      `longest_wait_seconds`, and never beyond a due time.

    No request starves: one that arrives at `a` with level n begins, unless it is cancelled or
    expires, no later than

        a + n * patience_seconds + most_queued * B

    where B is the longest time that a batch takes. For let d be its due time, at most
    `a + n * patience_seconds`. Whoever arrives after d is due after d, so only requests that wait
    at d can go before it: at most `most_queued - 1`. After d the earliest due is late, so that
    there is neither staying nor waiting, and every batch holds the earliest due: after the batch
    that runs at d, at most `most_queued - 1` others run before it begins.
    """

    def choose(self, state: State, now: float) -> list[Entry] | float:
        first = min(state.entries(), key=_by_due)
        stay = self._stay(state, first, now) if state.queued > 1 else None
        batch = _batch(state, (stay or first).key)
        if stay is None and len(state.waiting) == 1:
            until = self._worth_waiting_until(state, batch, now)
            if until > now:
                return until
        return batch

    def _stay(self, state: State, first: Entry, now: float) -> Entry | None:
        """The entry with which to go on with the task that ran before, if that is better."""
        if state.last is None or not first.key.is_switch_from(state.last):
            return None
        cost = state.times.switch(first.key)
        share = state.settings.switch_share
        if cost <= share * (cost + state.stayed_seconds):
            return None
        same = (entry for entry in state.entries() if not entry.key.is_switch_from(state.last))
        candidate = min(same, key=_by_due, default=None)
        if candidate is None:
            return None
        images = sum(entry.images for entry in _batch(state, candidate.key))
        seconds = state.times.seconds(candidate.key, images)
        return candidate if now + seconds + cost <= first.due else None

    def _worth_waiting_until(self, state: State, batch: list[Entry], now: float) -> float:
        key = batch[0].key
        last_came = max(entry.arrival for entry in batch)
        rate = state.arrivals[key].per_second(last_came)
        longest = state.settings.longest_wait_seconds
        images = sum(entry.images for entry in batch)
        if rate * longest < 1 or images >= state.useful_batch(key):
            return now
        times = state.times
        saved = times.seconds(key, images) + times.seconds(key, 1) - times.seconds(key, images + 1)
        allowed = min(saved, longest)
        first_came = min(entry.arrival for entry in batch)
        # Two mean gaps without a request: they have stopped coming.
        if rate * allowed < 1 or (now - last_came) * rate > 2:
            return now
        gap_end = last_came + 2 / rate
        return min(first_came + allowed, gap_end, min(entry.due for entry in batch))


class FifoPolicy:
    """In the order of arrival; neighbours of one key run together."""

    def choose(self, state: State, now: float) -> list[Entry] | float:
        entries = sorted(state.entries(), key=attrgetter("number"))
        alike: list[Entry] = []
        for entry in entries:
            if entry.key != entries[0].key:
                break
            alike.append(entry)
        return _first_images(alike, state.settings.most_batch)


class RoundRobinPolicy:
    """A batch of each task in turn."""

    def __init__(self) -> None:
        self._turns: list[Key] = []
        """The key whose turn was longest ago goes first."""

    def choose(self, state: State, now: float) -> list[Entry] | float:
        self._turns += [key for key in state.waiting if key not in self._turns]
        key = next(key for key in self._turns if key in state.waiting)
        self._turns.remove(key)
        self._turns.append(key)
        return _first_images(state.waiting[key], state.settings.most_batch)


def _batch(state: State, key: Key) -> list[Entry]:
    entries = state.waiting[key]
    if len(entries) == 1:
        return entries.copy()
    return _first_images(sorted(entries, key=_by_due), state.useful_batch(key))


def _first_images(entries: Iterable[Entry], most: int) -> list[Entry]:
    """The first entries with at most so many images together, but at least one entry."""
    chosen: list[Entry] = []
    images = 0
    for entry in entries:
        images += entry.images
        if chosen and images > most:
            break
        chosen.append(entry)
    return chosen
