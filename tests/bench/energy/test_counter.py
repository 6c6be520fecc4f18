"""Counters of energy: differences, wraps, steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift_bench.energy.counter import Counter, passed
from gearshift_bench.energy.meter import MeterError


@given(st.integers(0, 2**40), st.data())
def test_a_difference_survives_the_wrap(largest: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, largest))
    counted = data.draw(st.integers(0, largest))
    assert passed(start, (start + counted) % (largest + 1), largest) == counted


def test_a_counter_that_does_not_wrap_must_not_go_back() -> None:
    assert passed(7, 7, None) == 0
    with pytest.raises(MeterError, match="went back from 9 to 3"):
        passed(9, 3, None)
    with pytest.raises(MeterError, match="went back from 90 to 3"):
        passed(90, 3, 50)


def test_the_longest_step_counts_and_is_the_error() -> None:
    """Steps of 1 ms, and one of 4 ms; then 100 J in 8 s."""
    now, steps = 0.0, [0.001, 0.001, 0.004, *[0.001] * 9]
    edges = [sum(steps[: i + 1]) for i in range(len(steps))]
    extra = 0

    def count() -> int:
        return sum(edge <= now for edge in edges) + extra

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    counter = Counter("package-0", "RAPL counter", count, 0.5, None, lambda: now)
    counter.learn_step(sleep)
    assert counter.kind == "RAPL counter, a step each 4 ms"
    assert counter.least_seconds == pytest.approx(0.08)
    now = 1.0
    counter.start()
    now, extra = 9.0, 200
    reading = counter.read()
    assert (reading.seconds, reading.joules, reading.watts) == (8.0, 100.0, 12.5)
    assert reading.error == pytest.approx(12.5 * 0.004 + 0.5)


def test_a_reading_without_a_change_is_refused() -> None:
    now = 0.0
    counter = Counter("dram", "", lambda: 5, 1.0, None, lambda: now)
    counter.start()
    now = 2.0
    with pytest.raises(MeterError, match="dram did not move in 2 s"):
        counter.read()
