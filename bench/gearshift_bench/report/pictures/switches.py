"""The picture of what a switch costs: requests of the same task as the one before, and others."""

from __future__ import annotations

from collections.abc import Sequence

from gearshift_bench.report.pictures.latency import ROW, WIDE
from gearshift_bench.report.scale import span, time_unit, x_axis
from gearshift_bench.report.svg import Picture, shorten
from gearshift_bench.report.words import Names, Run, seconds


def switch_costs(runs: Sequence[Run], names: Names) -> Picture | None:
    """A row a mix: ring for the same task again, dot right after a switch; None without mixes."""
    mixes = [run for run in runs if _medians(run)]
    if not mixes:
        return None
    height = 78 + ROW * len(mixes)
    note = "median latency · ring: same task as before · dot: right after a switch (95 % interval)"
    picture = Picture("switches", "Cost of a switch", WIDE, height, note)
    left, right, top, bottom = 360.0, WIDE - 170, 30.0, height - 42
    figures = [one for run in mixes for one in _medians(run) or ()]
    scale, unit = span(figures, left, right), time_unit(max(figures))
    kind = ", logarithmic" if scale.is_log else ""
    x_axis(picture, scale, top, bottom, unit, f"median latency, {unit.name}{kind}", 9)
    for index, run in enumerate(mixes):
        y = top + ROW * (index + 0.5)
        same, after = _medians(run) or (0.0, 0.0)
        label, colour = names.short(run), names.colour(run)
        tip = f"{label}: {seconds(same)} again, {seconds(after)} after a switch"
        picture.text(0, y + 4, shorten(label, left - 12), whole=label)
        picture.line([(scale(same), y), (scale(after), y)], colour, 2.0)
        picture.circle(scale(same), y, 5, colour, hollow=True, tip=tip)
        picture.circle(scale(after), y, 4.5, colour, tip=tip)
        change = f"{100 * (after / same - 1):+.1f} %{_interval(run)}" if same else ""
        picture.text(WIDE, y + 4, change, anchor="end", weight="600")
    return picture


def _interval(run: Run) -> str:
    """` (-2 to +5)`, in percent; nothing where it was not kept."""
    ends = [run["switches"].get(f"ratio_{end}") for end in ("low", "high")]
    known = [f"{100 * (one - 1):+.0f}" for one in ends if one is not None]
    return f" ({' to '.join(known)})" if len(known) == len(ends) else ""


def _medians(run: Run) -> tuple[float, float] | None:
    """Of the same task again and of switches, when both happened."""
    switches = run["switches"] or {}
    same, after = switches.get("median_same"), switches.get("median_after_switch")
    return None if same is None or after is None else (same, after)
