"""`gearshift bench report`: the report of a result that was saved earlier."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "make the report of a saved result: one HTML file, and its pictures"
EXAMPLE = """\
gearshift bench report result.json
gearshift bench report result.json -o report.html --plots pictures"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, help="JSON that `gearshift bench --json` wrote")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the result's name with .html"
    )
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help="write every picture as SVG and PNG, too"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift_bench.report import write_plots, write_report
    from gearshift_bench.report.document import read_document

    document = read_document(arguments.result)
    output: Path = arguments.output or arguments.result.with_suffix(".html")
    write_report(document, output)
    print(f"wrote {output}")
    if arguments.plots is not None:
        pictures = write_plots(document, arguments.plots)
        print(f"wrote {len(pictures)} pictures to {arguments.plots}")
    return 0
