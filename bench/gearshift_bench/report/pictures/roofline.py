"""The roofline picture: what the runs achieved under what this machine was measured to do.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures", Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gearshift_bench.report.pictures.latency import WIDE
from gearshift_bench.report.scale import Scale, Unit, rate_unit, x_axis, y_axis
from gearshift_bench.report.svg import Picture
from gearshift_bench.report.words import Names, Run, amount, count, share

HEIGHT = 390.0
LABEL, WIDTH = 13.0, 21.0
"""Pixels that the number beside a point takes, down and across."""


def roofline(roofs: Mapping[str, Any], runs: Sequence[Run], names: Names) -> Picture | None:
    """One point a run, by operations a byte and operations a second; None without points."""
    placed = [run for run in runs if _point(run)]
    flops = {name: rate for name, rate in (roofs.get("flops") or {}).items() if rate}
    rate = roofs.get("bytes")
    if not placed or not flops or not rate:
        return None
    picture = Picture(
        "roofline",
        "Roofline",
        WIDE,
        HEIGHT,
        f"roofs: measured on this machine, {count(roofs['threads'], 'thread')} · points: runs",
    )
    points = [_point(run) or (1.0, 1.0) for run in placed]
    ridges = [roof / rate for roof in flops.values()]
    across = [x for x, _ in points] + ridges
    up = [y for _, y in points] + list(flops.values())
    left, right, top, bottom = 60.0, WIDE - 150, 44.0, HEIGHT - 44
    x = Scale(min(across) / 3, max(across) * 3, left, right, True)
    y = Scale(min(up) / 3, max(up) * 1.6, bottom, top, True)
    unit = rate_unit(max(flops.values()), "FLOP/s")
    x_axis(picture, x, top, bottom, Unit("", 1.0), "operations a byte, logarithmic", 9)
    y_axis(picture, y, left, right, unit, unit.name, 7)
    _roofs(picture, flops, rate, x, y)
    _points(picture, placed, names, x, y)
    return picture


def _point(run: Run) -> tuple[float, float] | None:
    """Operations a byte and a second, or None where one was not measured."""
    work = run["work"] or {}
    flops, moved, achieved = (work.get(name) for name in ("flops", "bytes", "flops_per_second"))
    return (flops / moved, achieved) if flops and moved and achieved else None


def _roofs(picture: Picture, flops: Mapping[str, float], rate: float, x: Scale, y: Scale) -> None:
    highest = max(flops.values())
    start = max(x.low, y.low / rate)
    picture.line([(x(start), y(start * rate)), (x(highest / rate), y(highest))], "quiet", 1.5)
    low, high = math.log(start), math.log(min(flops.values()) / rate)
    middle = math.exp(low + 0.5 * (high - low))
    words = f"memory {amount(rate, 'B/s')}"
    picture.text(x(middle) + 8, y(middle * rate) + 14, words, "quiet", size=11)
    taken: list[float] = []
    for name, roof in sorted(flops.items(), key=lambda item: -item[1]):
        picture.line([(x(roof / rate), y(roof)), (x.end, y(roof))], "quiet", 1.5)
        taken.append(max(y(roof) + 4, taken[-1] + LABEL if taken else 0.0))
        picture.text(x.end + 6, taken[-1], f"{name} {amount(roof, 'FLOP/s')}", "quiet", size=11)


def _points(picture: Picture, runs: Sequence[Run], names: Names, x: Scale, y: Scale) -> None:
    """Numbers that would cover each other stand in a row behind their points."""
    labels: list[tuple[float, float]] = []
    for run in sorted(runs, key=lambda run: -(_point(run) or (0, 0))[1]):
        intensity, achieved = _point(run) or (1.0, 1.0)
        across, down = x(intensity), y(achieved)
        work, colour = run["work"], names.colour(run)
        tip = (
            f"{names.short(run)}: {amount(achieved, 'FLOP/s')}, "
            f"{share(work.get('share_of_flops'))} of the roof"
        )
        place = across + 10
        while any(abs(place - a) < WIDTH and abs(down - b) < LABEL for a, b in labels):
            place += 1
        labels.append((place, down))
        picture.circle(across, down, 5, colour, tip=tip)
        picture.text(place, down + 4, str(names.number(run)), colour, weight="600")
