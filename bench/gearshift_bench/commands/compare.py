"""`gearshift bench compare`: whether a second result is better than a first one."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "say of two saved results which runs are better, worse or no different"
EXAMPLE = "gearshift bench compare before.json after.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="JSON that `gearshift bench --json` wrote")
    parser.add_argument("after", type=Path, help="another one")


def run(arguments: argparse.Namespace) -> int:
    from gearshift_bench.latency.compare import lines
    from gearshift_bench.report.document import read_document

    before, after = read_document(arguments.before), read_document(arguments.after)
    print("\n".join(lines(before, after)))
    return 0
