"""Contenders take turns, so that whatever happens to the machine happens to all of them."""

from __future__ import annotations

from collections.abc import Sequence

from gearshift_bench.latency.loops import (
    Clock,
    closed_loop,
    fixed_arrivals,
    open_loop,
    poisson_arrivals,
)
from gearshift_bench.latency.machine import Calibration
from gearshift_bench.latency.plan import Plan
from gearshift_bench.latency.run_entry import Findings
from gearshift_bench.latency.warm_up import MOST_SECONDS, warm_up
from gearshift_bench.latency.workload import Workload
from gearshift_bench.progress import Progress

ROUNDS = 20
LEAST_REQUESTS = 5
"""Of a contender, however slow."""
WARMED_BELOW = 0.1
"""Seconds: before a slice of shorter requests one is run uncounted, since the other contenders have
just thrown its weights out of the caches; in a longer one that makes no difference."""
SETTLE = 0.005
"""Seconds before a slice: threads of the contender before it may still be spinning."""
LONGEST = 2.0
"""An open loop is given up after so many times the time in which its requests arrived."""


def take_turns(
    plan: Plan,
    findings: Sequence[Findings],
    calibration: Calibration,
    progress: Progress,
    clock: Clock,
) -> None:
    """Closed loops in rounds, so that drift hits all alike; open loops one by one, since a queue
    remembers."""
    step = progress("warming up", len(findings))
    for found in findings:
        found.warm = warm_up(found.contender, clock, min(MOST_SECONDS, plan.seconds))
        found.contender.stats.clear()
        step()
    opened = [found for found in findings if _is_open(plan, found)]
    closed = [found for found in findings if not _is_open(plan, found)]
    step = progress("measuring", ROUNDS + len(opened))
    for turn in range(ROUNDS if closed else 0):
        first = turn % len(closed)
        for found in closed[first:] + closed[:first]:
            _slice(found, plan.seconds, clock)
            calibration.take()
        step()
    for found in opened:
        # Not while it plays: requests would wait for it.
        for _ in range(ROUNDS // 2):
            calibration.take()
        _play(plan, found, clock)
        for _ in range(ROUNDS // 2):
            calibration.take()
        step()


def _is_open(plan: Plan, found: Findings) -> bool:
    return plan.rate is not None or found.contender.workload.arrivals is not None


def _slice(found: Findings, seconds: float, clock: Clock) -> None:
    """A part of a closed loop; nothing once it has had all of its time."""
    contender, series = found.contender, found.series
    if sum(series.services) >= seconds and len(series.services) >= LEAST_REQUESTS:
        return
    clock.wait_until(clock.now() + SETTLE)
    if not series.services or series.services[-1] < WARMED_BELOW:
        contender.serve(contender.last or contender.workload.sequence[0])
    closed_loop(
        contender.serve, contender.requests, seconds / ROUNDS, clock, series, contender.last
    )
    contender.check()


def _play(plan: Plan, found: Findings, clock: Clock) -> None:
    """An open loop from its first arrival to its last."""
    contender, workload = found.contender, found.contender.workload
    if workload.arrivals is not None:
        # A trace is played from its first line.
        contender.requests = workload.requests()
    arrivals, rate, kind = _arrivals(plan, workload)
    clock.wait_until(clock.now() + SETTLE)
    contender.serve(contender.last or workload.sequence[0])
    limit = LONGEST * arrivals[-1] + 1
    opened = open_loop(contender.serve, contender.requests, arrivals, limit, clock)
    contender.check()
    found.opened, found.series, found.mode = opened, opened.series, opened.mode(rate, kind)


def _arrivals(plan: Plan, workload: Workload) -> tuple[list[float], float, str]:
    """Moments, their rate, and where they come from."""
    if workload.arrivals is not None:
        moments = list(workload.arrivals)
        # The rate of gaps; a trace whose requests all come at once has none, and gets its length.
        return moments, max(len(moments) - 1, 1) / (moments[-1] - moments[0] or 1.0), "trace"
    assert plan.rate is not None
    if plan.arrivals == "fixed":
        return fixed_arrivals(plan.rate, plan.seconds).tolist(), plan.rate, "fixed"
    return poisson_arrivals(plan.rate, plan.seconds, plan.seed).tolist(), plan.rate, "poisson"
