"""`gearshift synth bitstream`: the project that makes a board's bitstream, written and run."""

from __future__ import annotations

import argparse
from pathlib import Path

from gearshift_hls.commands import synth_report

HELP = "write the project that makes a board's bitstream, and run it where Vitis is"
EXAMPLE = """\
gearshift synth bitstream demo --board zcu104 -o fpga
gearshift synth bitstream demo --board zcu104 --source rtl -o fpga --run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="an artifact's folder, or a built-in name such as demo")
    parser.add_argument("--board", default="zcu104", help="default: %(default)s")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="the project"
    )
    parser.add_argument(
        "--source",
        default="hls",
        choices=("hls", "rtl"),
        help="of the accelerator: HLS C++ or SystemVerilog (default: %(default)s)",
    )
    parser.add_argument(
        "--run", action="store_true", help="run all steps to the bitstream; takes hours"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.errors import BackendError
    from gearshift.models import find_model
    from gearshift_hls.board import find_board
    from gearshift_hls.project.write import check_replaceable, write_project

    folder, board = arguments.output, find_board(arguments.board)
    check_replaceable(folder)

    from gearshift.expert_profile import card_shares
    from gearshift.graph import read_artifact
    from gearshift_hls.compile.cache import open_bundle
    from gearshift_hls.compile.listing import listing
    from gearshift_hls.project.run import missing_tools, run_project

    artifact = find_model(arguments.model)
    bundle = open_bundle(artifact, board)
    shares = card_shares(read_artifact(artifact))
    write_project(folder, bundle, listing(bundle, board, shares), board, arguments.source)
    print(f"{folder}: project of {bundle.model} for {board.name}; README.md tells its steps")
    missing = missing_tools(arguments.source)
    if missing:
        tools = "Vivado" if arguments.source == "rtl" else "Vitis and Vivado"
        advice = (
            f"not run: {', '.join(missing)} not on PATH: install {tools} 2024.1 or "
            f"later, source their settings64.sh, then make -C {folder} bitstream"
        )
        if arguments.run:
            raise BackendError(advice)
        print(advice)
        return 0
    if not arguments.run:
        print(f"next: make -C {folder} bitstream")
        return 0
    run_project(folder)
    return synth_report.run(argparse.Namespace(folder=folder))
