"""What one setting of a task takes: a short measured latency, and energy where there is a meter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gearshift_bench.accuracy.runners import Floats
from gearshift_bench.energy import measure_energy
from gearshift_bench.latency.configuration import Configuration
from gearshift_bench.latency.contender import Contender
from gearshift_bench.latency.loops import Clock, Series, SystemClock, closed_loop
from gearshift_bench.latency.warm_up import warm_up
from gearshift_bench.latency.workload import single

NOT_MEASURED: Mapping[str, Any] = {
    "energy": "not measured: not asked for",
    "latency_of": "not measured: not asked for",
    "latency_ms": None,
}
EMULATED: Mapping[str, Any] = {
    "energy": "not measured: emulated",
    "latency_of": "not measured: emulated",
    "latency_ms": None,
}


def measure_trade(
    model: Path,
    configuration: Configuration,
    task: str,
    image: Floats,
    seconds: float,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Entries `latency_ms`, `latency_of` and `energy` of a record.

    Raises:
        GearshiftError: the backend crashed, or its results change from run to run.
    """
    clock = clock or SystemClock()
    contender = Contender(model, configuration, single(task), image)
    warm_up(contender, clock)
    series = Series()
    closed_loop(contender.serve, contender.requests, seconds, clock, series, contender.last)
    contender.check()
    energy = measure_energy(contender.serve_next, seconds=seconds)
    return {
        "energy": energy_words(energy),
        "latency_of": f"median of {len(series.latencies)}, batch {len(image)}",
        "latency_ms": 1e3 * float(np.median(series.latencies)),
    }


def energy_words(energy: Mapping[str, Any]) -> str:
    """The `energy` entry of a run in a few words: of reasons, what stands before the details."""
    if "meters" not in energy:
        reasons = str(energy["not_measured"]).split("; ")
        return f"not measured: {', '.join(re.split(r': | [(]', one)[0] for one in reasons)}"
    return "; ".join(
        f"{meter['name']} {meter['joules_per_request']:.3g} J "
        f"({meter['joules_idle_subtracted']:.3g} J above idle), error {meter['error']:.0%}"
        for meter in energy["meters"]
    )
