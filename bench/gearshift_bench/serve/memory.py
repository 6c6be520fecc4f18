"""The server's memory over time: where it is read, and whether it grows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gearshift.errors import InputError

WARM_SHARE = 0.25
"""Of a soak, at its beginning: buffers that are made once are not growth."""
FEWEST = 8
"""Samples after that; with fewer there is no trend."""

_GAUGE = re.compile(r"^process_resident_memory_bytes(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_STATUS = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    """One sample."""

    seconds: float
    """Since the beginning."""
    resident: float
    """Bytes."""


def of_metrics(text: str) -> float:
    """Resident bytes in the text of `/metrics`. Raises InputError where it does not say."""
    found = _GAUGE.search(text)
    if found is None:
        raise InputError("/metrics has no process_resident_memory_bytes: give the server's --pid")
    return float(found[1])


def of_process(pid: int, proc: Path = Path("/proc")) -> float:
    """Resident bytes of a process of this machine. Raises InputError where it cannot be read."""
    try:
        found = _STATUS.search((proc / str(pid) / "status").read_text())
    except OSError as error:
        raise InputError(f"--pid {pid}: {error.strerror}") from None
    if found is None:
        raise InputError(f"--pid {pid} tells no resident memory")
    return 1024.0 * int(found[1])


def trend(samples: Sequence[Memory]) -> dict[str, Any]:
    """How memory went: all samples, and its growth after the first quarter.

    `growth_per_hour` is the median slope over all pairs of samples (Theil 1950, Sen 1968), which a
    few outliers do not move; `rise` is the median of the last third of them less that of the
    first. Without enough samples both are None, and `not_measured` says so.
    """
    series = [(sample.seconds, sample.resident) for sample in samples]
    begin = WARM_SHARE * series[-1][0] if series else 0.0
    warm = np.array([pair for pair in series if pair[0] >= begin]).reshape(-1, 2)
    if len(warm) < FEWEST:
        reason = f"{len(warm)} samples of memory" if series else "memory cannot be read"
        return {"samples": series, "growth_per_hour": None, "rise": None, "not_measured": reason}
    times, resident = warm.T
    first, second = np.triu_indices(len(warm), 1)
    slopes = (resident[second] - resident[first]) / (times[second] - times[first])
    third = len(warm) // 3
    rise = np.median(resident[-third:]) - np.median(resident[:third])
    return {
        "samples": series,
        "growth_per_hour": 3600 * float(np.median(slopes)),
        "rise": float(rise),
        "not_measured": None,
    }
