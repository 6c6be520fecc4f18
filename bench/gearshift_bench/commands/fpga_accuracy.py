"""`gearshift bench fpga-accuracy`: the accelerator's integers against float32."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift_bench.fpga_accuracy import TaskAccuracy

MOST_ROOMS = 100_000

HELP = "measure what the FPGA's integers cost in accuracy, against float32"
EXAMPLE = """\
gearshift bench fpga-accuracy
gearshift bench fpga-accuracy small --rooms 2 --pictures my-pictures"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", default="demo", help="artifact or name (default: demo)")
    parser.add_argument(
        "--rooms", type=int, default=200, help="rendered test rooms to measure on (default: 200)"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="to calibrate on (default: rendered rooms)"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.errors import InputError
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift_bench.accuracy.rooms import held_out_rooms
    from gearshift_bench.fpga_accuracy import measure
    from gearshift_hls.board import ZCU104
    from gearshift_hls.quantise import quantise_model
    from gearshift_hls.quantise.pictures import calibration_pictures

    if not 1 <= arguments.rooms <= MOST_ROOMS:
        raise InputError(f"--rooms {arguments.rooms}: give 1 to {MOST_ROOMS}")
    graph = read_artifact(find_model(arguments.model))
    card = graph.card
    size = card.image_height, card.image_width
    seen = calibration_pictures(card, *size, arguments.pictures)
    quantised = quantise_model(graph, ZCU104.build, seen)
    found = measure(graph, quantised, ZCU104.build, held_out_rooms(card, arguments.rooms))
    print(
        f"{card.name}, {size[0]}x{size[1]}, {arguments.rooms} test rooms, calibrated on "
        f"{len(seen)} pictures"
    )
    print("\n".join(report(found)))
    return 0


def report(found: list[TaskAccuracy]) -> list[str]:
    """For a person."""
    figures = ["", _figures(found)] if any(task.metric for task in found) else []
    routers = ["under a router: tokens that go to the same experts as in float32"]
    return [*figures, "", _tokens(found), *(routers if found[0].alike else ())]


def _figures(found: list[TaskAccuracy]) -> str:
    from gearshift.text import columns

    head = ("task", "figure", "float32", "int8", "change")
    rows = [
        (
            task.task,
            task.metric,
            f"{task.float32:.4f}",
            f"{task.int8:.4f}",
            f"{100 * (task.int8 / task.float32 - 1):+.2f} %",
        )
        for task in found
    ]
    return columns([head, *rows], right=(2, 3, 4))


def _tokens(found: list[TaskAccuracy]) -> str:
    from gearshift.text import columns

    head = ("task", "tokens, routing fixed", *found[0].alike)
    rows = [
        (task.task, f"{task.tokens_db:.1f} dB", *(f"{alike:.2%}" for alike in task.alike.values()))
        for task in found
    ]
    return columns([head, *rows], right=range(1, len(head)))
