"""Who goes first, who stays, who waits; and that nobody starves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gearshift.scheduler import Batch, Entry, Key, Scheduler, SchedulerSettings
from gearshift.scheduler.policies import DuePolicy, FifoPolicy, Policy, RoundRobinPolicy
from gearshift.scheduler.simulate import Hardware, Simulation
from gearshift.scheduler.state import State
from gearshift.scheduler.trace import TraceRequest

A = Key("m", "1", "a", 16, 16)
B = A._replace(task="b")
C = A._replace(task="c")
arrival = attrgetter("arrival")


def order(scheduler: Scheduler, now: float = 0.0) -> list[str]:
    """The tasks of the batches in which everything that waits is served, in no time."""
    tasks = []
    while isinstance(batch := scheduler.next(now), Batch):
        tasks.append(f"{batch.key.task}{len(batch.entries)}")
        scheduler.finished(batch, now, learn=False)
    return tasks


def submit(scheduler: Scheduler, *keys: Key, **values: float) -> None:
    for key in keys:
        scheduler.submit(Entry(key, 0.0, **values), 0.0)  # type: ignore[arg-type]


def teach(scheduler: Scheduler, batch: float, image: float, switch: float = 0.0) -> None:
    for key in (A, B, C):
        for images in (1, 2, 4, 8):
            scheduler.times.measured(key, images, batch + image * images)
    scheduler.times.measured_switch("m", switch)


def test_the_order_of_arrival_decides_and_likes_go_along() -> None:
    for policy, expected in (
        (FifoPolicy(), ["b1", "a1", "b2", "c1", "a1"]),
        (RoundRobinPolicy(), ["b3", "a2", "c1"]),
        (DuePolicy(), ["b3", "a2", "c1"]),
    ):
        scheduler = Scheduler(policy=policy)
        submit(scheduler, B, A, B, B, C, A)
        assert order(scheduler) == expected


def test_round_robin_serves_tasks_in_turn() -> None:
    scheduler = Scheduler(SchedulerSettings(most_batch=2), RoundRobinPolicy())
    submit(scheduler, A, A, A, A, A, B, C, C, C)
    assert order(scheduler) == ["a2", "b1", "c2", "a2", "c1", "a1"]


def test_an_urgent_request_overtakes() -> None:
    scheduler = Scheduler()
    submit(scheduler, A, B)
    submit(scheduler, C, priority=1)
    assert order(scheduler) == ["c1", "a1", "b1"]


def test_urgency_is_worth_only_so_much_waiting() -> None:
    scheduler = Scheduler(SchedulerSettings(patience_seconds=0.1, default_priority=3))
    scheduler.submit(Entry(A, 0.0), 0.0)
    scheduler.submit(Entry(B, 0.21, priority=1), 0.21)
    assert order(scheduler, 0.21) == ["a1", "b1"]


def test_a_deadline_that_is_near_overtakes() -> None:
    scheduler = Scheduler()
    teach(scheduler, batch=0.0, image=0.01)
    submit(scheduler, A, B)
    submit(scheduler, C, deadline=0.05)
    assert order(scheduler) == ["c1", "a1", "b1"]
    submit(scheduler, A, B)
    submit(scheduler, C, deadline=50.0)
    assert order(scheduler) == ["a1", "b1", "c1"]


def test_a_deadline_counts_back_what_the_request_takes() -> None:
    scheduler = Scheduler(SchedulerSettings(patience_seconds=0.01))
    teach(scheduler, batch=0.0, image=0.04)
    submit(scheduler, A, priority=2)
    submit(scheduler, B, deadline=0.05)
    submit(scheduler, C, deadline=0.07)
    assert order(scheduler) == ["b1", "a1", "c1"]


def test_no_large_batches_where_they_gain_nothing() -> None:
    scheduler = Scheduler()
    teach(scheduler, batch=0.0, image=0.01)
    submit(scheduler, A, A, A)
    assert order(scheduler) == ["a1", "a1", "a1"]


@dataclass
class Clock:
    """Serves with fixed times; `now` goes on with the batches."""

    scheduler: Scheduler
    now: float = 0.0

    def run(self, seconds: float) -> str:
        batch = self.scheduler.next(self.now)
        assert isinstance(batch, Batch)
        self.now += seconds
        self.scheduler.finished(batch, self.now)
        return batch.key.task

    def arrive(self, key: Key) -> None:
        self.scheduler.submit(Entry(key, self.now), self.now)


def test_a_dear_switch_is_put_off_but_not_beyond_a_due_time() -> None:
    settings = SchedulerSettings(patience_seconds=0.02, most_batch=1, switch_share=0.05)
    scheduler = Scheduler(settings)
    teach(scheduler, batch=0.0, image=0.01, switch=0.01)
    clock = Clock(scheduler)
    clock.arrive(A)
    assert clock.run(0.01) == "a"
    clock.arrive(B)
    served = []
    for _ in range(8):
        clock.arrive(A)
        served.append(clock.run(0.01))
    # B came at 0.01 and is due at 0.07: at 0.05 another A would end just before 0.06, when the
    # switch to B has to begin.
    assert served.count("b") == 1
    assert 3 <= served.index("b") <= 5


def test_a_free_switch_is_not_put_off() -> None:
    scheduler = Scheduler(SchedulerSettings(most_batch=1))
    teach(scheduler, batch=0.0, image=0.01)
    clock = Clock(scheduler)
    clock.arrive(A)
    assert clock.run(0.01) == "a"
    clock.arrive(B)
    clock.arrive(A)
    assert clock.run(0.01) == "b"


def steady(scheduler: Scheduler, gap: float) -> float:
    """Requests of A that came every `gap` seconds, all served; returns when the last one did."""
    now = 0.0
    for _ in range(1500):
        now += gap
        scheduler.submit(Entry(A, now), now)
        decision = scheduler.next(now)
        if isinstance(decision, float):
            decision = scheduler.next(decision)
        assert isinstance(decision, Batch)
        scheduler.finished(decision, now, learn=False)
    return now


def test_idle_hardware_waits_for_more_only_where_that_is_likely_and_pays() -> None:
    cases = [
        # Batching saves 5 ms, the next request comes within 1 ms.
        (0.005, 0.001, True),
        # It would come, but batching saves nothing.
        (0.0, 0.001, False),
        # It would pay, but the next one comes too late.
        (0.005, 0.05, False),
    ]
    for batch_seconds, gap, waits in cases:
        scheduler = Scheduler()
        teach(scheduler, batch=batch_seconds, image=0.001)
        now = steady(scheduler, gap) + gap
        scheduler.submit(Entry(A, now), now)
        decision = scheduler.next(now)
        assert isinstance(decision, float) == waits
        if isinstance(decision, float):
            assert now < decision <= now + scheduler.settings.longest_wait_seconds
            batch = scheduler.next(decision)
            assert isinstance(batch, Batch)


def held_until(batch_seconds: float, **values: float) -> float:
    """How long a request is held back that comes last of a thousand a second."""
    scheduler = Scheduler(SchedulerSettings(**values))  # type: ignore[arg-type]
    teach(scheduler, batch=batch_seconds, image=0.001)
    now = steady(scheduler, 0.001) + 0.001
    scheduler.submit(Entry(A, now), now)
    decision = scheduler.next(now)
    return decision - now if isinstance(decision, float) else 0.0


def test_waiting_for_more_is_bounded_by_what_it_saves_and_by_the_due_time() -> None:
    # Two gaps without a request, and it has been the last one.
    assert held_until(0.005) == pytest.approx(0.002, rel=0.05)
    assert held_until(0.0015) == pytest.approx(0.0015)
    assert held_until(0.005, longest_wait_seconds=0.0012) == pytest.approx(0.0012)
    assert held_until(0.005, patience_seconds=0.0004) == pytest.approx(0.0012)
    assert held_until(0.005, longest_wait_seconds=0.0) == 0.0
    assert held_until(0.005, patience_seconds=0.0) == 0.0


def test_nobody_waits_for_more_while_another_task_waits() -> None:
    scheduler = Scheduler()
    teach(scheduler, batch=0.005, image=0.001)
    now = steady(scheduler, 0.001) + 0.001
    scheduler.submit(Entry(A, now), now)
    scheduler.submit(Entry(B, now), now)
    assert isinstance(scheduler.next(now), Batch)


def test_a_full_batch_does_not_wait() -> None:
    scheduler = Scheduler()
    teach(scheduler, batch=0.005, image=0.001)
    now = steady(scheduler, 0.001) + 0.001
    for _ in range(8):
        scheduler.submit(Entry(A, now), now)
    batch = scheduler.next(now)
    assert isinstance(batch, Batch)
    assert batch.images == 8


# --- no starvation ----------------------------------------------------------------------------


BOUNDS = SchedulerSettings(
    most_queued=6, most_queued_task=6, most_batch=4, patience_seconds=0.03, overload_wait=1e9
)


def worst_excess(trace: list[TraceRequest], policy: Policy, hardware: Hardware) -> float:
    """By how much the latest start was over its bound (negative: all were under it)."""
    played = Simulation(Scheduler(BOUNDS, policy), hardware).run(trace)
    longest = max(one.ended - one.started for one in played.served)
    return max(
        one.started
        - one.request.arrival
        - (one.request.priority or BOUNDS.default_priority) * BOUNDS.patience_seconds
        - BOUNDS.most_queued * longest
        for one in played.served
    )


def requests(gap: float) -> st.SearchStrategy[list[TraceRequest]]:
    """Of any task, size and urgency, up to `gap` seconds apart."""
    one = st.tuples(
        st.floats(0, gap),
        st.sampled_from("abc"),
        st.sampled_from([16, 32]),
        st.integers(1, BOUNDS.most_batch),
        st.integers(0, BOUNDS.priority_levels),
        st.none() | st.floats(0.001, 0.5),
    )
    return st.lists(one, min_size=1, max_size=150).map(in_turn)


def in_turn(drawn: list[tuple[float, str, int, int, int, float | None]]) -> list[TraceRequest]:
    arrivals = accumulate(gap for gap, *_ in drawn)
    return [
        TraceRequest(when, "m", task, height, 16, images, priority, timeout)
        for when, (_, task, height, images, priority, timeout) in zip(arrivals, drawn, strict=True)
    ]


hardware = st.builds(
    Hardware,
    st.floats(0.0001, 0.02),
    st.floats(0.0001, 0.01),
    st.sampled_from([0.0, 0.001, 0.1]),
    st.sampled_from([0.0, 0.3]),
)


@settings(max_examples=150, deadline=None)
@given(requests(0.001) | requests(0.02) | requests(0.1), hardware)
def test_every_request_begins_within_the_bound(trace: list[TraceRequest], ware: Hardware) -> None:
    assert worst_excess(trace, DuePolicy(), ware) <= 1e-9


class StayingPolicy:
    """Stays as long as it can: what the bound is there to exclude."""

    def choose(self, state: State, now: float) -> list[Entry] | float:
        key = state.last if state.last in state.waiting else next(iter(state.waiting))
        return state.waiting[key][:1]


def test_the_bound_is_one_that_a_policy_can_break() -> None:
    flood = [TraceRequest(0.004 * i, "m", "a", 16, 16, priority=1) for i in range(1000)]
    trace = sorted([*flood, TraceRequest(0.1, "m", "b", 16, 16, priority=5)], key=arrival)
    ware = Hardware(0.001, 0.003, 0.0)
    assert worst_excess(trace, StayingPolicy(), ware) > 1
    assert worst_excess(trace, DuePolicy(), ware) <= 0
