"""Which requests came when: recorded by a server, or made up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from gearshift.errors import InputError
from gearshift.output import whole_file

MOST_LINE_BYTES = 4096


@dataclass(frozen=True)
class TraceRequest:
    """One request; times in seconds, `arrival` from the beginning of the trace."""

    arrival: float
    model: str
    task: str
    height: int
    width: int
    images: int = 1
    priority: int = 0
    """0 is the default level."""
    timeout: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.height, self.width, self.images)
        if not all(isinstance(number, int) and number >= 1 for number in numbers):
            raise InputError(f"a request of {self.images} images {self.height}x{self.width}")
        if not isinstance(self.priority, int) or self.priority < 0:
            raise InputError(f"priority {self.priority!r}: give 0 or more")
        if not 0 <= self.arrival < float("inf"):
            raise InputError(f"arrival {self.arrival!r}: give seconds from the beginning")
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"timeout {self.timeout!r}: give more than 0 seconds, or none")


_DEFAULTS = {field.name: field.default for field in fields(TraceRequest)}


def write_trace(requests: Iterable[TraceRequest], path: Path) -> None:
    """One JSON object a line: the fields of `TraceRequest` that differ from their defaults."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for request in requests:
            values = asdict(request)
            told = {name: value for name, value in values.items() if value != _DEFAULTS[name]}
            file.write(json.dumps(told) + "\n")


def read_trace(path: Path) -> list[TraceRequest]:
    """A trace in the order of arrival.

    Raises:
        InputError: no such file, or a line that is no request.
    """
    try:
        with path.open(encoding="utf-8") as file:
            requests = [_request(line, path, number) for number, line in _lines(file)]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"trace {path} cannot be read: {error}") from None
    return sorted(requests, key=lambda request: request.arrival)


def _lines(file: Any) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MOST_LINE_BYTES):
        number += 1
        if line.strip():
            yield number, line


def _request(line: str, path: Path, number: int) -> TraceRequest:
    try:
        values = json.loads(line)
        if unknown := set(values) - set(_DEFAULTS):
            raise InputError(f"{min(unknown)!r} is not known")
        return TraceRequest(**values)
    except (ValueError, TypeError, RecursionError) as error:
        # InputError is a ValueError.
        raise InputError(f"trace {path}, line {number}: {str(error)[:200]}") from None


def poisson_trace(
    rate: float, seconds: float, shares: Mapping[str, float], seed: int = 0
) -> list[TraceRequest]:
    """Independent clients: `rate` requests a second, tasks drawn by their shares."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1 / rate, max(1, round(rate * seconds * 2)))
    return _of_tasks(gaps.cumsum(), seconds, shares, random)


def burst_trace(
    rate: float, seconds: float, shares: Mapping[str, float], burst: int = 12, seed: int = 0
) -> list[TraceRequest]:
    """As `poisson_trace`, but in bursts of `burst` requests 0.2 ms apart; `rate` is the mean."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(burst / rate, max(1, round(rate * seconds * 2 / burst)))
    begins = gaps.cumsum()[:, None]
    return _of_tasks(np.sort((begins + 2e-4 * np.arange(burst)).ravel()), seconds, shares, random)


def phase_trace(
    rate: float, seconds: float, shares: Mapping[str, float], phase: float = 0.5, seed: int = 0
) -> list[TraceRequest]:
    """Clients that go from task to task together: in each phase, three of four requests are for
    its task."""
    random = np.random.default_rng(seed)
    trace = poisson_trace(rate, seconds, shares, seed)
    tasks = list(shares)
    favourites = random.integers(len(tasks), size=int(seconds / phase) + 1)
    return [
        TraceRequest(
            one.arrival,
            one.model,
            tasks[favourites[int(one.arrival / phase)]] if random.random() < 0.75 else one.task,
            one.height,
            one.width,
        )
        for one in trace
    ]


def _of_tasks(
    arrivals: Any, seconds: float, shares: Mapping[str, float], random: np.random.Generator
) -> list[TraceRequest]:
    weights = np.array(list(shares.values())) / sum(shares.values())
    kept = arrivals[arrivals < seconds]
    tasks = random.choice(list(shares), size=len(kept), p=weights)
    return [
        TraceRequest(float(when), "model", str(task), 128, 128)
        for when, task in zip(kept, tasks, strict=True)
    ]
