"""Percentiles, bootstrap intervals and tests on series whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from gearshift_bench.latency.statistics import (
    bootstrap_medians,
    compare_series,
    latency_entry,
    mann_whitney,
    median_interval,
    spread,
)


def test_percentiles_of_a_ramp() -> None:
    found = latency_entry(np.random.default_rng(0).permutation(np.arange(1, 202) / 100).tolist())
    assert found["count"] == 201
    assert (found["min"], found["max"]) == (0.01, 2.01)
    assert found["median"] == pytest.approx(1.01)
    assert found["mean"] == pytest.approx(1.01)
    assert found["p90"] == pytest.approx(1.81)
    assert found["p99"] == pytest.approx(1.99)
    assert found["min"] <= found["median_low"] <= found["median"] <= found["median_high"]


@pytest.mark.parametrize(("count", "is_known"), [(1, False), (99, False), (100, True)])
def test_p99_is_told_from_a_hundred_requests_on(count: int, is_known: bool) -> None:
    found = latency_entry([0.5] * count)
    assert found["p99"] == (0.5 if is_known else None)
    assert found["median_low"] == found["median_high"] == 0.5


def test_the_same_series_has_the_same_interval() -> None:
    series = np.random.default_rng(1).exponential(size=157)
    assert median_interval(series) == median_interval(series)


Make = Callable[[np.random.Generator, int], NDArray[np.float64]]


def coverage(make: Make, truth: float, trials: int, count: int) -> float:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(trials):
        series = make(rng, count)
        low, high = np.quantile(bootstrap_medians(series, rng, 200), (0.025, 0.975))
        hits += bool(low <= truth <= high)
    return hits / trials


def independent(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.exponential(size=count)


def drifting(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Neighbours alike: an autoregressive series with median 3."""
    noise = rng.normal(size=count)
    found = np.empty(count)
    found[0] = noise[0]
    for index in range(1, count):
        found[index] = 0.6 * found[index - 1] + 0.8 * noise[index]
    return 3 + found


def test_intervals_cover_the_median_as_often_as_they_say() -> None:
    """95 % in theory; 300 trials have a standard deviation of 1.3 %, blocks cost some more."""
    assert 0.89 <= coverage(independent, np.log(2), 300, 301) <= 0.99


def test_intervals_cover_the_median_of_a_drifting_series() -> None:
    """Resampling single requests would take neighbours for independent, and cover much less."""
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(200):
        series = drifting(rng, 600)
        draws = np.median(rng.choice(series, (200, 600)), axis=1)
        low, high = np.quantile(draws, (0.025, 0.975))
        hits += bool(low <= 3 <= high)
    blocks = coverage(drifting, 3.0, 200, 600)
    assert blocks >= 0.86
    assert hits / 200 < blocks - 0.1


@pytest.mark.parametrize("rounded", [None, 1, 0])
@pytest.mark.parametrize("seed", range(4))
def test_mann_whitney_agrees_with_scipy(seed: int, rounded: int | None) -> None:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=rng.integers(8, 60))
    second = rng.normal(0.3 * seed, size=rng.integers(8, 60))
    if rounded is not None:
        first, second = first.round(rounded), second.round(rounded)
    expected = stats.mannwhitneyu(first, second, method="asymptotic").pvalue
    assert mann_whitney(first, second) == pytest.approx(expected, rel=1e-9)


def test_equal_values_are_no_evidence() -> None:
    assert mann_whitney(np.ones(9), np.ones(11)) == 1.0


def test_a_series_against_one_that_is_a_tenth_faster() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.lognormal(0, 0.02, 400), 0.9 * rng.lognormal(0, 0.02, 300)
    found = compare_series(before.tolist(), after.tolist())
    assert found.low < 0.9 < found.high
    assert found.ratio == pytest.approx(0.9, abs=0.01)
    assert found.high - found.low < 0.02
    assert found.p_value < 1e-10


def test_spread_is_half_of_what_most_values_lie_between() -> None:
    values = np.linspace(0.9, 1.1, 101)
    assert spread(values.tolist()) == pytest.approx(0.08)
    assert spread([2.0]) == 0.0
