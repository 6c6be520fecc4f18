"""Heat maps: how many of a block's tokens went to which expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gearshift_bench.report.pictures.latency import HALF
from gearshift_bench.report.svg import Picture, shorten, text_width
from gearshift_bench.report.words import NOTHING, Names, Run, count, run_numbers, subject

Tokens = Mapping[str, Sequence[int]]
"""By block: tokens of each expert."""

CELL = 24.0
NUMBERED = 20.0
"""Pixels: cells as wide as this have their share written in them."""


def heat_maps(runs: Sequence[Run], names: Names) -> list[Picture]:
    """One picture for all the runs that routed alike; one scale of colour for all pictures."""
    alike: list[tuple[str, Tokens, list[Run]]] = []
    for run in runs:
        if not run["experts"]:
            continue
        for task, tokens, found in alike:
            if task == subject(run) and tokens == run["experts"]:
                found.append(run)
                break
        else:
            alike.append((subject(run), run["experts"], [run]))
    tables = [counts for _, tokens, _ in alike for counts in tokens.values()]
    most = max((one for counts in tables for one in _shares(counts)), default=0.0) or 1.0
    return [
        _heat_map(f"experts-{index}", task, tokens, [names.number(run) for run in found], most)
        for index, (task, tokens, found) in enumerate(alike, 1)
    ]


def _heat_map(name: str, task: str, tokens: Tokens, numbers: Sequence[int], most: float) -> Picture:
    experts = max(map(len, tokens.values()))
    left = min(max(text_width(block_name(block)) for block in tokens) + 10, 130.0)
    width = min((HALF - left) / max(experts, 1), 2 * CELL)
    height = 78 + CELL * len(tokens)
    picture = Picture(
        name, task, HALF, height, f"{run_numbers(numbers)} · share of a block's tokens"
    )
    for expert in range(experts):
        if width >= NUMBERED or expert % 8 == 0:
            picture.text(left + width * (expert + 0.5), 36, str(expert), "quiet", "middle", 11)
    for row, (block, counts) in enumerate(tokens.items()):
        y = 42 + CELL * row
        label = block_name(block)
        picture.text(left - 8, y + 16, shorten(label, left - 8), "quiet", "end", whole=label)
        for expert, one in enumerate(_shares(counts)):
            x = left + width * expert
            tip = f"{block}, expert {expert}: {count(counts[expert], 'token')}, {100 * one:.1f} %"
            picture.box(x, y, width - 1, CELL - 1, "wash")
            picture.box(x, y, width - 1, CELL - 1, "heat", one / most, tip=tip)
            if width >= NUMBERED:
                colour = "paper" if one / most > 0.55 else "ink" if one else "quiet"
                words = f"{100 * one:.0f}" if one else NOTHING
                picture.text(x + width / 2 - 0.5, y + 16, words, colour, "middle", 11)
    words = f"columns: experts · {'numbers: % · ' if width >= NUMBERED else ''}even: "
    even = f"{100 / max(experts, 1):.1f} % each, darkest: {100 * most:.0f} %"
    picture.text(left, height - 12, words + even, "quiet", size=11)
    return picture


def block_name(node: str) -> str:
    """`blocks.3.experts` -> `block 3`."""
    name = node.removesuffix(".experts")
    return f"block {name.removeprefix('blocks.')}" if name.startswith("blocks.") else name


def _shares(counts: Sequence[int]) -> list[float]:
    """An empty block has none."""
    total = sum(counts)
    return [one / total if total else 0.0 for one in counts]
