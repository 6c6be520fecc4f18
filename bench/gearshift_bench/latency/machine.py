"""The machine of a result: what it is, how it is set, how quiet it was."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from gearshift_bench.latency.statistics import spread
from gearshift_bench.peers.host import describe_host
from gearshift_kernels.native.team import usable_processors

NOISY = 0.05
"""A machine on which the same work takes so much longer or shorter is called noisy."""
BUSY = 0.5
"""So is one with so many runnable processes a processor before anything begins."""
WORK = bytes(1 << 18)
REPEATS = 16
PACKAGES = ("gearshift", "numpy", "torch", "onnxruntime", "triton")


class Calibration:
    """A fixed work that no backend has a part in: SHA-256 of 4 MB in a thread a processor.

    In one thread it would go to a processor that is free, and not see that the others are not.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(usable_processors())
        self.seconds: list[float] = []

    def take(self) -> None:
        """Do the work once, and keep how long it took."""
        start = time.perf_counter()
        for done in [self._pool.submit(_hash) for _ in range(usable_processors())]:
            done.result()
        self.seconds.append(time.perf_counter() - start)

    def close(self) -> None:
        self._pool.shutdown()


def _hash() -> None:
    for _ in range(REPEATS):
        hashlib.sha256(WORK).digest()


def load_average() -> list[float] | None:
    """Runnable processes over 1, 5 and 15 minutes; None where the system does not say."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def machine_entry(
    load_before: list[float] | None,
    calibrations: Sequence[float],
    warnings: Sequence[str],
    root: Path = Path("/"),
) -> dict[str, Any]:
    """The `machine` entry of a document.

    Args:
        load_before: of `load_average`, before anything ran.
        calibrations: seconds of a `Calibration`, all through the measurement; at least one.
        warnings: on top of those that follow from load and noise.
    """
    host = describe_host(root / "proc/cpuinfo")
    noise = spread(calibrations)
    found = list(warnings)
    if noise > NOISY:
        found.insert(
            0, f"the same work took {noise:.0%} longer or shorter: differences below that are noise"
        )
    if load_before and load_before[0] > BUSY * host.processors:
        found.insert(
            0,
            f"{load_before[0]:.2f} processes were runnable before the start, on {host.processors} "
            "processors: others were at work",
        )
    return {
        "processor": host.cpu,
        "cores": host.processors,
        "memory_bytes": _memory_bytes(root),
        "system": f"{platform.system()} {platform.machine()}",
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock_mhz": _clock(root),
        "load_before": load_before,
        "noise": {
            "spread": noise,
            "noisy": noise > NOISY,
            "seconds": median(calibrations),
        },
        "warnings": found,
    }


def software() -> dict[str, str]:
    """Versions of what runs here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _clock(root: Path) -> dict[str, float] | None:
    """The limits that the system states, or else the slowest and fastest clock of the moment."""
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    limits = [_number(_text(folder / f"cpuinfo_{name}_freq")) for name in ("min", "max")]
    if limits[0] is not None and limits[1] is not None:
        return {"min": limits[0] / 1000, "max": limits[1] / 1000}
    clocks = _fields(root / "proc/cpuinfo", "cpu MHz")
    return {"min": min(clocks), "max": max(clocks)} if clocks else None


def _memory_bytes(root: Path) -> float | None:
    found = _fields(root / "proc/meminfo", "MemTotal")
    return found[0] * 1024 if found else None


def _fields(path: Path, name: str) -> list[float]:
    """The numbers of all lines `name: number unit`."""
    lines = (line.partition(":") for line in (_text(path) or "").splitlines())
    words = [value.split() for key, _, value in lines if key.strip() == name]
    numbers = (_number(one[0]) for one in words if one)
    return [number for number in numbers if number is not None]


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
