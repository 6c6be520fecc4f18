"""`gearshift bench fpga`: cycles of the accelerator, layer by layer, beside published figures."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gearshift_bench.fpga import Figures

MODELS = ("demo", "tiny", "small")
LONG = ("small",)
"""Models whose simulation takes many minutes: estimated unless asked for."""

HELP = "count the accelerator's cycles in RTL simulation, and estimate what takes too long"
EXAMPLE = """\
gearshift bench fpga
gearshift bench fpga --model tiny --json
gearshift bench fpga --model demo --estimate"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help=f"artifact or name, several times if need be (default: {' '.join(MODELS)})",
    )
    parser.add_argument("--board", default="zcu104", help="default: %(default)s")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--estimate", action="store_true", help="simulate nothing")
    how.add_argument(
        "--simulate",
        action="store_true",
        help=f"simulate all tasks, also of {', '.join(LONG)} (default: their encoder is estimated)",
    )
    parser.add_argument("--layers", action="store_true", help="a line for every descriptor")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    figures: list[Figures] = []
    for model in arguments.model or MODELS:
        for one in measure(model, arguments.board, arguments.estimate, arguments.simulate):
            figures.append(one)
            if not arguments.json:
                print("\n".join(_report(one, arguments.layers)), flush=True)
    if arguments.json:
        print(json.dumps(document(figures), indent=2))
    else:
        print("\n" + _published())
    return 0


def measure(
    model: str, board_name: str, only_estimate: bool, simulate_all: bool
) -> Iterator[Figures]:
    """The encoder of a model, then its tasks.

    The decoders of the published sizes take most of the work: their tasks are estimated unless
    `simulate_all`.
    """
    from gearshift.expert_profile import card_shares
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift_bench.fpga import estimated, simulated
    from gearshift_hls.board import find_board
    from gearshift_hls.compile.cache import open_bundle
    from gearshift_hls.compile.listing import list_tasks
    from gearshift_hls.rtl_simulation import RtlSimulation, assumed_memory

    board = find_board(board_name)
    artifact = find_model(model)
    bundle, graph = open_bundle(artifact, board), read_artifact(artifact)
    listings = list_tasks(bundle, board, card_shares(graph))
    parts = [(listings[0], "encoder"), *((listed, "task") for listed in listings)]
    simulation: RtlSimulation | None = None
    for listed, part in parts:
        is_short = model not in LONG and (part == "encoder" or model == "demo")
        if only_estimate or not (simulate_all or is_short):
            yield estimated(bundle, listed, part)
            continue
        if simulation is None:
            simulation = RtlSimulation(board.build, assumed_memory(board))
        yield simulated(simulation, bundle, graph.card, board, listed.task.name, part)


def document(figures: list[Figures]) -> dict[str, Any]:
    """By model: its encoder's and its tasks' figures."""
    from gearshift_bench.published import published

    found: dict[str, Any] = {}
    for one in figures:
        model = found.setdefault(one.model, {"tokens": one.tokens, "tasks": {}})
        if one.part == "encoder":
            model |= {"encoder_cycles": round(one.cycles), "encoder": _numbers(one)}
        else:
            model["tasks"][one.task] = _numbers(one)
    found["published"] = [vars(one) for one in published() if one.is_fpga]
    return found


def _numbers(one: Figures) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "cycles": round(one.cycles),
        "clock_mhz": one.clock_mhz,
        "milliseconds": one.milliseconds,
        "array_busy": one.utilisation,
        "weight_bytes": one.weight_bytes,
        "external_bytes": one.external_bytes,
        "stalls": dict(one.stalls),
        "layers": [
            {
                "node": layer.node,
                "command": layer.command,
                "cycles": round(layer.cycles),
                "array_cycles": round(layer.array_cycles),
            }
            for layer in one.layers
        ],
    }


def _report(one: Figures, layers: bool) -> list[str]:
    """A line, what the cycles go to, and the layers if asked for."""
    from gearshift.text import columns, with_unit

    title = "encoder" if one.part == "encoder" else f"task {one.task}"
    moved = f"{with_unit(one.weight_bytes, 'B')} of weights"
    lines = [
        f"{one.model}, {one.tokens} tokens, {title}: {one.cycles:,.0f} cycles, "
        f"{one.milliseconds:.2f} ms at {one.clock_mhz:g} MHz ({one.kind})",
        f"  array busy {one.utilisation:.0%}; {moved}, {with_unit(one.external_bytes, 'B')} of "
        "external memory moved",
        f"  {_shares(one)}",
    ]
    if one.stalls:
        stalls = (f"{name.replace('_', ' ')} {cycles:,}" for name, cycles in one.stalls.items())
        lines.append(f"  cycles: {', '.join(stalls)}")
    if layers:
        head = ("", "node", "command", "cycles", "array busy")
        rows = [
            (
                str(number),
                layer.node,
                layer.command,
                f"{layer.cycles:,.0f}",
                f"{layer.array_cycles / layer.cycles:.0%}",
            )
            for number, layer in enumerate(one.layers)
        ]
        lines.append(columns([head, *rows], right=(0, 3, 4)))
    return lines


def _shares(one: Figures) -> str:
    """Cycles by command, most first."""
    sums: dict[str, float] = {}
    for layer in one.layers:
        sums[layer.command] = sums.get(layer.command, 0.0) + layer.cycles
    order = sorted(sums.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {cycles / one.cycles:.0%}" for name, cycles in order)


def _published() -> str:
    """The table of others; an empty cell: not found in the source."""
    from gearshift.text import columns
    from gearshift_bench.published import published

    head = ("published by others", "board", "MHz", "tokens", "ms", "J a frame", "of", "source")
    rows = [
        (
            one.design,
            one.platform,
            _cell(one.clock_mhz, "g"),
            _cell(one.tokens, "d"),
            _cell(one.milliseconds, ".2f"),
            _cell(one.joules, ".3f"),
            one.model,
            one.source,
        )
        for one in published()
        if one.is_fpga
    ]
    return columns([head, *rows], right=(2, 3, 4, 5))


def _cell(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)
