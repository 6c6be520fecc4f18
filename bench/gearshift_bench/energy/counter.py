"""Meters that count energy: what they count is a difference, and no power is sampled."""

from __future__ import annotations

from collections.abc import Callable

from gearshift_bench.energy.meter import Clock, MeterError, Reading, Sleep

CHANGES = 8
"""Steps of a counter that are watched to learn how long it stands still."""
PATIENCE = 3.0
"""Seconds without a step after which a counter is taken to be dead."""
POLL = 1e-4
STEPS = 20
"""A window of so many steps is off by at most one of them: 5 %."""


class Counter:
    """A counter of energy that is read now and then.

    A reading is up to one step old. At both ends of a window the same holds, with opposite sign:
    the energy of a window is off by at most what one step's time takes, and one unit.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        count: Callable[[], int],
        unit: float,
        wraps_after: int | None,
        clock: Clock,
    ) -> None:
        """`count` reads the counter, `unit` is in joules; after `wraps_after` comes 0."""
        self.name = name
        self.kind = kind
        self.least_seconds = 0.0
        self._count = count
        self._unit = unit
        self._wraps_after = wraps_after
        self._clock = clock
        self._step = 0.0
        self._last = self._counted = 0
        self._began = 0.0
        self._error: Exception | None = None

    def learn_step(self, sleep: Sleep, least_seconds: float = 0.0) -> None:
        """Find out how long the counter stands still between two steps.

        Raises:
            MeterError: it does not move.
        """
        self._step = _longest_step(self._count, self._clock, sleep, self.name)
        self.kind = f"{self.kind}, a step each {1e3 * self._step:.3g} ms"
        self.least_seconds = max(least_seconds, STEPS * self._step)

    def start(self) -> None:
        self._counted, self._error = 0, None
        try:
            self._last = self._count()
        except (MeterError, OSError, ValueError) as error:
            self._error = error
        self._began = self._clock()

    def tick(self) -> None:
        if self._error is not None:
            return
        try:
            now = self._count()
            self._counted += passed(self._last, now, self._wraps_after, self.name)
            self._last = now
        except (MeterError, OSError, ValueError) as error:
            self._error = error

    def read(self) -> Reading:
        self.tick()
        if self._error is not None:
            raise MeterError(f"{self.name} cannot be read any more: {self._error}")
        seconds, joules = self._clock() - self._began, self._unit * self._counted
        if joules <= 0:
            raise MeterError(f"{self.name} did not move in {seconds:.3g} s")
        return Reading(seconds, joules, self._step * joules / seconds + self._unit)

    def close(self) -> None:
        """Nothing samples."""


def passed(before: int, now: int, wraps_after: int | None, name: str = "the counter") -> int:
    """What a counter counted from one reading to the next, with at most one wrap between.

    Raises:
        MeterError: it went back and does not wrap.
    """
    if now >= before:
        return now - before
    if wraps_after is None or before > wraps_after:
        raise MeterError(f"{name} went back from {before} to {now}: it was set anew meanwhile")
    return now - before + wraps_after + 1


def _longest_step(count: Callable[[], int], clock: Clock, sleep: Sleep, name: str) -> float:
    """Seconds: the longest time between two changes, of `CHANGES` after the first."""
    last, since = count(), clock()
    gaps: list[float] = []
    while len(gaps) <= CHANGES:
        sleep(POLL)
        value, now = count(), clock()
        if value != last:
            gaps.append(now - since)
            last, since = value, now
        elif now - since > PATIENCE:
            raise MeterError(f"{name} did not move in {PATIENCE:g} s: this machine only pretends")
    # The first gap began before anybody looked.
    return max(gaps[1:])
