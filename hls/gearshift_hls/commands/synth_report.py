"""`gearshift synth report`: what HLS and Vivado say of a project, against the board's budget."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "show resources and timing of a project's steps against the board's budget"
EXAMPLE = "gearshift synth report fpga"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="a project that gearshift synth bitstream wrote and make ran"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.errors import BackendError
    from gearshift_hls.project.report import problems, read_report, report_lines

    report = read_report(arguments.folder)
    print("\n".join(report_lines(report)))
    found = problems(report)
    if found:
        raise BackendError(f"{report.board.name} cannot run this: {', '.join(found)}")
    return 0
