"""The store against what a bystander sees: who is asked for, what stands where, what is read."""

from __future__ import annotations

import gc
import random
import threading
import time
from concurrent.futures import wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.expert_profile import ExpertProfile, Shares
from gearshift.expert_store import ExpertStore

Tag = tuple[str, int]
Run = tuple[str, list[list[int]]]
"""A task, and for every bank the tokens of each expert."""

LOADER = "gearshift-experts"


class Bench:
    """A store over slots of tags. Reading an expert leaves its tag, and rubbish until then."""

    def __init__(
        self, sizes: list[int], slots: int, shares: Shares | None = None, seconds: float = 0.0
    ) -> None:
        self.banks = {f"bank{number}": size for number, size in enumerate(sizes)}
        self.slots: list[Tag | None] = [None] * slots
        self.reads: list[tuple[str, int, int]] = []
        self.seconds = seconds
        self.broken: set[Tag] = set()
        profile = ExpertProfile(self.banks, shares, choices=8)
        self.store = ExpertStore(self.banks, slots, self.read, profile)

    def read(self, bank: str, expert: int, slot: int) -> None:
        self.slots[slot] = None
        if self.seconds:
            time.sleep(random.random() * self.seconds)
        self.reads.append((bank, expert, slot))
        if (bank, expert) in self.broken:
            raise OSError(f"{bank} {expert} cannot be read")
        self.slots[slot] = bank, expert

    def settle(self) -> None:
        """Let the loader finish everything that it was asked for."""
        wait(self.store._reads.values())

    def run(self, task: str, tokens: list[list[int]], settles: bool = True) -> list[list[Tag]]:
        """One run, checked from outside; the groups in which experts were given."""
        self.settle()
        groups = []
        before, hits, chosen_in_all = len(self.reads), 0, 0
        self.store.begin(task)
        for bank, row in zip(self.banks, tokens, strict=True):
            chosen = {(bank, expert) for expert, number in enumerate(row) if number}
            chosen_in_all += len(chosen)
            if settles:
                self.settle()
                hits += len(chosen & set(self.slots))
            given: list[Tag] = []
            for group in self.store.take(bank, row):
                self.check(bank, group)
                if settles:
                    # Whatever the loader was asked for, it leaves this group alone.
                    self.settle()
                    self.check(bank, group)
                given += [(bank, expert) for expert, _ in group]
                groups.append([(bank, expert) for expert, _ in group])
            assert sorted(given) == sorted(chosen)
        self.settle()
        store = self.store
        assert store.hits + store.misses == chosen_in_all
        assert store.moves >= store.misses
        if settles:
            assert store.hits == hits
            assert store.moves == len(self.reads) - before
        return groups

    def check(self, bank: str, group: list[tuple[int, int]]) -> None:
        assert group
        assert [self.slots[slot] for _, slot in group] == [(bank, expert) for expert, _ in group]


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[int], int, list[Run]]:
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    slots = draw(st.integers(2, max(2, sum(sizes) + 1)))
    tokens = st.tuples(
        *(st.lists(st.integers(0, 2), min_size=size, max_size=size) for size in sizes)
    )
    runs = st.tuples(st.sampled_from(["depth", "edges", "normals"]), tokens.map(list))
    return sizes, slots, draw(st.lists(runs, max_size=12))


@given(traffic())
def test_every_chosen_expert_stands_in_its_slot_once(
    case: tuple[list[int], int, list[Run]],
) -> None:
    sizes, slots, runs = case
    bench = Bench(sizes, slots)
    for task, tokens in runs:
        bench.run(task, tokens)
    bench.store.close()


@given(traffic())
def test_nothing_depends_on_how_long_reads_take(case: tuple[list[int], int, list[Run]]) -> None:
    sizes, slots, runs = case
    quick, slow = Bench(sizes, slots), Bench(sizes, slots, seconds=1e-4)
    for task, tokens in runs:
        assert quick.run(task, tokens) == slow.run(task, tokens, settles=False)
        for name in ("hits", "misses", "moves"):
            assert getattr(quick.store, name) == getattr(slow.store, name)
        assert quick.slots == slow.slots
        assert quick.reads == slow.reads
    quick.store.close()
    slow.store.close()


