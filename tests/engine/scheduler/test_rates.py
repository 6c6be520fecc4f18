"""Averages over the last while."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift.scheduler.rates import Rate


def test_a_steady_rate_is_found_and_fades_when_it_ends() -> None:
    rate = Rate(0.5)
    assert rate.per_second(7.0) == 0.0
    for now in np.arange(0.0, 10.0, 0.01):
        rate.add(3.0, float(now))
    assert rate.per_second(9.99) == pytest.approx(300.0, rel=0.02)
    assert rate.per_second(10.49) == pytest.approx(300.0 / np.e, rel=0.02)
    assert rate.per_second(30.0) < 1e-6


def test_a_rate_that_is_set_goes_on_from_there() -> None:
    rate = Rate(0.5)
    rate.add(100.0, 1.0)
    rate.set_per_second(4.0, 2.0)
    assert rate.per_second(2.0) == 4.0
    assert rate.per_second(2.5) == pytest.approx(4.0 / np.e)


def test_a_time_that_is_a_little_too_early_changes_nothing() -> None:
    rate = Rate(2.0)
    rate.add(1.0, 5.0)
    assert rate.per_second(4.9) == rate.per_second(5.0) == 0.5
