"""What a switch of task costs: the first request after it against the ones that follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Options, Precision, load_backend
from gearshift.errors import BackendError
from gearshift.program import ITEM_BYTES, Program
from gearshift_bench.peers.figures import Spread, paired, spread
from gearshift_bench.roofline import ITEM_BYTES as WEIGHT_BYTES

STEADY_RUNS = 3
"""Requests of one task after the first; their median is the steady state."""


@dataclass(frozen=True)
class Switch:
    """One way to hold the experts."""

    setting: str
    first: Spread
    """Seconds of the first request after a switch."""
    steady: Spread
    """Of the requests after it."""
    ratio: Spread
    """Of the two, switch by switch."""


def half_of_the_experts(program: Program, precision: Precision) -> int:
    """Bytes of fast memory that hold half of all experts in the precision of the run."""
    elements = sum(
        step.weight_bytes // ITEM_BYTES["float32"]
        for step in program.steps
        if step.kernel == "expert_mixture"
    )
    return elements * WEIGHT_BYTES[precision] // 2


def measure_switch(
    setting: str,
    backend: str,
    options: Options,
    programs: Sequence[Program],
    image: NDArray[np.float32],
    switches: int,
) -> Switch:
    """Requests of one task after another, every task having run before.

    Raises:
        BackendError: the backend cannot run these programs with these options.
    """
    opened = load_backend(backend, options)
    for program in programs:
        if reasons := opened.supports(program):
            raise BackendError("; ".join(reasons))
    compiled = [opened.compile(program) for program in programs]
    return time_switches(setting, [one.run for one in compiled], image, switches)


def time_switches(
    setting: str,
    runs: Sequence[Callable[[NDArray[np.float32]], object]],
    image: NDArray[np.float32],
    switches: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Switch:
    """Each of `runs` is one task; they take turns for so many switches."""

    def seconds(run: Callable[[NDArray[np.float32]], object]) -> float:
        start = clock()
        run(image)
        return clock() - start

    for run in runs:
        run(image)
    first, steady = [], []
    for switch in range(switches):
        run = runs[switch % len(runs)]
        first.append(seconds(run))
        steady.append(median(seconds(run) for _ in range(STEADY_RUNS)))
    return Switch(setting, spread(first), spread(steady), paired(first, steady))