def test_what_is_there_computes_while_the_rest_is_read() -> None:
    bench = Bench([4], 3)
    bench.run("depth", [[1, 1, 0, 0]])
    bench.run("depth", [[1, 1, 0, 0]])
    may_read = threading.Event()
    quick = bench.read
    bench.store._read = lambda *place: may_read.wait(5) and quick(*place)
    bench.store.begin("depth")
    groups = bench.store.take("bank0", [1, 1, 1, 1])
    first = [expert for expert, _ in next(groups)]
    # The third slot has nothing that is needed, so that the first read may have begun.
    assert ("bank0", 2) in bench.store._slot
    first += [expert for expert, _ in next(groups)]
    assert sorted(first) == [0, 1]
    assert (bench.store.hits, bench.store.misses) == (2, 2)
    may_read.set()
    assert sorted(expert for group in groups for expert, _ in group) == [2, 3]


def test_with_two_slots_one_expert_arrives_while_the_other_computes() -> None:
    bench = Bench([2, 5], 2)
    bench.store.begin("depth")
    assert len(list(bench.store.take("bank0", [1, 1]))) == 2
    # Both slots hold what is expected back sooner than anything of this bank.
    for number, group in enumerate(bench.store.take("bank1", [1] * 5), 1):
        assert len(group) == 1
        bench.settle()
        assert len(bench.reads) == 2 + min(number + 1, 5)


def test_what_was_sent_for_comes_behind_what_is_there() -> None:
    shares = {"depth": [[0.1, 1.0, 0.4, 0.0]], "edges": [[0.0, 0.0, 0.0, 1.0]]}
    bench = Bench([4], 4, shares)
    bench.run("edges", [[0, 0, 0, 1]])
    assert bench.run("depth", [[1, 1, 1, 1]]) == [
        [("bank0", 3)], [("bank0", 1)], [("bank0", 2)], [("bank0", 0)],
    ]  # fmt: skip


def test_all_of_a_resident_bank_is_one_group() -> None:
    bench = Bench([3, 2], 5)
    everything = [[1, 1, 1], [1, 1]]
    for _ in range(2):
        bench.run("depth", everything)
    groups = bench.run("depth", everything)
    assert [len(group) for group in groups] == [3, 2]
    assert (bench.store.hits, bench.store.misses, bench.store.moves) == (5, 0, 0)


