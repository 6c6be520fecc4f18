"""How much of something comes each second, lately."""

from __future__ import annotations

from math import exp


class Rate:
    """A sum in which everything fades, to 1/e in `memory` seconds, which may change slowly."""

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self._sum = 0.0
        self._updated = 0.0

    def add(self, amount: float, now: float) -> None:
        self._sum = self._faded(now) + amount
        self._updated = now

    def set_per_second(self, rate: float, now: float) -> None:
        """Go on as if it had always been so."""
        self._sum = rate * self.memory
        self._updated = now

    def per_second(self, now: float) -> float:
        """The average of the last `memory` seconds or so; low at first, when little is known."""
        return self._faded(now) / self.memory

    def _faded(self, now: float) -> float:
        passed = now - self._updated
        return self._sum * exp(-passed / self.memory) if passed > 0 else self._sum
