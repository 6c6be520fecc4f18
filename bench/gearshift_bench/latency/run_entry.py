"""One run of the result: everything that was found out about one contender."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from gearshift_bench.latency.cold import Cold
from gearshift_bench.latency.contender import Contender
from gearshift_bench.latency.loops import Opened, Series
from gearshift_bench.latency.profile import Profile
from gearshift_bench.latency.roofs import ON_THIS_CPU, Roof
from gearshift_bench.latency.statistics import latency_entry
from gearshift_bench.latency.switches import switches_entry
from gearshift_bench.latency.warm_up import WarmUp


@dataclass
class Findings:
    """Filled in as the measurement goes on."""

    contender: Contender
    series: Series
    warm: WarmUp | None = None
    cold: Cold | None = None
    opened: Opened | None = None
    """Of an open loop; its series is the one that counts."""
    mode: Mapping[str, Any] | None = None
    """None: a closed loop."""
    profile: Profile | None = None
    energy: Mapping[str, Any] | None = None


def run_entry(found: Findings, roof: Roof, watts: float | None) -> dict[str, Any]:
    """The entry of `runs`, once all is measured.

    Args:
        roof: of as many threads as the run has.
        watts: power that the user assumes, or None.
    """
    assert found.warm is not None
    assert found.profile is not None
    assert found.energy is not None
    asked, workload = found.contender.configuration, found.contender.workload
    series, is_mix = found.series, workload.task is None
    elapsed = found.opened.seconds if found.opened else sum(series.services)
    rate = len(series.latencies) / elapsed
    return {
        "task": workload.task,
        "backend": asked.backend,
        "precision": asked.precision,
        "batch": asked.batch,
        "threads": asked.threads,
        "approximate": list(asked.approximate),
        "memory": asked.memory,
        "mode": dict(found.mode or {"kind": "closed"}),
        "mix": {"kind": workload.kind, "description": workload.description} if is_mix else None,
        "cold": found.cold.entry() if found.cold else None,
        "warm_up": found.warm.entry(),
        "latency": latency_entry(series.latencies),
        "seconds": series.latencies,
        "tasks": series.tasks if is_mix else None,
        "throughput": asked.batch * rate,
        "requests_per_second": rate,
        "memory_peak_bytes": found.cold.peak_bytes if found.cold else None,
        "work": _work(found, roof),
        "switches": switches_entry(series) if is_mix else None,
        "experts": found.profile.experts,
        "nodes": dict(found.profile.nodes),
        "energy": dict(found.energy),
        "assumed_energy": _assumed(series, watts),
    }


def _work(found: Findings, roof: Roof) -> dict[str, Any]:
    """Rates are of a median request; of a mix, of all requests together."""
    assert found.profile is not None
    asked, series = found.contender.configuration, found.series
    macs = found.contender.macs()
    counts = Counter(series.tasks)
    mean_macs = sum(macs[task] * count for task, count in counts.items()) / len(series.tasks)
    is_mix = found.contender.workload.task is None
    seconds = fmean(series.services) if is_mix else median(series.services)
    weights, activations = found.profile.weight_bytes, found.profile.activation_bytes
    known = weights is not None and activations is not None
    moved = (weights or 0) + (activations or 0) if known else None
    # The roofs are this processor's.
    here = asked.backend in ON_THIS_CPU
    flops_roof = roof.flops.get(asked.precision) if here else None
    return {
        "macs": mean_macs,
        "flops": 2 * mean_macs,
        "bytes": moved,
        "weight_bytes": weights,
        "activation_bytes": activations,
        "flops_per_second": 2 * mean_macs / seconds,
        "bytes_per_second": _over(moved, seconds),
        "share_of_flops": _over(2 * mean_macs / seconds, flops_roof),
        "share_of_bytes": _over(_over(moved, seconds), roof.bytes if here else None),
    }


def _over(amount: float | None, divisor: float | None) -> float | None:
    return amount / divisor if amount is not None and divisor else None


def _assumed(series: Series, watts: float | None) -> dict[str, float] | None:
    """The power flows while a request runs, not while it waits."""
    if watts is None:
        return None
    return {"watts": watts, "joules_per_request": watts * fmean(series.services)}
