"""`gearshift synth explore`: array shape and buffer sizes against cycles and resources."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gearshift_hls.board import Board
    from gearshift_hls.synthesis.explore import Check, Design, Tasks

DEFAULT_SHARE = 0.7
SUFFIXES = (".svg", ".png")
ASSUMED = "clock and external memory are assumed the same for all"

HELP = "array shapes and buffer sizes for a model: cycles against resources, estimated"
EXAMPLE = """\
gearshift synth explore demo -o pareto.svg
gearshift synth explore tiny --share 0.9 --check 2 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="an artifact's folder, or a built-in name such as demo")
    parser.add_argument("--board", default="zcu104", help="default: %(default)s")
    parser.add_argument(
        "--share",
        type=_share,
        default=DEFAULT_SHARE,
        help="of each resource that a design may take at most (default: %(default)s)",
    )
    parser.add_argument(
        "--check",
        type=int,
        default=0,
        metavar="N",
        help="hold N designs of the front against RTL simulation (compiles the RTL: minutes each)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="plot to write: .svg or .png"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every design")


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: give a number up to 1")
    return share


def run(arguments: argparse.Namespace) -> int:
    from gearshift.errors import InputError
    from gearshift.expert_profile import card_shares
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift.output import check_file
    from gearshift_hls.board import find_board
    from gearshift_hls.quantise.pictures import calibration_pictures
    from gearshift_hls.synthesis.explore import explore, pareto, quantised_tasks
    from gearshift_hls.synthesis.resources import fit_resources

    board, output = find_board(arguments.board), arguments.output
    if arguments.check < 0:
        raise InputError(f"--check {arguments.check}: give a number of designs, 0 or more")
    if output:
        if output.suffix not in SUFFIXES:
            raise InputError(f"output {output}: choose a name that ends with .svg or .png")
        check_file(output)
    graph = read_artifact(find_model(arguments.model))
    size = graph.card.image_height, graph.card.image_width
    pictures = calibration_pictures(graph.card, *size, None)
    tasks = quantised_tasks(graph, board.build, pictures[:1])
    model = fit_resources(board.build)
    designs = explore(board, tasks, card_shares(graph), model, arguments.share)
    front = pareto(designs, board)
    checks = _check(front[: arguments.check], board, tasks, pictures[0])
    if output:
        _plot(output, graph.card.name, designs, front, board)
    if arguments.json:
        found = document(graph.card.name, designs, front, checks, board, arguments.share)
        print(json.dumps(found, indent=2))
    else:
        print(_text(graph.card.name, designs, front, checks, board, arguments.share))
        if output:
            print(f"\n{output} shows the designs")
    return 0


def _check(
    front: Sequence[Design], board: Board, tasks: Tasks, picture: NDArray[np.float32]
) -> list[Check]:
    """These designs in RTL simulation."""
    from tqdm import tqdm

    from gearshift_hls.synthesis.explore import check_design

    return [
        check_design(one, board, tasks[one.build.input_lanes], picture)
        for one in tqdm(front, desc="RTL simulation", delay=2, leave=False)
    ]


def _plot(
    output: Path, model: str, designs: Sequence[Design], front: Sequence[Design], board: Board
) -> None:
    from gearshift.output import whole_file
    from gearshift_hls.synthesis.pareto_plot import draw, png

    drawn = draw(model, designs, front, board)
    with whole_file(output) as partial:
        if output.suffix == ".png":
            partial.write_bytes(png(drawn))
        else:
            partial.write_text(drawn, encoding="utf-8")


def document(
    model: str,
    designs: Sequence[Design],
    front: Sequence[Design],
    checks: Sequence[Check],
    board: Board,
    share: float,
) -> dict[str, Any]:
    """Every design, the front by their numbers, and the checks."""
    from gearshift_hls.compile.estimate import ESTIMATE
    from gearshift_hls.rtl_simulation import SIMULATED
    from gearshift_hls.synthesis.estimate import ESTIMATED

    return {
        "model": model,
        "board": board.name,
        "cycles": ESTIMATE,
        "resources": f"fitted to what is {ESTIMATED}",
        "simulated": SIMULATED,
        "assumed": ASSUMED,
        "clock_mhz": board.clock_mhz,
        "share": share,
        "designs": [_entry(design, board) for design in designs],
        "front": [designs.index(design) for design in front],
        "checks": [
            {
                "design": designs.index(one.design),
                "simulated_cycles": one.simulated,
                "difference": one.difference,
            }
            for one in checks
        ],
    }


def _entry(design: Design, board: Board) -> dict[str, Any]:
    from gearshift_hls.project.usage import KINDS
    from gearshift_hls.synthesis.explore import CHOICES

    return {
        "side": design.build.input_lanes,
        **{name: getattr(design.build, name) for name in CHOICES},
        "cycles": round(design.cycles) or None,
        "slowest_task": design.task or None,
        "usage": {kind: getattr(design.usage, kind) for kind in KINDS},
        "reasons": list(design.reasons),
    }


def _text(
    model: str,
    designs: Sequence[Design],
    front: Sequence[Design],
    checks: Sequence[Check],
    board: Board,
    share: float,
) -> str:
    from gearshift_hls.compile.estimate import ESTIMATE
    from gearshift_hls.synthesis.estimate import ESTIMATED

    feasible = sum(design.is_feasible for design in designs)
    lines = [
        f"{model} on the {board.name}: {len(designs)} designs, {feasible} feasible with at most "
        f"{share:.0%} of each resource",
        f"cycles of the slowest task: {ESTIMATE}; resources: fitted to what is {ESTIMATED}; "
        f"{ASSUMED}",
        "",
        _front_table(front, board) if front else "no design is feasible",
        "",
        *_infeasible_lines(designs),
    ]
    for one in checks:
        lines.append(
            f"{one.design.name}: {one.simulated:,.0f} simulated cycles of {one.design.task}, the "
            f"model is {one.difference:+.1%} off"
        )
    return "\n".join(lines)


def _front_table(front: Sequence[Design], board: Board) -> str:
    from gearshift.text import columns
    from gearshift_hls.project.usage import KINDS
    from gearshift_hls.synthesis.explore import CHOICES
    from gearshift_hls.synthesis.resources import tightest

    clock = f"ms at {board.clock_mhz:g} MHz"
    kinds = tuple(kind.upper() for kind in KINDS)
    head = ("array", *CHOICES, "cycles", clock, "task", *kinds, "tightest")
    rows = [
        (
            f"{one.build.input_lanes}x{one.build.output_lanes}",
            *(f"{getattr(one.build, name):,}" for name in CHOICES),
            f"{one.cycles:,.0f}",
            f"{one.cycles / (1e3 * board.clock_mhz):.2f}",
            one.task,
            *(f"{getattr(one.usage, k) / getattr(board.resources, k):.0%}" for k in KINDS),
            tightest(one.usage, board.resources)[0].upper(),
        )
        for one in front
    ]
    count = len(CHOICES)
    right = [*range(1, count + 3), *range(count + 4, count + 4 + len(kinds))]
    return columns([head, *rows], right=right)


def _infeasible_lines(designs: Sequence[Design]) -> list[str]:
    """How many designs each reason keeps out, with one of them."""
    examples: dict[str, list[str]] = {}
    for design in designs:
        for reason in design.reasons:
            kind = reason.split()[0].rstrip(":")
            examples.setdefault(kind, []).append(f"{design.name}: {reason}")
    return [
        f"infeasible by {kind}: {len(found)}, such as {found[0]}"
        for kind, found in sorted(examples.items(), key=lambda item: -len(item[1]))
    ]
