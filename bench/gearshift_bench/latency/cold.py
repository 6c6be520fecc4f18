"""Cold starts: a fresh process opens the model and runs it, since this one is warm already.

Run as a program, this module is that process: it reads a line of JSON, answers with one and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gearshift.errors import BackendError

STARTS = 3
ENOUGH_SECONDS = 5.0
"""No further start after so many seconds."""
MOST_SECONDS = 1800.0
"""Of one start; simulators are slow."""


@dataclass(frozen=True)
class Cold:
    """Medians of a few starts."""

    open_seconds: float
    """To import gearshift and open the session; the interpreter's own start is left out."""
    first_seconds: float
    """From there to the first result: backend loaded, weights checked and packed or mapped."""
    peak_bytes: int | None
    """Most resident memory after a request of every task; None where the system does not say."""

    def entry(self) -> dict[str, Any]:
        """The `cold` entry of a run."""
        return {"open_seconds": self.open_seconds, "first_seconds": self.first_seconds}


def measure_cold(model: Path, options: dict[str, Any], tasks: list[str], batch: int) -> Cold:
    """Start processes that open `model` with the session's `options` and run every task.

    Caches in files (packed weights, compiled kernels, the system's of files) are as they are.

    Raises:
        BackendError: the process failed; its last line is told.
    """
    request = {"model": str(model), "options": options, "tasks": tasks, "batch": batch}
    found: list[dict[str, Any]] = []
    begin = time.perf_counter()
    while len(found) < STARTS and (not found or time.perf_counter() - begin < ENOUGH_SECONDS):
        found.append(_start(request))
    peaks = [one["peak_bytes"] for one in found if one["peak_bytes"] is not None]
    return Cold(
        median(one["open_seconds"] for one in found),
        median(one["first_seconds"] for one in found),
        max(peaks, default=None),
    )


def _start(request: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BackendError(
            f"a cold start took more than {MOST_SECONDS:,.0f} s: leave it out with --no-cold"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"a cold start failed with exit code {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process does."""
    begin = time.perf_counter()
    from gearshift.session import Session

    session = Session(request["model"], **request["options"])
    opened = time.perf_counter()
    import numpy as np

    shape = (request["batch"], 3, *session.image_size)
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    start = time.perf_counter()
    first, *others = request["tasks"]
    session.run_normalised(image, first)
    end = time.perf_counter()
    for task in others:
        session.run_normalised(image, task)
    return {
        "open_seconds": opened - begin,
        "first_seconds": end - start,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """Most resident memory of this process so far, in bytes.

    From Linux's VmHWM: getrusage's ru_maxrss goes through a fork, so that a child would tell the
    memory of its parent.
    """
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    return None


if __name__ == "__main__":
    print(json.dumps(_answer(json.loads(sys.stdin.readline()))))
