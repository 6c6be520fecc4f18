"""Whatever callers do, every request ends once, and no bound is broken."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gearshift.scheduler import Batch, Entry, Key, QueueFull, Scheduler, SchedulerSettings
from gearshift.scheduler.policies import DuePolicy, FifoPolicy, Policy, RoundRobinPolicy

SETTINGS = SchedulerSettings(
    most_queued=7, most_queued_task=5, most_queued_bytes=12 * 40 * 64, most_batch=4
)
KEYS = [
    Key(model, version, task, height, 8)
    for model in ("m", "n")
    for version in ("1", "2")
    for task in ("a", "b")
    for height in (8, 16)
]


class Caller(RuleBasedStateMachine):
    """Does what servers do, in any order, with any times."""

    policy: Policy = DuePolicy()

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(SETTINGS, self.policy)
        self.now = 0.0
        self.waiting: list[Entry] = []
        self.ends: Counter[Entry] = Counter()

    @rule(seconds=st.floats(0, 0.2))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        key=st.sampled_from(KEYS),
        images=st.integers(1, 4),
        priority=st.none() | st.integers(1, 5),
        timeout=st.none() | st.floats(0.0, 0.3),
        times=st.integers(1, 6),
    )
    def submit(
        self, key: Key, images: int, priority: int | None, timeout: float | None, times: int
    ) -> None:
        for _ in range(times):
            deadline = None if timeout is None else self.now + timeout
            entry = Entry(key, self.now, images, priority, deadline)
            full = self.refusal(entry)
            if full is None:
                self.waiting.append(entry)
            else:
                assert 0 < full.retry_after < 1e6
                assert self.waiting
                assert not self.scheduler.cancel(entry)

    def refusal(self, entry: Entry) -> QueueFull | None:
        try:
            self.scheduler.submit(entry, self.now)
        except QueueFull as full:
            return full
        return None

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.waiting))
        assert self.scheduler.cancel(entry)
        assert not self.scheduler.cancel(entry)
        self.end(entry)

    @rule()
    def expire(self) -> None:
        expected = [
            one for one in self.waiting if one.deadline is not None and one.deadline <= self.now
        ]
        expired = self.scheduler.expired(self.now)
        assert set(expired) == set(expected)
        for entry in expired:
            self.end(entry)

    @rule()
    def start(self) -> None:
        was_running = self.scheduler.running
        decision = self.scheduler.next(self.now)
        if was_running is not None or not self.waiting:
            assert decision is None
        elif isinstance(decision, float):
            assert self.now < decision <= self.now + SETTINGS.longest_wait_seconds
        else:
            assert isinstance(decision, Batch)
            assert decision.entries
            assert all(entry.key == decision.key for entry in decision.entries)
            assert decision.images <= SETTINGS.most_batch
            for entry in decision.entries:
                self.end(entry)

    @precondition(lambda self: self.scheduler.running is not None)
    @rule(learn=st.booleans())
    def finish(self, learn: bool) -> None:
        batch = self.scheduler.running
        assert batch is not None
        self.scheduler.finished(batch, self.now, learn)
        assert self.scheduler.running is None

    @rule()
    def clear(self) -> None:
        for entry in self.scheduler.clear():
            self.end(entry)
        assert self.waiting == []

    @invariant()
    def bounds_hold(self) -> None:
        assert self.scheduler.queued == len(self.waiting) <= SETTINGS.most_queued
        assert sum(self.scheduler.queued_by_task.values()) == len(self.waiting)
        tasks = Counter(entry.key[:3] for entry in self.waiting)
        assert max(tasks.values(), default=0) <= SETTINGS.most_queued_task
        if len(self.waiting) > 1:
            nbytes = sum(entry.nbytes for entry in self.waiting)
            assert nbytes <= SETTINGS.most_queued_bytes
        deadlines = [one.deadline for one in self.waiting if one.deadline is not None]
        assert self.scheduler.next_deadline() == min(deadlines, default=None)

    def end(self, entry: Entry) -> None:
        self.waiting.remove(entry)
        self.ends[entry] += 1
        assert self.ends[entry] == 1


class FifoCaller(Caller):
    policy = FifoPolicy()


class RoundRobinCaller(Caller):
    def __init__(self) -> None:
        self.policy = RoundRobinPolicy()
        super().__init__()


STEPS = settings(max_examples=50, stateful_step_count=60, deadline=None)
TestDue = Caller.TestCase
TestFifo = FifoCaller.TestCase
TestRoundRobin = RoundRobinCaller.TestCase
TestDue.settings = TestFifo.settings = TestRoundRobin.settings = STEPS
