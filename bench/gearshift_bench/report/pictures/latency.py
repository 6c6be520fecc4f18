"""Pictures of latencies: all runs side by side, their distributions, each in the order it ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_bench.report.scale import Scale, span, time_unit, x_axis, y_axis
from gearshift_bench.report.svg import Picture, shorten
from gearshift_bench.report.words import Names, Run, engine, load, seconds, subject

WIDE, HALF = 1000.0, 490.0
"""Pixels of a picture over the page and of one that has a neighbour."""
ROW = 26.0
LINES = 6
"""Distributions in one picture, at most."""
STEPS = 120
"""Points of one distribution's line."""
MOST_DOTS = 600
"""Requests drawn one by one; more are drawn as a band."""
BANDS = 100
BINS = 28


def overview(runs: Sequence[Run], names: Names) -> Picture:
    """A row a run: box of the middle half, whiskers to p1 and p99, the maximum as a ring."""
    height = 78 + ROW * len(runs)
    confidence = {f"{100 * run['latency']['confidence']:g} %" for run in runs}
    dark = f"dark: {', '.join(sorted(confidence))} interval of the median"
    note = f"box: middle half · {dark} · whisker: 1st to 99th percentile"
    picture = Picture("latency", "Latency of each run", WIDE, height, f"{note} · ring: maximum")
    left, right = 360.0, WIDE - 92
    top, bottom = 30.0, height - 42
    every = [run["latency"] for run in runs]
    figures = [one[key] for one in every for key in ("min", "max")]
    scale = span(figures, left, right)
    unit = time_unit(np.median([one["median"] for one in every]).item())
    shared = names.shared()
    axis = f"latency, {unit.name}{', logarithmic' if scale.is_log else ''}"
    x_axis(picture, scale, top, bottom, unit, f"{axis} ({shared})" if shared else axis, 9)
    for index, run in enumerate(runs):
        _row(picture, run, names, scale, top + ROW * (index + 0.5))
    return picture


def _row(picture: Picture, run: Run, names: Names, scale: Scale, y: float) -> None:
    found, colour, label = run["latency"], names.colour(run), names.short(run)
    low, first, third, high = np.quantile(_series(run), (0.01, 0.25, 0.75, 0.99)).tolist()
    tip = f"{label}: median {seconds(found['median'])}, maximum {seconds(found['max'])}"
    picture.text(0, y + 4, shorten(label, scale.start - 12), whole=label)
    picture.line([(scale(low), y), (scale(high), y)], colour, 1.5, tip=tip)
    picture.box(
        scale(first), y - 7, max(scale(third) - scale(first), 1.5), 14, colour, 0.28, tip=tip
    )
    edges = scale(found["median_low"]), scale(found["median_high"])
    picture.box(edges[0], y - 7, max(edges[1] - edges[0], 2.5), 14, colour, tip=tip)
    picture.circle(scale(found["max"]), y, 3.2, colour, hollow=True, tip=tip)
    picture.text(picture.width, y + 4, seconds(found["median"]), anchor="end", weight="600")


