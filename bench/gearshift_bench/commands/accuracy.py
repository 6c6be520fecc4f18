"""`gearshift bench accuracy`: latency, energy and accuracy of every precision, side by side."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.errors import BackendError, InputError
from gearshift.output import check_file

if TYPE_CHECKING:
    from gearshift.backends import Approximation, Precision
    from gearshift_bench.latency.configuration import Configuration

Records = Sequence[Mapping[str, Any]]

MOST_ROOMS = 100_000
MOST_SECONDS = 3600.0
PRECISIONS = ("float32", "float16", "bfloat16", "int8", "float8")
USUAL_PRECISIONS: Sequence[Precision] = ("float32", "bfloat16", "int8")
APPROXIMATIONS: tuple[Approximation, ...] = ("gelu", "softmax")
FIXED_POINT = "fixed-point"
EMULATIONS = (*APPROXIMATIONS, FIXED_POINT)

HELP = "measure what precisions and approximations cost in accuracy, and what they save"
EXAMPLE = """\
gearshift bench accuracy
gearshift bench accuracy demo --backend native --precision float32 bfloat16 int8 --rooms 1000
gearshift bench accuracy demo --emulate fixed-point --into result.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("model", nargs="?", default="demo", help="artifact or name (default: demo)")
    parser.add_argument("--backend", metavar="BACKEND", help="(default: auto)", **several)
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help=f"(default: of {', '.join(USUAL_PRECISIONS)} those that the backend has)",
        **several,
    )
    parser.add_argument(
        "--approximate", choices=APPROXIMATIONS, help="in the backend, if it can", **several
    )
    parser.add_argument(
        "--emulate",
        choices=(*EMULATIONS, "nothing"),
        help="in software, without a time (default: all, unless a backend, precision or "
        "approximation is named)",
        **several,
    )
    parser.add_argument("--threads", type=int, metavar="N", help="(the backend's choice)")
    parser.add_argument(
        "--rooms", type=int, default=200, metavar="N", help="rendered test rooms (%(default)s)"
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="of each latency (%(default)g); 0: no latency, no energy",
    )
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="add them to a result of gearshift bench --json"
    )


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)

    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift_bench.accuracy import measure_accuracy
    from gearshift_bench.accuracy.rooms import held_out_rooms
    from gearshift_bench.report.words import count

    model = find_model(arguments.model).absolute()
    card = read_artifact(model).card
    document = None if arguments.into is None else _document(arguments.into, model)
    configurations, left_out = _configurations(arguments, model)
    emulations = _emulations(arguments)
    names: list[Approximation] = [name for name in APPROXIMATIONS if name in emulations]
    records = measure_accuracy(
        model,
        configurations,
        held_out_rooms(card, arguments.rooms),
        emulate=[*((name,) for name in names), *([names] if len(names) > 1 else [])],
        fixed_point=FIXED_POINT in emulations,
        seconds=arguments.duration,
    )
    if arguments.json:
        print(json.dumps(records, indent=1, allow_nan=False))
    else:
        size = f"{card.image_height}x{card.image_width}"
        rooms = count(arguments.rooms, "test room")
        print(f"{card.name}, {size}, {rooms}, beside torch in float32")
        print("\n".join([*report(records), *left_out]))
    if document is not None:
        _write(document, records, arguments.into)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.rooms <= MOST_ROOMS:
        raise InputError(f"--rooms {arguments.rooms}: give 1 to {MOST_ROOMS}")
    if not (math.isfinite(arguments.duration) and 0 <= arguments.duration <= MOST_SECONDS):
        raise InputError(f"--duration {arguments.duration:g}: give 0 to {MOST_SECONDS:g}")
    if "nothing" in arguments.emulate and len(arguments.emulate) > 1:
        raise InputError("--emulate nothing: leave the others out")
    if arguments.into is not None:
        check_file(arguments.into)


def _document(path: Path, model: Path) -> dict[str, Any]:
    """The result to add to, which must be of the same weights."""
    from gearshift.graph.read import read_card_file
    from gearshift_bench.report.document import read_document
    from gearshift_bench.report.files import need

    need("jsonschema")
    document = read_document(path)
    if document["model"]["sha256"] != read_card_file(model).weights.sha256:
        raise InputError(
            f"{path} is of {document['model']['name']}, with other weights than {model.name}: "
            "measure the same model"
        )
    return document


def _emulations(arguments: argparse.Namespace) -> tuple[str, ...]:
    if not arguments.emulate:
        return () if _names_backend(arguments) else EMULATIONS
    return tuple(name for name in EMULATIONS if name in arguments.emulate)


def _names_backend(arguments: argparse.Namespace) -> bool:
    """Whether anything is asked of a backend by name."""
    return bool(arguments.backend or arguments.precision or arguments.approximate)


def _configurations(
    arguments: argparse.Namespace, model: Path
) -> tuple[list[Configuration], list[str]]:
    """What the backends can do of what is asked for, and a line for what they cannot.

    Raises:
        BackendError: an unknown backend, or one that can do nothing of it.
    """
    from gearshift.backends import choose_backend
    from gearshift_bench.accuracy.runners import open_runner
    from gearshift_bench.latency.configuration import configurations

    if _emulations(arguments) and arguments.emulate and not _names_backend(arguments):
        return [], []
    backends = [choose_backend(name) for name in arguments.backend or ["auto"]]
    precisions: Sequence[Precision] = arguments.precision or USUAL_PRECISIONS
    approximate = arguments.approximate
    found, left_out = [], []
    for one in configurations(backends, precisions, [1], [arguments.threads], approximate):
        try:
            open_runner(model, one)
            found.append(one)
        except BackendError as error:
            left_out.append(f"left out: {error}")
    if not found:
        raise BackendError(left_out[0].removeprefix("left out: "))
    return found, left_out


def report(found: Records) -> list[str]:
    """For a person: the trades, the routing, and why energy was not measured."""
    from gearshift_bench.report import records

    lines = [f"energy not measured: {reason}" for reason in records.unmeasured(found)]
    if (trades := records.accuracy(found)) is None:
        return lines
    tables = [line for one in records.routing(found) for line in ("", one.caption, one.text())]
    return ["", trades.text(), *tables, "", *lines]


def _write(document: dict[str, Any], records: Records, path: Path) -> None:
    """Into the result, in the place of records of the same task and setting."""
    from gearshift_bench.report.document import write_document

    kept = {_key(record): record for record in [*document["accuracy"], *records]}
    write_document(document | {"accuracy": list(kept.values())}, path)
    print(f"wrote {len(records)} records into {path}")


def _key(record: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(record.get(name) for name in ("task", "backend", "precision", "approximate"))
