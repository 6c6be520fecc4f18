"""`gearshift synth compile`: quantise a model, lay it out, and say what it will cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearshift_hls.bundle import Bundle
    from gearshift_hls.compile.listing import TaskListing

HELP = "quantise a model and compile all its tasks for a board"
EXAMPLE = """\
gearshift synth compile demo --board zcu104 -o demo-zcu104
gearshift synth compile model.gs --pictures photos --height 240 --width 320 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="an artifact's folder, or a built-in name such as demo")
    parser.add_argument("--board", default="zcu104", help="default: %(default)s")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="calibrate on these, also for the backends (default: pictures of gearshift's own)",
    )
    parser.add_argument("--height", type=int, metavar="PIXELS", help="default: the model's")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="default: the model's")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="bundle and listing to write"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.expert_profile import card_shares
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift_hls.board import find_board
    from gearshift_hls.compile.cache import forget_pictures, open_bundle
    from gearshift_hls.compile.files import check_replaceable, save_bundle
    from gearshift_hls.compile.listing import list_tasks, listing

    board, output = find_board(arguments.board), arguments.output
    if output:
        check_replaceable(output)
    artifact = find_model(arguments.model)
    size = arguments.height, arguments.width
    if arguments.pictures is None:
        forget_pictures(artifact, board, *size)
    bundle = open_bundle(artifact, board, *size, arguments.pictures)
    shares = card_shares(read_artifact(artifact))
    if output:
        save_bundle(bundle, listing(bundle, board, shares), output)
    listings = list_tasks(bundle, board, shares)
    if arguments.json:
        print(json.dumps(_document(bundle, listings), indent=2))
    else:
        print(_text(bundle, listings))
        if output:
            print(f"\n{output} holds the bundle; listing.txt in it tells every descriptor")
    return 0


def _text(bundle: Bundle, listings: list[TaskListing]) -> str:
    from gearshift.text import columns, with_unit
    from gearshift_hls.compile.estimate import ESTIMATE

    clock = f"ms at {listings[0].clock_mhz:g} MHz"
    head = (
        "task",
        "descriptors",
        "cycles",
        clock,
        "weights",
        "external",
        "on chip",
        "cycles go to",
    )
    rows = [
        (
            one.task.name,
            str(one.task.descriptors),
            f"{one.cycles:,.0f}",
            f"{one.milliseconds:.2f}",
            with_unit(one.weight_bytes, "B"),
            with_unit(one.external_bytes, "B"),
            with_unit(one.scratch_bytes, "B"),
            _causes(one),
        )
        for one in listings
    ]
    activations = bundle.memory_bytes - bundle.write_base
    title = (
        f"{bundle.model} at {bundle.height}x{bundle.width} pixels for the {bundle.board}: "
        f"constants {with_unit(bundle.write_base, 'B')}, "
        f"activations {with_unit(activations, 'B')}"
    )
    note = f"cycles, time and bytes moved of one picture: {ESTIMATE}"
    return "\n".join((title, note, "", columns([head, *rows], right=range(1, 7))))


def _causes(listed: TaskListing) -> str:
    """Shares of the cycles, most first, without the small ones."""
    shares = {cause: cycles / listed.cycles for cause, cycles in listed.causes.items()}
    return ", ".join(f"{cause} {share:.0%}" for cause, share in shares.items() if share >= 0.05)


def _document(bundle: Bundle, listings: list[TaskListing]) -> dict[str, Any]:
    from gearshift_hls.compile.estimate import ESTIMATE

    return {
        "model": bundle.model,
        "board": bundle.board,
        "image": [3, bundle.height, bundle.width],
        "constant_bytes": bundle.write_base,
        "activation_bytes": bundle.memory_bytes - bundle.write_base,
        "kind": ESTIMATE,
        "clock_mhz": listings[0].clock_mhz,
        "tasks": [
            {
                "name": one.task.name,
                "descriptors": one.task.descriptors,
                "cycles": round(one.cycles),
                "milliseconds": one.milliseconds,
                "weight_bytes": one.weight_bytes,
                "external_bytes": one.external_bytes,
                "scratch_bytes": one.scratch_bytes,
                "cycles_by_cause": {cause: round(value) for cause, value in one.causes.items()},
            }
            for one in listings
        ],
    }