def distributions(runs: Sequence[Run], names: Names) -> list[Picture]:
    """Latency by percentile: one picture a subject and load, a line an engine."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((subject(run), load(run)), []).append(run)
    parts = [
        (title, group[start : start + LINES])
        for title, group in groups.items()
        for start in range(0, len(group), LINES)
    ]
    return [
        _distribution(f"distribution-{index}", title, part, names)
        for index, (title, part) in enumerate(parts, 1)
    ]


def _distribution(name: str, title: tuple[str, str], runs: Sequence[Run], names: Names) -> Picture:
    key = 17.0 * len(runs)
    height = 246 + key
    picture = Picture(name, title[0], HALF, height, title[1])
    left, right, top, bottom = 46.0, HALF - 8, 56 + key, height - 40
    all_series = [_series(run) for run in runs]
    every = np.concatenate(all_series)
    scale = span([every.min().item(), every.max().item()], bottom, top, zero=False)
    unit = time_unit(np.median(every).item())
    y_axis(picture, scale, left, right, unit, unit.name)
    longest = max(map(len, all_series))
    across = Scale(0.0, max(math.log10(longest), 1.0), left, right)
    _percentiles(picture, across, top, bottom)
    for index, (run, series) in enumerate(zip(runs, all_series, strict=True)):
        label = f"{names.number(run)}  {engine(run)}"
        colour, dash, y = names.colour(run), names.dash(run), 33 + 17.0 * index
        picture.line([(0, y - 4), (20, y - 4)], colour, 2.5, dash)
        picture.text(27, y, shorten(label, HALF - 150), whole=label)
        picture.text(HALF, y, f"median {seconds(run['latency']['median'])}", "quiet", "end")
        nines = np.linspace(0.0, max(math.log10(len(series)), 0.05), STEPS)
        values = np.quantile(series, 1 - 10**-nines).tolist()
        points = [(across(x), scale(v)) for x, v in zip(nines.tolist(), values, strict=True)]
        picture.line(points, colour, 2.0, dash, tip=label)
    return picture


def _percentiles(picture: Picture, across: Scale, top: float, bottom: float) -> None:
    """Marks of an axis on which each further nine has the same room.

    That of HdrHistogram (Gil Tene): a tail is as easy to read as a median.
    """
    for share in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999):
        nines = -math.log10(1 - share)
        if nines <= across.high * 1.001:
            x = across(nines)
            picture.line([(x, top), (x, bottom)])
            words = f"{100 * share:.6g} %"
            picture.text(x, bottom + 15, words, "quiet", "middle" if share else "start")
    picture.text(across.end, bottom + 31, "share of the requests", "quiet", "end")


def history(run: Run, names: Names) -> Picture:
    """Latencies in the order of the requests, so that drift is seen, and their histogram."""
    label = f"{names.number(run)}  {subject(run)}"
    number, height = names.number(run), 206.0
    note = f"{engine(run)}, {load(run)}"
    picture = Picture(f"history-{number}", label, HALF, height, note)
    left, middle, right, top, bottom = 46.0, HALF - 112, HALF - 8, 44.0, height - 38
    series = _series(run)
    scale, above = _zoomed(series, bottom, top)
    unit = time_unit(run["latency"]["median"])
    y_axis(picture, scale, left, right, unit, unit.name)
    requests = Scale(0.0, float(max(len(series) - 1, 1)), left + 3, middle - 8)
    colour = names.colour(run)
    _trace(picture, series, requests, scale, colour)
    _histogram(picture, series, scale, middle, right, colour)
    found = run["latency"]
    low, high = scale(found["median_low"]), scale(found["median_high"])
    picture.box(left, high, right - left, low - high, "ink", 0.25)
    picture.line([(left, scale(found["median"])), (right, scale(found["median"]))], "ink", 1.0)
    picture.text(left + 3, bottom + 15, f"request 1 to {len(series):,}", "quiet")
    picture.text(right, bottom + 15, "how many", "quiet", "end")
    if above:
        words = f"▲ {above:,} slower, up to {seconds(found['max'])}"
        picture.text(middle - 8, top - 8, words, "quiet", "end")
    picture.text(left + 3, bottom + 31, interval(found))
    return picture


def interval(found: Mapping[str, Any]) -> str:
    """The median and its interval: `7.99 ms, 95 % within -0.2 % and +0.3 %`."""
    median = found["median"]
    ends = [found[key] / median - 1 if median else 0.0 for key in ("median_low", "median_high")]
    low, high = (f"{100 * end:+.1f} %" for end in ends)
    return f"median {seconds(median)}, {100 * found['confidence']:g} % within {low} and {high}"


def _zoomed(series: NDArray[np.float64], start: float, end: float) -> tuple[Scale, int]:
    """A linear scale around nearly all of the series, and how many lie above it.

    One stall would otherwise press a drift of some percent into a line.
    """
    low, high = series.min().item(), series.max().item()
    usual = np.quantile(series, 0.95).item()
    if high - low > 2.5 * (usual - low) and usual > low:
        high = usual + 0.5 * (usual - low)
    scale = span([low, high], start, end, zero=False)
    if scale.is_log:
        scale = Scale(0.0, high * 1.05, start, end)
    return scale, int((series > scale.high).sum())


def _trace(picture: Picture, series: NDArray[np.float64], x: Scale, y: Scale, colour: str) -> None:
    if len(series) <= MOST_DOTS:
        places = [(x(index), y(value)) for index, value in enumerate(series.tolist())]
        picture.dots(places, colour)
        return
    parts = np.array_split(series, BANDS)
    starts = np.cumsum([0, *(len(part) for part in parts)])
    centres = [(start + len(part) / 2) for start, part in zip(starts[:-1], parts, strict=True)]
    low, half, high = (
        [(x(at), y(one)) for at, one in zip(centres, values.tolist(), strict=True)]
        for values in np.transpose([np.quantile(part, (0.1, 0.5, 0.9)) for part in parts])
    )
    picture.area([*low, *reversed(high)], colour, 0.25)
    picture.line(half, colour, 1.5)
    tops = [(at, part.max().item()) for at, part in zip(centres, parts, strict=True)]
    picture.dots([(x(at), y(top)) for at, top in tops], colour)


def _histogram(
    picture: Picture, series: NDArray[np.float64], y: Scale, left: float, right: float, colour: str
) -> None:
    counts, edges = np.histogram(series[series <= y.high], BINS, (y.low, y.high))
    most = max(int(counts.max()), 1)
    for number, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if number:
            top, bottom = y(high.item()), y(low.item())
            tip = f"{number} of {len(series)}: {seconds(low.item())} to {seconds(high.item())}"
            size = (right - left) * number / most
            picture.box(left, top + 0.5, size, bottom - top - 1, colour, 0.75, tip=tip)


def _series(run: Run) -> NDArray[np.float64]:
    return np.asarray(run["seconds"], np.float64)
