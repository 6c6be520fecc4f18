"""Axes: from figures to pixels, and which figures to write along them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gearshift_bench.report.svg import Picture

LOGARITHMIC_FROM = 20.0
"""Largest figure over the smallest: from here on a linear axis would hide the small ones."""


@dataclass(frozen=True)
class Scale:
    """Figures from `low` to `high` on pixels from `start` to `end` (either way round)."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a figure; one outside is drawn on the edge."""
        value, low, high = min(max(value, self.low), self.high), self.low, self.high
        if self.is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round figures inside, at most about `most`."""
        return log_ticks(self.low, self.high, most) if self.is_log else self._linear(most)

    def _linear(self, most: int) -> list[float]:
        step = _round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def span(values: Sequence[float], start: float, end: float, zero: bool = True) -> Scale:
    """A scale that holds all `values`: logarithmic when they are far apart, else from zero.

    Args:
        values: at least one, none negative.
        zero: a linear scale begins at zero, not at the smallest.
    """
    positive = [value for value in values if value > 0]
    low, high = (min(positive), max(positive)) if positive else (0.0, 1.0)
    if positive and high / low > LOGARITHMIC_FROM:
        return Scale(low / 1.15, high * 1.15, start, end, True)
    if zero:
        return Scale(0.0, 1.05 * high, start, end)
    room = 0.06 * (high - low) or 0.05 * high
    return Scale(low - room, high + room, start, end)


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten, with their twofold and fivefold where there is room."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [
            step * 10.0**power
            for power in range(first, last + 1)
            for step in steps
            if low <= step * 10.0**power <= high
        ]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


@dataclass(frozen=True)
class Unit:
    """What one mark on an axis is written in."""

    name: str
    size: float

    def write(self, value: float) -> str:
        return f"{value / self.size:.6g}"


def time_unit(seconds: float) -> Unit:
    """The one in which this reads well."""
    if seconds < 1e-3:
        return Unit("µs", 1e-6)
    return Unit("ms", 1e-3) if seconds < 1.0 else Unit("s", 1.0)


def rate_unit(value: float, name: str) -> Unit:
    """With a decimal prefix."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return Unit(prefix + name, size)
    return Unit("m" + name, 1e-3) if 0 < value < 1 else Unit(name, 1.0)


def x_axis(
    picture: Picture, scale: Scale, top: float, bottom: float, unit: Unit, name: str, most: int = 6
) -> None:
    """Grid lines, their figures below and the axis's name in the corner."""
    for value in scale.ticks(most):
        x = scale(value)
        picture.line([(x, top), (x, bottom)])
        picture.text(x, bottom + 15, unit.write(value), "quiet", "middle")
    picture.text(max(scale.start, scale.end), bottom + 31, name, "quiet", "end")


def y_axis(
    picture: Picture, scale: Scale, left: float, right: float, unit: Unit, name: str, most: int = 5
) -> None:
    """Grid lines, their figures to the left and the axis's name above."""
    for value in scale.ticks(most):
        y = scale(value)
        picture.line([(left, y), (right, y)])
        picture.text(left - 7, y + 4, unit.write(value), "quiet", "end")
    picture.text(left - 7, min(scale.start, scale.end) - 9, name, "quiet", "end")
