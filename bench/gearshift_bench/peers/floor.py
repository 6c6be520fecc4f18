"""The floor: the seconds that the matrix products alone must take on this CPU.

A node's floor is its multiply-accumulates over the rate at which the cores multiply and add in the
precision of the run without touching memory, as measured by the native kernels' own probe, times
the threads. The router's are float32 in every precision. Left out are memory, exponentials, norms,
GELU and everything else that is no matrix product; so nothing can be faster, with one exception:
Winograd's convolution (Lavin and Gray, 2016) multiplies less than the convolution that is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from gearshift.backends import Precision
from gearshift.program import Program

Peaks = Mapping[Precision, float]
"""Multiply-accumulates a second of one thread."""


def measure_peaks() -> Peaks | None:
    """Of every precision of the native kernels; None where there are no native kernels."""
    try:
        from gearshift_kernels.native.library import NativeError, peak_macs
        from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8
    except ImportError:
        return None
    codes: dict[Precision, int] = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8}
    try:
        return {precision: peak_macs(code) for precision, code in codes.items()}
    except NativeError:
        return None


def node_floors(
    program: Program, precision: Precision, peaks: Peaks, threads: int
) -> dict[str, float]:
    """Seconds by node."""
    return {
        step.name: step.macs
        / (peaks["float32" if step.kernel == "router" else precision] * threads)
        for step in program.steps
    }
