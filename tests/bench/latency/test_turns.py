"""Who runs when, with contenders of known speed on a simulated clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

import pytest

from gearshift_bench.latency import turns
from gearshift_bench.latency.loops import Series
from gearshift_bench.latency.plan import Plan
from gearshift_bench.latency.run_entry import Findings
from gearshift_bench.latency.turns import take_turns
from gearshift_bench.latency.workload import Workload, single

from .conftest import FakeClock


@dataclass
class Timed:
    """A contender that takes some seconds on a clock that all share, slower as time goes by."""

    name: str
    clock: FakeClock
    seconds: float
    log: list[str]
    workload: Workload = field(default_factory=lambda: single("a"))
    drift: float = 0.0
    last: str | None = None
    checks: int = 0
    stats: deque[object] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.requests = cycle(self.workload.sequence)

    def serve(self, task: str) -> None:
        self.log.append(self.name)
        self.clock.time += self.seconds * (1 + self.drift * (self.clock.time - 1000))
        self.last = task
        self.stats.append(task)

    def serve_next(self) -> None:
        self.serve(next(self.requests))

    def check(self) -> None:
        self.checks += 1


class Calibrating:
    """Counts."""

    taken = 0

    def take(self) -> None:
        self.taken += 1


def turn(contenders: list[Timed], seconds: float = 2.0, **plan: Any) -> list[Findings]:
    findings = [Findings(one, Series()) for one in contenders]  # type: ignore[arg-type]
    asked = Plan(Path("model.gs"), (), (), seconds, **plan)
    clock, calibration = contenders[0].clock, Calibrating()
    take_turns(asked, findings, calibration, lambda title, steps: lambda: None, clock)  # type: ignore[arg-type]
    assert calibration.taken >= turns.ROUNDS, "too few figures tell nothing of the machine's noise"
    return findings


def test_drift_hits_all_alike() -> None:
    """The machine becomes twice as slow; two equal contenders still look equal."""
    clock = FakeClock()
    log: list[str] = []
    both = [Timed(name, clock, 0.01, log, drift=0.2) for name in "xy"]
    first, second = turn(both, 2.5)
    assert max(first.series.latencies) > 1.8 * min(first.series.latencies)
    means = [sum(one.series.latencies) / len(one.series.latencies) for one in (first, second)]
    assert means[1] == pytest.approx(means[0], rel=0.02)


def test_every_contender_has_its_seconds_in_slices_and_begins_once_in_a_while() -> None:
    clock = FakeClock()
    log: list[str] = []
    found = turn([Timed(name, clock, 0.01, log) for name in "xyz"])
    for one in found:
        assert sum(one.series.services) == pytest.approx(2.0, rel=0.15)
        assert one.warm is not None
        assert one.contender.checks >= turns.ROUNDS  # type: ignore[attr-defined]
    orders = "".join(name for name, _ in groupby(log))
    assert {"xyz", "yzx", "zxy"} <= {orders[i : i + 3] for i in range(len(orders))}


@pytest.mark.parametrize(("seconds", "uncounted"), [(0.01, turns.ROUNDS), (0.3, 1)])
def test_a_fast_contender_runs_once_uncounted_before_each_slice(
    seconds: float, uncounted: int
) -> None:
    clock = FakeClock()
    log: list[str] = []
    (found,) = turn([Timed("x", clock, seconds, log)], 6.0)
    assert found.warm is not None
    extra = len(log) - found.warm.runs - len(found.series.services)
    assert extra == pytest.approx(uncounted, abs=2)


def test_the_slowest_contender_has_a_few_requests_all_the_same() -> None:
    clock = FakeClock()
    log: list[str] = []
    slow, fast = turn([Timed("x", clock, 50.0, log), Timed("y", clock, 0.01, log)])
    assert len(slow.series.services) == turns.LEAST_REQUESTS
    assert len(fast.series.services) > 100


def test_the_request_before_a_slice_repeats_the_task_before() -> None:
    clock = FakeClock()
    mix = Workload("weights", "a:1,b:1", ("a", "b", "b"))
    (found,) = turn([Timed("x", clock, 0.01, [], mix)])
    pairs = zip(found.series.before, found.series.tasks, strict=True)
    assert {pair for pair in pairs} == {("a", "b"), ("b", "b"), ("b", "a")}


def test_statistics_are_those_of_the_measured_requests() -> None:
    clock = FakeClock()
    (found,) = turn([Timed("x", clock, 0.3, [])])
    assert len(found.contender.stats) == len(found.series.services) + 1


@pytest.mark.parametrize("arrivals", ["poisson", "fixed"])
def test_at_a_rate_requests_wait_for_each_other(arrivals: str) -> None:
    clock = FakeClock()
    (found,) = turn([Timed("x", clock, 0.2, [])], 20.0, rate=4.0, arrivals=arrivals)
    assert found.opened is not None
    assert found.mode is not None
    assert found.mode["rate"] == 4.0
    assert found.mode["served"] == len(found.series.latencies)
    assert found.mode["served"] == pytest.approx(80, abs=25)
    assert min(found.series.latencies) == pytest.approx(0.2)
    waits = [one for one in found.series.latencies if one > 0.2001]
    assert bool(waits) == (arrivals == "poisson")


def test_a_timed_trace_is_played_from_its_first_line() -> None:
    clock = FakeClock()
    trace = Workload("trace", "t", ("a", "b", "a"), (0.5, 1.0, 2.5))
    (found,) = turn([Timed("x", clock, 0.1, [], trace)])
    assert found.series.tasks == ["a", "b", "a"]
    assert found.mode is not None
    assert found.mode["arrivals"] == "trace"
    assert found.mode["rate"] == pytest.approx(1.0)


@pytest.mark.parametrize("arrivals", [(3.0,), (2.0, 2.0, 2.0)])
def test_a_trace_without_gaps_has_a_rate(arrivals: tuple[float, ...]) -> None:
    trace = Workload("trace", "t", ("a",) * len(arrivals), arrivals)
    (found,) = turn([Timed("x", FakeClock(), 0.1, [], trace)])
    assert found.mode is not None
    assert 0 < found.mode["rate"] < 10
    assert len(found.series.latencies) == len(arrivals)
