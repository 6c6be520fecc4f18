"""Traces: files of requests, a line each: `task`, `seconds task`, or a JSON object with both."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from gearshift.errors import InputError
from gearshift_bench.latency.workload import Workload

MOST_BYTES = 64_000_000
MOST_REQUESTS = 1_000_000
MOST_SECONDS = 86_400.0


def read_trace(path: Path, known: Sequence[str]) -> Workload:
    """A trace whose lines all have seconds since its beginning, or all have none.

    Empty lines and lines that begin with `#` are passed over. A JSON line is such as
    `{"seconds": 0.25, "task": "depth"}`.

    Raises:
        InputError: no such file, a line that is none of these, an unknown task, times that go
            back, or too much of it.
    """
    arrivals: list[float] = []
    tasks: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path} line {number}"
        seconds, task = _request(line.strip(), where)
        if task not in known:
            raise InputError(f"{where}: task {task[:80]!r} is not one of {', '.join(known)}")
        if tasks and (seconds is None) != (not arrivals):
            raise InputError(f"{where}: give seconds in every line or in none")
        if seconds is not None:
            _check_time(seconds, arrivals[-1] if arrivals else 0.0, where)
            arrivals.append(seconds)
        tasks.append(task)
        if len(tasks) > MOST_REQUESTS:
            raise InputError(f"{path} has more than {MOST_REQUESTS:,} requests: cut it")
    if not tasks:
        raise InputError(f"{path} holds no request: write a task, or seconds and a task, a line")
    return Workload("trace", path.name, tuple(tasks), tuple(arrivals) or None)


def _lines(path: Path) -> list[str]:
    try:
        # A pipe or a device could go on for ever.
        if not path.is_file():
            raise InputError(f"trace {path} is not a file")
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"trace {path} has more than {MOST_BYTES:,} bytes: cut it")
        return path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"trace {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"trace {path} is not text in UTF-8") from error


def _request(line: str, where: str) -> tuple[float | None, str]:
    if line.startswith("{"):
        return _json_request(line, where)
    first, *rest = line.split(maxsplit=1)
    if not rest:
        return None, first
    try:
        return float(first), rest[0]
    except ValueError:
        raise InputError(f"{where}: {first[:80]!r} is no number of seconds") from None


def _json_request(line: str, where: str) -> tuple[float | None, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{where} begins like JSON and is none") from None
    seconds, task = found.get("seconds"), found.get("task")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not isinstance(task, str) or not (seconds is None or is_number):
        raise InputError(f'{where}: give {{"seconds": number, "task": "name"}}')
    if seconds is None:
        return None, task
    # A whole number of JSON may be too large for a float.
    return (math.inf if abs(seconds) > MOST_SECONDS else float(seconds)), task


def _check_time(seconds: float, before: float, where: str) -> None:
    if not 0 <= seconds <= MOST_SECONDS:
        raise InputError(f"{where}: {seconds:g} seconds are not between 0 and {MOST_SECONDS:,.0f}")
    if seconds < before:
        raise InputError(f"{where}: {seconds:g} seconds come after {before:g}: sort the trace")
