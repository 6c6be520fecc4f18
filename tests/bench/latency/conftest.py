"""A clock that stands still until somebody works, and backends that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift.backends import Options, Stats
from gearshift.program import Program


@dataclass
class FakeClock:
    """Simulated seconds, and a server that takes as many of them as it is told to."""

    costs: Iterator[float] | None = None
    """Seconds of the requests, in order."""
    by_task: Mapping[str, float] = field(default_factory=dict)
    time: float = 1000.0
    served: list[str] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def wait_until(self, moment: float) -> None:
        self.time = max(self.time, moment)

    def serve(self, task: str) -> None:
        self.served.append(task)
        self.time += self.by_task[task] if self.costs is None else next(self.costs)


class FakeBackend:
    """Runs every program; what a run returns is up to `answer`, given the number of the run."""

    answer: Callable[[int, tuple[int, ...]], NDArray[np.float32]]

    def __init__(self, options: Options) -> None:
        self.runs = 0

    def supports(self, program: Program) -> list[str]:
        return []

    def compile(self, program: Program) -> FakeCompiled:
        return FakeCompiled(self, program)


@dataclass
class FakeCompiled:
    """One program of a fake backend."""

    backend: FakeBackend
    program: Program

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self.backend.runs += 1
        shape = self.program.values[self.program.output].shape
        return type(self.backend).answer(self.backend.runs, shape)

    @property
    def stats(self) -> Stats:
        return Stats("fake 1.0", self.program.task_card.name, 0.0)


@pytest.fixture
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a backend with this answer in the place of all others."""

    def put(answer: Callable[[int, tuple[int, ...]], NDArray[np.float32]]) -> None:
        kind = type("Answering", (FakeBackend,), {"answer": staticmethod(answer)})
        monkeypatch.setattr("gearshift.session.load_backend", lambda name, options: kind(options))

    return put
