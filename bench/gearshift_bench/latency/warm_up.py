"""Warming up until the median settles."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from gearshift_bench.latency.contender import Contender
from gearshift_bench.latency.loops import Clock

WINDOW_RUNS = 5
WINDOW_SECONDS = 0.05
"""A window is at least so many requests and seconds."""
WINDOWS = 3
WITHIN = 0.03
"""Settled: the medians of the last `WINDOWS` windows lie within this share of the smallest."""
MOST_SECONDS = 3.0
LEAST_RUNS = 2


@dataclass(frozen=True)
class WarmUp:
    """How it went."""

    runs: int
    seconds: float
    settled: bool
    """False: the median was still moving when the time was up."""

    def entry(self) -> dict[str, Any]:
        """The `warm_up` entry of a run."""
        return vars(self).copy()


def warm_up(contender: Contender, clock: Clock, most_seconds: float = MOST_SECONDS) -> WarmUp:
    """Run requests of the workload until their median settles, or the time is up.

    Every output is checked.
    """
    begin = clock.now()
    medians: deque[float] = deque(maxlen=WINDOWS)
    window: list[float] = []
    runs, settled = 0, False
    while not settled:
        start = clock.now()
        contender.serve_next()
        stop = clock.now()
        contender.check()
        runs += 1
        window.append(stop - start)
        if len(window) >= WINDOW_RUNS and sum(window) >= WINDOW_SECONDS:
            medians.append(float(np.median(window)))
            window.clear()
            settled = len(medians) == WINDOWS and max(medians) <= (1 + WITHIN) * min(medians)
        if runs >= LEAST_RUNS and clock.now() - begin >= most_seconds:
            break
    return WarmUp(runs, clock.now() - begin, settled)
