"""Designs as a picture: cycles to the right, the tightest resource's share upwards."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from xml.sax.saxutils import escape

from gearshift.errors import BackendError
from gearshift_hls.board import Board
from gearshift_hls.compile.estimate import ESTIMATE
from gearshift_hls.synthesis.estimate import ESTIMATED
from gearshift_hls.synthesis.explore import Design
from gearshift_hls.synthesis.resources import tightest

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 64, 56
"""Pixels around the area of the points."""
COLOURS = {16: "#0072b2", 32: "#c94f00", 64: "#00805d"}
"""By the array's side: blue, vermilion, green (after Okabe and Ito, Color Universal Design)."""
STYLE = "font-family='system-ui, Liberation Sans, DejaVu Sans, sans-serif' font-size='12'"
ZOOM = 2.0
"""PNG pixels for one of SVG."""


class Axes:
    """Values to pixels: cycles on a logarithmic scale, shares on a linear one."""

    def __init__(self, cycles: Sequence[float], shares: Sequence[float]) -> None:
        self.first = floor(10 * log10(min(cycles))) / 10
        self.last = max(ceil(10 * log10(max(cycles))) / 10, self.first + 0.1)
        self.most = ceil(10 * max(*shares, 1.0)) / 10

    def x(self, cycles: float) -> float:
        part = (log10(cycles) - self.first) / (self.last - self.first)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def y(self, share: float) -> float:
        return HEIGHT - BOTTOM - share / self.most * (HEIGHT - TOP - BOTTOM)

    def cycle_marks(self) -> list[float]:
        """1, 2 and 5 times a power of ten."""
        powers = range(floor(self.first), ceil(self.last) + 1)
        marks = (part * 10.0**power for power in powers for part in (1, 2, 5))
        return [mark for mark in marks if self.first <= log10(mark) <= self.last]


def draw(model: str, designs: Sequence[Design], front: Sequence[Design], board: Board) -> str:
    """SVG of all designs that hold the model; those of the front are joined by a line."""
    shown = [design for design in designs if design.cycles]
    if not shown:
        raise BackendError(f"no design of the space holds {model}: there is nothing to plot")
    shares = [tightest(design.usage, board.resources)[1] for design in shown]
    axes = Axes([design.cycles for design in shown], shares)
    return "\n".join(
        (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {STYLE}>",
            f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
            _text(LEFT, 22, f"{model} on the {board.name}: cycles and resources of a design"),
            _text(LEFT, 42, f"cycles: {ESTIMATE}; resources: {ESTIMATED}", "#59626b"),
            *_grid(axes),
            *(_point(axes, *each) for each in zip(shown, shares, strict=True)),
            _line(axes, front, board),
            *_legend(shown),
            "</svg>\n",
        )
    )


def png(svg: str) -> bytes:
    """The picture in pixels. Raises BackendError where resvg-py is not installed."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise BackendError(
            "a PNG needs resvg-py, which is not installed: pip install 'gearshift[report]', or "
            "choose a name that ends with .svg"
        ) from None
    return bytes(svg_to_bytes(svg_string=svg, zoom=ZOOM))


def _text(x: float, y: float, text: str, colour: str = "#1c2024", anchor: str = "start") -> str:
    where = f"x='{x:.1f}' y='{y:.1f}' fill='{colour}' text-anchor='{anchor}'"
    return f"<text {where}>{escape(text)}</text>"


def _grid(axes: Axes) -> list[str]:
    low, high = HEIGHT - BOTTOM, TOP
    lines = []
    for mark in axes.cycle_marks():
        x = axes.x(mark)
        lines.append(f"<path d='M{x:.1f} {low}V{high}' stroke='#e1e5e9'/>")
        lines.append(_text(x, low + 18, f"{mark:,.0f}", "#59626b", "middle"))
    for tenth in range(0, round(10 * axes.most) + 1, 2):
        y = axes.y(tenth / 10)
        lines.append(f"<path d='M{LEFT} {y:.1f}H{WIDTH - RIGHT}' stroke='#e1e5e9'/>")
        lines.append(_text(LEFT - 8, y + 4, f"{10 * tenth}%", "#59626b", "end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*lines, _text(middle, HEIGHT - 14, "cycles of the slowest task", anchor="middle")]


def _point(axes: Axes, design: Design, share: float) -> str:
    fill = COLOURS[design.build.input_lanes] if design.is_feasible else "none"
    return (
        f"<circle cx='{axes.x(design.cycles):.1f}' cy='{axes.y(share):.1f}' r='4' fill='{fill}' "
        f"stroke='{COLOURS[design.build.input_lanes]}' fill-opacity='0.6'>"
        f"<title>{escape(design.name)}</title></circle>"
    )


def _line(axes: Axes, front: Sequence[Design], board: Board) -> str:
    places = [
        f"{axes.x(one.cycles):.1f},{axes.y(tightest(one.usage, board.resources)[1]):.1f}"
        for one in front
    ]
    return (
        f"<polyline points='{' '.join(places)}' fill='none' stroke='#1c2024' stroke-width='1.5'/>"
    )


def _legend(shown: Sequence[Design]) -> list[str]:
    x = WIDTH - RIGHT - 150
    lines = []
    sides = sorted({design.build.input_lanes for design in shown})
    for place, side in enumerate(sides):
        y = TOP + 16 + 18 * place
        lines.append(f"<circle cx='{x}' cy='{y - 4}' r='4' fill='{COLOURS[side]}'/>")
        lines.append(_text(x + 10, y, f"array {side}x{side}"))
    last = TOP + 16 + 18 * len(sides)
    return [
        *lines,
        _text(x - 4, last, "hollow: takes too much", "#59626b"),
        _text(x - 4, last + 18, "line: Pareto front", "#59626b"),
    ]
