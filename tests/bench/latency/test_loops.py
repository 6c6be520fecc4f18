"""Closed and open loops, on a simulated clock."""

from __future__ import annotations

from itertools import chain, cycle, repeat

import numpy as np
import pytest

from gearshift_bench.latency.loops import (
    Series,
    SystemClock,
    closed_loop,
    fixed_arrivals,
    open_loop,
    poisson_arrivals,
)

from .conftest import FakeClock

STALL, SERVICE, PERIOD, COUNT = 5.0, 0.001, 0.01, 2000


def test_an_open_loop_sees_everybody_who_waits_for_a_stall_and_a_closed_loop_does_not() -> None:
    """Coordinated omission: of one stall of 5 s, a quarter of the requests suffer."""
    costs = [SERVICE] * COUNT
    costs[100] = STALL

    clock = FakeClock(iter(costs))
    closed = Series()
    closed_loop(clock.serve, cycle(["a"]), STALL + SERVICE * (COUNT - 2), clock, closed)
    assert len(closed.latencies) in range(COUNT - 2, COUNT + 1)
    assert np.quantile(closed.latencies, 0.99) == pytest.approx(SERVICE)
    assert max(closed.latencies) == pytest.approx(STALL)

    clock = FakeClock(iter(costs))
    arrivals = fixed_arrivals(1 / PERIOD, COUNT * PERIOD).tolist()
    found = open_loop(clock.serve, cycle(["a"]), arrivals, 100.0, clock)
    expected, free = [], 0.0
    for arrival, cost in zip(arrivals, costs, strict=True):
        free = max(free, arrival) + cost
        expected.append(free - arrival)
    assert found.series.latencies == pytest.approx(expected, abs=1e-9)
    assert found.unserved == 0
    assert np.quantile(found.series.latencies, 0.99) > 0.9 * STALL
    assert found.series.services == pytest.approx(costs)
    assert found.largest_backlog == pytest.approx(STALL / PERIOD, abs=1)
    mode = found.mode(1 / PERIOD, "fixed")
    assert not mode["saturated"]
    assert mode["busy"] == pytest.approx(sum(costs) / found.seconds)


def test_more_arrivals_than_can_be_answered_are_called_saturation_and_end() -> None:
    clock = FakeClock(repeat(0.02))
    found = open_loop(clock.serve, cycle(["a"]), fixed_arrivals(100, 10).tolist(), 15.0, clock)
    assert found.seconds == pytest.approx(15.0, abs=0.05)
    assert found.unserved == pytest.approx(1000 - 15 / 0.02, abs=2)
    mode = found.mode(100, "fixed")
    assert mode["saturated"]
    assert mode["busy"] == pytest.approx(1.0)
    assert mode["served"] + mode["unserved"] == 1000
    assert np.all(np.diff(found.series.latencies) > 0)


def test_an_idle_server_waits_for_the_arrivals() -> None:
    clock = FakeClock(repeat(0.25))
    found = open_loop(clock.serve, cycle(["a", "b"]), [0.5, 2.0, 4.0], 9.0, clock)
    assert found.series.latencies == pytest.approx([0.25] * 3)
    assert found.series.tasks == ["a", "b", "a"]
    assert found.series.before == [None, "a", "b"]
    assert found.seconds == pytest.approx(4.25)
    assert found.largest_backlog == 0


def test_a_slice_has_at_least_one_request_and_knows_what_ran_before() -> None:
    clock = FakeClock(by_task={"a": 3.0, "b": 0.5})
    series = Series()
    closed_loop(clock.serve, chain("a"), 1.0, clock, series, before="b")
    closed_loop(clock.serve, cycle("b"), 1.0, clock, series, before="a")
    assert series.tasks == ["a", "b", "b"]
    assert series.before == ["b", "a", "b"]
    assert series.latencies == series.services == pytest.approx([3.0, 0.5, 0.5])


def test_poisson_arrivals_have_the_rate_and_no_memory() -> None:
    moments = poisson_arrivals(40.0, 500.0, seed=3)
    gaps = np.diff(moments)
    assert len(moments) == pytest.approx(20_000, rel=0.03)
    assert moments[-1] <= 500
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03
    assert np.array_equal(moments, poisson_arrivals(40.0, 500.0, seed=3))


@pytest.mark.parametrize("rate", [0.01, 3.0])
def test_something_arrives_however_low_the_rate(rate: float) -> None:
    assert len(poisson_arrivals(rate, 0.1, seed=0)) >= 1
    assert fixed_arrivals(rate, 0.1).tolist() == [0.0]


def test_the_system_clock_never_returns_early() -> None:
    clock = SystemClock()
    moment = clock.now() + 0.004
    clock.wait_until(moment)
    assert clock.now() >= moment
    clock.wait_until(moment - 1)
