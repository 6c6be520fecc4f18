"""What a measurement is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gearshift_bench.latency.configuration import Configuration
from gearshift_bench.latency.workload import Workload


@dataclass(frozen=True)
class Plan:
    """What was asked for, checked."""

    model: Path
    workloads: Sequence[Workload]
    configurations: Sequence[Configuration]
    seconds: float
    """Of every run."""
    rate: float | None = None
    """Requests a second in an open loop; None: closed, unless a trace has times."""
    arrivals: Literal["poisson", "fixed"] = "poisson"
    with_cold: bool = True
    watts: float | None = None
    seed: int = 0
    image: Path | None = None
    """A picture for all requests; None: those that come with gearshift."""
