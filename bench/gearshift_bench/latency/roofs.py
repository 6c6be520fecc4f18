"""What this machine can do at most: matrix products in registers, and reads from memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from gearshift.backends import Precision
from gearshift_kernels.native.team import usable_processors

READ_BYTES = 1 << 28
"""Many times what the caches of a processor hold."""
READ_SECONDS = 0.3
ON_THIS_CPU = ("native", "torch", "onnxruntime")
"""Backends whose work is held against these roofs; the others run elsewhere, or simulate."""


@dataclass(frozen=True)
class Roof:
    """Of so many threads at the same time."""

    threads: int
    flops: dict[Precision, float | None]
    """Operations a second, two a multiply-accumulate; None: this precision was not measured."""
    bytes: float
    """Read from memory, a second."""

    def entry(self) -> dict[str, Any]:
        """The `roofs` entry of a document."""
        return {"threads": self.threads, "flops": dict(self.flops), "bytes": self.bytes}


def measure_roofs(threads: Sequence[int | None]) -> dict[int | None, Roof]:
    """A roof for every number of threads; None stands for as many as there are processors.

    Products are those of the native kernels' own probe, one a thread, all at once; where nothing
    was compiled they are not measured. Reads are sums over 256 MB.
    """
    numbers = {one: one or usable_processors() for one in threads}
    # More threads than processors do not lift a roof.
    found = {
        number: Roof(number, _flops(least), _reads(least))
        for number in sorted(set(numbers.values()))
        for least in [min(number, usable_processors())]
    }
    return {one: found[number] for one, number in numbers.items()}


def _flops(threads: int) -> dict[Precision, float | None]:
    from gearshift_kernels.native.library import NativeError, peak_macs
    from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8

    codes: dict[Precision, int] = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8}
    try:
        # The probe holds no lock of Python's while it runs.
        with ThreadPoolExecutor(threads) as pool:
            return {
                precision: 2 * sum(pool.map(peak_macs, [code] * threads))
                for precision, code in codes.items()
            }
    except NativeError:
        return dict.fromkeys(codes)


def _reads(threads: int) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        values = torch.ones(READ_BYTES // 4, dtype=torch.float32)
        best, begin = 0.0, time.perf_counter()
        while time.perf_counter() - begin < READ_SECONDS or not best:
            start = time.perf_counter()
            values.sum()
            best = max(best, READ_BYTES / (time.perf_counter() - start))
        return best
    finally:
        torch.set_num_threads(before)
