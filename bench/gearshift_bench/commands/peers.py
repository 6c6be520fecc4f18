"""`gearshift bench peers`: ours against other runtimes on this CPU, same weights, same image."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.output import check_file, whole_file

if TYPE_CHECKING:
    from gearshift_bench.peers.entry import Entry

MODELS = ("tiny", "small", "demo")
PARTS = ("encoder", "task")
PEERS = ("onnxruntime", "openvino", "torch", "compile")
PRECISIONS = ("float32", "bfloat16", "int8")
MOST_THREADS = 1024

HELP = "time ours against onnxruntime, OpenVINO and torch on this CPU, outputs checked first"
EXAMPLE = """\
gearshift bench peers --json peers.json
gearshift bench peers tiny --threads 1 --part encoder --peers openvino,onnxruntime"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"artifacts or names (default: {' '.join(MODELS)})",
    )
    parser.add_argument("--task", help="default: the first of each model")
    parser.add_argument("--part", default=",".join(PARTS), help="comma between (default: both)")
    parser.add_argument("--threads", default="1,2", help="comma between (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="of every race (default: 20)")
    parser.add_argument("--ours", default="native", metavar="BACKEND", help="default: native")
    parser.add_argument(
        "--precision",
        default=",".join(PRECISIONS),
        help="of ours, comma between (default: %(default)s)",
    )
    parser.add_argument(
        "--peers", default=",".join(PEERS), help="comma between (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.backends import choose_backend
    from gearshift.errors import InputError

    parts = _chosen("--part", arguments.part, PARTS)
    peers = _chosen("--peers", arguments.peers, PEERS)
    precisions = _chosen("--precision", arguments.precision, PRECISIONS)
    threads = _threads(arguments.threads)
    if arguments.rounds < 1:
        raise InputError(f"--rounds {arguments.rounds}: give at least 1")
    if arguments.json:
        check_file(arguments.json)
    backend = choose_backend(arguments.ours)

    from gearshift_bench.peers import measure
    from gearshift_bench.peers.document import document
    from gearshift_bench.peers.entries import our_entries
    from gearshift_bench.peers.floor import measure_peaks
    from gearshift_bench.peers.host import describe_host
    from gearshift_bench.peers.report import cell_lines, heading, switch_lines
    from gearshift_bench.progress import show_progress

    subjects = [measure.open_subject(model, arguments.task) for model in arguments.models or MODELS]
    entries = [*our_entries(backend, precisions), *_peer_entries(peers)]
    host, peaks = describe_host(), measure_peaks()
    print("\n".join(heading(host, peaks)), flush=True)
    cells, switches = [], {}
    for subject in subjects:
        for cell in measure.race_parts(
            subject, entries, parts, threads, arguments.rounds, show_progress
        ):
            cells.append(cell)
            print("\n".join(cell_lines(cell, peaks)), flush=True)
        found = measure.measure_switches(
            subject, backend, _switched(precisions), threads[0], arguments.rounds
        )
        switches[subject.whole.model] = found
        print("\n".join(switch_lines(subject.whole.model, threads[0], found)), flush=True)
    if arguments.json:
        figures = document(host, peaks, arguments.rounds, cells, switches)
        with whole_file(arguments.json) as partial:
            partial.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
    return 0


def _chosen(option: str, text: str, known: Sequence[str]) -> Any:
    """The names in an option's list, once each, in the order in which they are known."""
    from gearshift.errors import InputError

    names = text.split(",")
    for name in names:
        if name not in known:
            raise InputError(f"{option} {name!r} is not known: choose from {', '.join(known)}")
    return [name for name in known if name in names]


def _threads(text: str) -> list[int]:
    from gearshift.errors import InputError

    numbers = text.split(",")
    for number in numbers:
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= MOST_THREADS):
            raise InputError(
                f"--threads {number!r}: give numbers from 1 to {MOST_THREADS}, comma between"
            )
    return list(dict.fromkeys(map(int, numbers)))


def _switched(precisions: Sequence[Any]) -> Any:
    """The precision in which switches are measured: bfloat16, if it was asked for."""
    return "bfloat16" if "bfloat16" in precisions else precisions[0]


def _peer_entries(peers: Sequence[str]) -> list[Entry]:
    """All contenders of these peers; one that is not installed is named, and the others go on."""
    from gearshift.errors import BackendError
    from gearshift_bench.peers.entries import peer_entries

    entries: list[Entry] = []
    for peer in peers:
        try:
            entries += peer_entries(peer)
        except BackendError as error:
            print(f"left out: {error}", file=sys.stderr)
    return entries
