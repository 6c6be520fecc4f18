"""Arithmetic on series of latencies: percentiles, intervals of medians, comparisons of two series.

Requests that follow each other are not independent: clocks, caches and neighbours drift. So the
bootstrap resamples runs of neighbouring requests, not single ones (the circular block bootstrap,
Politis and Romano 1992), and an interval tells of the drift within a series as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 1000
BLOCKS = 30
"""Blocks of one series, at least, unless it has fewer requests."""
MOST_VALUES = 1 << 20
"""Resampled at a time: 8 MB."""
FEWEST_FOR_P99 = 100
"""With fewer requests, p99 would be a guess between the two slowest."""
SEED = 20
"""Of the bootstrap: the same series has the same interval."""


def latency_entry(seconds: Sequence[float]) -> dict[str, Any]:
    """The `latency` entry of a run, from at least one latency."""
    series = np.asarray(seconds, np.float64)
    low, high = median_interval(series)
    middle, p90, p99 = np.quantile(series, (0.5, 0.9, 0.99)).tolist()
    return {
        "count": len(series),
        "min": series.min().item(),
        "median": middle,
        "mean": series.mean().item(),
        "p90": p90,
        "p99": p99 if len(series) >= FEWEST_FOR_P99 else None,
        "max": series.max().item(),
        "median_low": low,
        "median_high": high,
        "confidence": CONFIDENCE,
    }


def median_interval(series: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The percentile interval of the median, by bootstrap."""
    return middle_of(bootstrap_medians(series, np.random.default_rng(SEED)), confidence)


def bootstrap_medians(series: Floats, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Medians of series made of random blocks of `series`, which closes to a circle: (draws,)."""
    count = len(series)
    block = max(count // BLOCKS, 1)
    offsets = np.arange(block)
    medians = np.empty(draws)
    rows = max(MOST_VALUES // count, 1)
    for first in range(0, draws, rows):
        part = medians[first : first + rows]
        starts = rng.integers(0, count, (len(part), -(-count // block), 1))
        places = (starts + offsets).reshape(len(part), -1)[:, :count] % count
        part[:] = np.median(series[places], axis=1)
    return medians


@dataclass(frozen=True)
class Comparison:
    """What a second series is to a first one: below 1, it is faster."""

    ratio: float
    """Of the medians."""
    low: float
    high: float
    """Bootstrap interval of the ratio, both series resampled."""
    p_value: float
    """Of the Mann-Whitney test, two-sided."""


def compare_series(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two series of positive latencies."""
    before, after = np.asarray(first, np.float64), np.asarray(second, np.float64)
    rng = np.random.default_rng(SEED)
    ratios = bootstrap_medians(after, rng) / bootstrap_medians(before, rng)
    low, high = middle_of(ratios)
    ratio = (np.median(after) / np.median(before)).item()
    return Comparison(ratio, low, high, mann_whitney(before, after))


def mann_whitney(first: Floats, second: Floats) -> float:
    """Two-sided p-value that both series come from one distribution.

    The normal approximation with corrections for ties and continuity (Mann and Whitney 1947; see
    Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 4.1); good from about eight
    values on each side. All values alike: 1.
    """
    n, m = len(first), len(second)
    every = np.concatenate([first, second])
    _, places, counts = np.unique(every, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((last - counts + 1 + last) / 2)[places]
    u = ranks[:n].sum() - n * (n + 1) / 2
    total = n + m
    ties = (counts.astype(np.float64) ** 3 - counts).sum() / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - ties)
    if variance <= 0:
        return 1.0
    distance = max(abs(u - n * m / 2) - 0.5, 0.0)
    return math.erfc(distance / math.sqrt(2 * variance))


def spread(seconds: Sequence[float]) -> float:
    """Half of what 80 % of the values lie between, as a share of their median."""
    low, middle, high = np.quantile(np.asarray(seconds, np.float64), (0.1, 0.5, 0.9)).tolist()
    return (high - low) / (2 * middle) if middle else 0.0


def middle_of(values: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """What this share of the values lie between, as many below it as above."""
    edge = (1 - confidence) / 2
    low, high = np.quantile(values, (edge, 1 - edge)).tolist()
    return low, high
