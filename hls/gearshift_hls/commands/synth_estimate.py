"""`gearshift synth estimate`: what the RTL takes of a board, module by module, by Yosys."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearshift_hls.board import Board
    from gearshift_hls.synthesis.estimate import Module, Synthesis

TARGET = 0.7
"""Share of each kind that the design should take at most, so that it can be routed."""
SHOWN_DEPTH = 2

HELP = "estimate the resources of the RTL with Yosys, module by module (takes minutes)"
EXAMPLE = """\
gearshift synth estimate
gearshift synth estimate --board zcu104 --all --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--board", default="zcu104", help="default: %(default)s")
    parser.add_argument("--all", action="store_true", help="every module, not only the upper ones")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift_hls.board import find_board
    from gearshift_hls.synthesis.estimate import synthesise

    board = find_board(arguments.board)
    found = synthesise(board.build)
    depth = len(found.modules) if arguments.all else SHOWN_DEPTH
    shown = [module for module in found.modules if module.depth <= depth]
    if arguments.json:
        print(json.dumps(document(found, shown, board), indent=2))
    else:
        print(_text(found, shown, board))
    return 0


def document(found: Synthesis, shown: list[Module], board: Board) -> dict[str, Any]:
    """Totals, budget, shares and modules."""
    from gearshift_hls.project.usage import KINDS
    from gearshift_hls.synthesis.estimate import ESTIMATED

    return {
        "board": board.name,
        "kind": ESTIMATED,
        "target_share": TARGET,
        "total": {kind: getattr(found.total, kind) for kind in KINDS},
        "budget": vars(board.resources),
        "shares": shares(found, board),
        "longest_path_cells": found.modules[0].levels,
        "modules": [
            {
                "depth": module.depth,
                "path": module.path,
                "instances": module.instances,
                "longest_path_cells": module.levels,
                **vars(module.usage),
            }
            for module in shown
        ],
    }


def shares(found: Synthesis, board: Board) -> dict[str, float]:
    """Of the board's budget, by kind."""
    from gearshift_hls.project.usage import KINDS

    return {kind: getattr(found.total, kind) / getattr(board.resources, kind) for kind in KINDS}


def _text(found: Synthesis, shown: list[Module], board: Board) -> str:
    from gearshift.text import columns
    from gearshift_hls.project.usage import KINDS
    from gearshift_hls.synthesis.estimate import ESTIMATED

    head = ("module", "instances", *(kind.upper() for kind in KINDS), "path")
    rows = [
        (
            "  " * module.depth + module.usage.name,
            str(module.instances),
            *(f"{getattr(module.usage, kind):g}" for kind in KINDS),
            str(module.levels),
        )
        for module in shown
    ]
    budget = ("budget", "", *(f"{getattr(board.resources, kind):g}" for kind in KINDS), "")
    taken = shares(found, board)
    over = [kind.upper() for kind, share in taken.items() if share > TARGET]
    lines = [
        f"{board.name}, {board.part}: {ESTIMATED}; a line is for one instance",
        "",
        columns(
            [head, *rows, budget, ("taken", "", *(f"{taken[kind]:.0%}" for kind in KINDS), "")],
            right=range(1, len(head)),
        ),
        "",
        f"target: at most {TARGET:.0%} of each: " + (f"over: {', '.join(over)}" if over else "met"),
        "path: LUTs, multiplexers and steps of carry chains between registers, inside one module; "
        "it tells versions of the RTL apart and is no clock rate",
    ]
    return "\n".join(lines)
