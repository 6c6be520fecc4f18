"""The two ways to send requests, and the clock that they go by.

Closed loop: the next request begins when the one before it has ended. Open loop: requests arrive
on their own, whether or not the one before has ended, and latency counts from the arrival. A closed
loop stops asking while the server stalls and so misses what waiting requests would have seen
(coordinated omission; Tene, "How NOT to Measure Latency", 2013); an open loop does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MOST_ARRIVALS = 1_000_000
AWAKE = 0.001
"""Seconds before an arrival from which the clock is watched instead of slept."""
FULL = 0.98
"""Share of the time in which requests run, from which on the smallest disturbance fills a queue."""

Serve = Callable[[str], object]
"""Runs one request of a task."""


class Clock(Protocol):
    """Time, real or simulated; seconds from any beginning."""

    def now(self) -> float: ...

    def wait_until(self, moment: float) -> None:
        """Return at `moment`, or at once if it has passed."""
        ...


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        return time.perf_counter()

    def wait_until(self, moment: float) -> None:
        if (left := moment - self.now() - AWAKE) > 0:
            time.sleep(left)
        while self.now() < moment:
            pass


@dataclass
class Series:
    """Requests in the order they ran, slice after slice."""

    latencies: list[float] = field(default_factory=list)
    services: list[float] = field(default_factory=list)
    """Seconds in which each request ran: without waiting."""
    tasks: list[str] = field(default_factory=list)
    before: list[str | None] = field(default_factory=list)
    """The task of the request before each one."""

    def add(self, task: str, before: str | None, latency: float, service: float) -> None:
        self.latencies.append(latency)
        self.services.append(service)
        self.tasks.append(task)
        self.before.append(before)


def closed_loop(
    serve: Serve,
    requests: Iterator[str],
    seconds: float,
    clock: Clock,
    series: Series,
    before: str | None = None,
) -> None:
    """One request after another until so many seconds have passed; at least one.

    Args:
        before: the task that ran last.
    """
    end = clock.now() + seconds
    while True:
        task = next(requests)
        start = clock.now()
        serve(task)
        stop = clock.now()
        series.add(task, before, stop - start, stop - start)
        before = task
        if stop >= end:
            return


@dataclass(frozen=True)
class Opened:
    """What became of the requests of an open loop."""

    series: Series
    seconds: float
    """From the beginning to the end of the last request."""
    unserved: int
    largest_backlog: int
    """Most requests that waited while another one ran."""

    def mode(self, rate: float, arrivals: str) -> dict[str, Any]:
        """The `mode` entry of a run."""
        busy = sum(self.series.services) / self.seconds if self.seconds else 0.0
        mean = float(np.mean(self.series.services))
        return {
            "kind": "open",
            "rate": rate,
            "arrivals": arrivals,
            "served": len(self.series.latencies),
            "unserved": self.unserved,
            "largest_backlog": self.largest_backlog,
            "busy": min(busy, 1.0),
            "saturated": self.unserved > 0 or rate * mean >= FULL,
        }


def open_loop(
    serve: Serve, requests: Iterator[str], arrivals: Sequence[float], limit: float, clock: Clock
) -> Opened:
    """Answer requests in the order of their arrival, one at a time.

    Args:
        arrivals: seconds from the beginning, sorted; at least one.
        limit: seconds after which nothing more is begun: a server that cannot keep up would
            never end.
    """
    moments = np.asarray(arrivals)
    series = Series()
    begin, largest = clock.now(), 0
    before: str | None = None
    for index, arrival in enumerate(arrivals):
        clock.wait_until(begin + arrival)
        start = clock.now()
        if series.latencies and start - begin > limit:
            break
        task = next(requests)
        serve(task)
        stop = clock.now()
        series.add(task, before, stop - (begin + arrival), stop - start)
        before = task
        waiting = int(np.searchsorted(moments, stop - begin, "right")) - index - 1
        largest = max(largest, waiting)
    unserved = len(arrivals) - len(series.latencies)
    return Opened(series, clock.now() - begin, unserved, largest)


def poisson_arrivals(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Arrivals that know nothing of each other, at `rate` a second on the average; at least one."""
    count = _count(rate, seconds)
    gaps = np.random.default_rng(seed).exponential(1 / rate, 2 * count + 16)
    moments = np.cumsum(gaps)
    inside = moments[moments <= seconds]
    return inside if len(inside) else moments[:1]


def fixed_arrivals(rate: float, seconds: float) -> NDArray[np.float64]:
    """One every 1/rate seconds, the first at once."""
    return np.arange(_count(rate, seconds)) / rate


def _count(rate: float, seconds: float) -> int:
    return min(max(int(rate * seconds), 1), MOST_ARRIVALS)
