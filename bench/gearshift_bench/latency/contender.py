"""An open session whose requests are timed, and what it must not do: crash, or change its mind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Stats
from gearshift.errors import BackendError, GearshiftError
from gearshift.session import Session
from gearshift_bench.latency.configuration import Configuration
from gearshift_bench.latency.workload import Workload

KEPT = 200
"""Requests whose statistics are kept."""

Image = NDArray[np.float32]
"""Normalised (N, 3, H, W)."""


class Contender:
    """One configuration under one workload.

    Opening it runs every task once.

    Raises:
        GearshiftError: the backend does not do what the configuration asks for; or it crashed or
            returned NaN (`BrokenError`).
    """

    def __init__(
        self, model: Path, configuration: Configuration, workload: Workload, image: Image
    ) -> None:
        self.configuration = configuration
        self.workload = workload
        self._image = image
        self._session = Session(model, **configuration.options())
        self._expected: dict[str, NDArray[np.float32]] = {}
        self._output: NDArray[np.float32] | None = None
        self.requests: Iterator[str] = workload.requests()
        self.last: str | None = None
        """The task of the last request."""
        self.stats: deque[Stats] = deque(maxlen=KEPT)
        """Of the last requests."""
        for task in workload.tasks:
            self.serve(task)
            self.check()

    def __str__(self) -> str:
        return f"{self.workload.description} on {self.configuration}"

    def serve(self, task: str) -> None:
        """One request, as a user would make it.

        Raises:
            BrokenError: the backend crashed.
        """
        try:
            self._output = self._session.run_normalised(self._image, task)
        except GearshiftError:
            raise
        # A library of other people's may raise anything.
        except Exception as error:
            raise BrokenError(f"{self} failed in {task}: {_first_line(error)}") from error
        self.last = task
        self.stats.append(self._session.stats)

    def serve_next(self) -> None:
        """The next request of the workload."""
        self.serve(next(self.requests))

    def check(self) -> None:
        """Hold the last output against the first one of its task, bit for bit.

        Raises:
            BrokenError: they differ, or there are NaN or infinities.
        """
        assert self._output is not None
        assert self.last is not None
        expected = self._expected.get(self.last)
        if expected is None:
            if not np.isfinite(self._output).all():
                raise BrokenError(f"{self} returned NaN or infinity for {self.last}")
            self._expected[self.last] = self._output
        elif self._output.tobytes() != expected.tobytes():
            raise BrokenError(
                f"{self} returned other bits for the same image of {self.last}: no figure of it "
                "is worth anything"
            )

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of one request, by task."""
        batch, _, height, width = self._image.shape
        return {
            task: self._session.program(task, batch, height, width).macs
            for task in self.workload.tasks
        }


class BrokenError(BackendError):
    """A backend that is not to be measured: it crashed, or its results are wrong or change."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
