"""The picture of where the time goes: a bar of blocks above a bar of their parts."""

from __future__ import annotations

from collections.abc import Mapping

from gearshift_bench.report.pictures.latency import WIDE
from gearshift_bench.report.svg import Picture, shorten, text_width
from gearshift_bench.report.words import Names, Run, engine, load, seconds, subject

KINDS = ("attention", "mlp", "experts", "router", "decoder", "other")
"""In the order of the colours."""
BAR = 28.0


def node_times(run: Run, names: Names) -> Picture | None:
    """Widths are shares of the sum of the nodes' medians; None when the backend tells none."""
    nodes: Mapping[str, float] = {name: one for name, one in run["nodes"].items() if one > 0}
    if not nodes:
        return None
    total = sum(nodes.values())
    number = names.number(run)
    label = f"{number}  {subject(run)}"
    note = f"{engine(run)}, {load(run)}; sum of the nodes {seconds(total)}"
    picture = Picture(f"nodes-{number}", label, WIDE, 108, note)
    _bars(picture, nodes, total)
    _key(picture, nodes, total)
    return picture


def _bars(picture: Picture, nodes: Mapping[str, float], total: float) -> None:
    scale = picture.width / total
    groups: dict[str, float] = {}
    x = 0.0
    for node, one in nodes.items():
        group, part = split(node)
        groups[group] = groups.get(group, 0.0) + one
        tip = f"{node}: {seconds(one)}, {100 * one / total:.1f} %"
        colour = f"series-{KINDS.index(kind(node))}"
        picture.box(x, 23 + BAR, one * scale, BAR, colour, edge="paper", tip=tip)
        _inside(picture, part, x, 23 + BAR, one * scale, "paper")
        x += one * scale
    x = 0.0
    for group, one in groups.items():
        tip = f"{group}: {seconds(one)}, {100 * one / total:.1f} %"
        picture.box(x, 23, one * scale, BAR, "line", edge="paper", tip=tip)
        short = group.removeprefix("blocks.").removeprefix("decoders.")
        _inside(
            picture, group if text_width(group) + 8 < one * scale else short, x, 23, one * scale
        )
        x += one * scale


def _inside(
    picture: Picture, words: str, x: float, y: float, width: float, colour: str = "ink"
) -> None:
    """Words in the middle of a box, when they fit."""
    fitting = shorten(words, width - 6, 11)
    if len(fitting) == len(words) or len(fitting) > 4:
        picture.text(x + width / 2, y + BAR / 2 + 4, fitting, colour, "middle", 11)


def _key(picture: Picture, nodes: Mapping[str, float], total: float) -> None:
    sums = {name: sum(s for node, s in nodes.items() if kind(node) == name) for name in KINDS}
    x = 0.0
    for index, (name, one) in enumerate(sums.items()):
        if not one:
            continue
        words = f"{name} {100 * one / total:.0f} %"
        picture.box(x, 92, 11, 11, f"series-{index}")
        picture.text(x + 16, 102, words)
        x += 16 + text_width(words) + 18


def split(node: str) -> tuple[str, str]:
    """`blocks.3.attention` -> `blocks.3`, `attention`; a node with no dot is its own group."""
    group, dot, part = node.rpartition(".")
    return (group, part) if dot else (node, node)


def kind(node: str) -> str:
    """One of `KINDS`."""
    group, part = split(node)
    if group.startswith("decoder"):
        return "decoder"
    return part if part in KINDS else "other"
