"""What every meter of energy does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Clock = Callable[[], float]
"""Seconds from some moment on."""
Sleep = Callable[[float], None]


class MeterError(Exception):
    """A meter that is there and tells nothing: says why."""


@dataclass(frozen=True)
class Reading:
    """Of one meter since it was started."""

    seconds: float
    joules: float
    error: float
    """Joules by which the meter may be off: what its steps and samples cannot tell."""

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


class Meter(Protocol):
    """Started, then read as often as one likes, then closed; may be started again."""

    name: str
    """What it measures, such as `package-0`."""
    kind: str
    """How, for a person."""
    least_seconds: float
    """A window shorter than that tells too little."""

    def start(self) -> None:
        """From now on."""
        ...

    def tick(self) -> None:
        """To be called at least once in the time in which a counter wraps around."""
        ...

    def read(self) -> Reading:
        """Since the start. Raises MeterError when there is nothing to say."""
        ...

    def close(self) -> None:
        """Sample no longer."""
        ...