@pytest.mark.parametrize("sizes", [[5], [4, 4, 4], [16] * 6, [3, 9, 1, 5]], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("tasks", [["depth"], ["depth", "edges"]], ids=len)
def test_a_cycle_moves_no_more_than_it_must(
    sizes: list[int], share: float, tasks: list[str]
) -> None:
    """Every expert, run after run: all but two slots keep theirs, where the least recently used
    one would always be the next one needed."""
    total = sum(sizes)
    slots = max(2, int(total * share))
    bench = Bench(sizes, slots)
    for run in range(12):
        bench.run(tasks[run % len(tasks)], [[1] * size for size in sizes])
    assert bench.store.moves <= total - slots + 2
    assert bench.store.hits >= slots - 2


def test_steady_traffic_is_fetched_ahead() -> None:
    """Two slots, two experts a bank: all arrive between the banks."""
    bench = Bench([5, 5, 5], 2)
    tokens = [[0, 3, 0, 0, 1], [1, 0, 0, 2, 0], [0, 0, 1, 1, 0]]
    bench.run("depth", tokens)
    assert (bench.store.hits, bench.store.misses) == (0, 6)
    for _ in range(3):
        bench.run("depth", tokens)
        assert (bench.store.hits, bench.store.misses, bench.store.moves) == (6, 0, 6)


def test_a_rare_guest_does_not_displace_the_regulars() -> None:
    bench = Bench([6, 2], 6)
    for _ in range(8):
        bench.run("depth", [[1, 1, 1, 0, 0, 0], [1, 1]])
    bench.run("depth", [[1, 1, 1, 1, 0, 0], [1, 1]])
    assert bench.store.misses == 1
    bench.run("depth", [[1, 1, 1, 0, 1, 0], [1, 1]])
    assert bench.store.misses == 1
    bench.run("depth", [[1, 1, 1, 0, 0, 0], [1, 1]])
    assert (bench.store.misses, bench.store.moves) == (0, 0)


def test_each_task_is_met_by_its_own_experts() -> None:
    """The profile tells tasks apart: after a switch, the first bank and all others are hits."""
    bench = Bench([8, 8], 4)
    rows = {"depth": [1, 1, 0, 0, 0, 0, 0, 0], "edges": [0, 0, 0, 0, 0, 0, 1, 1]}
    for _ in range(6):
        for task, row in rows.items():
            bench.run(task, [row, row])
    for task in ("edges", "edges", "depth", "depth", "edges"):
        bench.run(task, [rows[task]] * 2)
        assert (bench.store.hits, bench.store.misses) == (4, 0)


def test_the_card_s_shares_are_fetched_before_the_first_run_asks() -> None:
    shares = {"depth": [[0.5, 0.0, 0.3, 0.2], [0.2, 0.0, 0.4, 0.4]]}
    tokens = [[1, 0, 1, 1], [1, 0, 1, 1]]
    for slots in (6, 7):
        bench = Bench([4, 4], slots, shares)
        bench.run("depth", tokens)
        assert (bench.store.hits, bench.store.misses, bench.store.moves) == (6, 0, 6)
    unknown = Bench([4, 4], 6)
    unknown.run("depth", tokens)
    assert (unknown.store.hits, unknown.store.misses) == (0, 6)


def test_what_a_read_raises_comes_out_and_is_tried_again() -> None:
    bench = Bench([3, 3], 3)
    everything = [[1, 1, 1], [1, 1, 1]]
    bench.broken = {("bank1", 1)}
    with pytest.raises(OSError, match="bank1 1 cannot be read"):
        bench.run("depth", everything)
    with pytest.raises(OSError, match="bank1 1 cannot be read"):
        bench.run("depth", everything)
    bench.broken = set()
    for _ in range(3):
        bench.run("depth", everything)


def test_a_failed_prefetch_hurts_only_who_needs_it() -> None:
    shares = {"depth": [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]}
    bench = Bench([3, 3], 4, shares)
    bench.broken = {("bank0", 1)}
    bench.run("depth", [[0, 0, 1], [0, 1, 0]])
    with pytest.raises(OSError, match="bank0 1 cannot be read"):
        bench.run("depth", [[0, 1, 0], [0, 1, 0]])
    bench.broken = set()
    bench.run("depth", [[0, 1, 0], [0, 1, 0]])


def test_all_that_failed_at_once_is_heard_of_once() -> None:
    bench = Bench([3, 3], 4, {"depth": [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]})
    bench.broken = {("bank0", 0), ("bank0", 1), ("bank0", 2)}
    with pytest.raises(OSError, match="cannot be read"):
        bench.run("depth", [[1, 1, 1], [0, 1, 0]])
    bench.broken = set()
    bench.run("depth", [[1, 1, 1], [0, 1, 0]])


def test_a_run_may_be_left_half_way() -> None:
    bench = Bench([4, 4], 3)
    everything = [[1] * 4, [1] * 4]
    for _ in range(5):
        bench.store.begin("depth")
        groups = bench.store.take("bank0", everything[0])
        next(groups)
        groups.close()
        bench.run("edges", everything)


def loaders() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(LOADER)}


def test_the_loader_lives_from_the_first_read_to_the_end() -> None:
    others = loaders()
    bench = Bench([4], 2)
    bench.run("depth", [[0, 0, 0, 0]])
    assert not loaders() - others
    for _ in range(2):
        bench.run("depth", [[1, 1, 1, 1]])
        assert len(loaders() - others) == 1
        bench.store.close()
        assert not loaders() - others
    bench.store.close()


def test_a_store_that_is_dropped_leaves_no_thread() -> None:
    others = loaders()
    bench = Bench([4], 2)
    bench.run("depth", [[1, 1, 1, 1]])
    (loader,) = loaders() - others
    del bench
    gc.collect()
    loader.join(5)
    assert not loader.is_alive()


@pytest.mark.parametrize("slots", [-1, 0, 1])
def test_one_slot_cannot_stream(slots: int) -> None:
    with pytest.raises(ValueError, match=f"{slots} slots: an expert store needs 2 or more"):
        Bench([3], slots)
