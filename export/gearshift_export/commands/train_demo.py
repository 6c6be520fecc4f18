"""`gearshift train-demo`: train, measure and export the model that ships as `demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train the demo model on rendered rooms, measure it and export it"
EXAMPLE = """\
gearshift train-demo -o demo.gs
gearshift train-demo -o quick.gs --steps 200 --scenes 1000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, help="artifact to write")
    parser.add_argument(
        "--steps", type=int, help="optimizer steps (default: 3600, about an hour on two cores)"
    )
    parser.add_argument("--scenes", type=int, help="training rooms to render (default: 24000)")
    parser.add_argument(
        "--folder",
        type=Path,
        help="rooms and training state, kept to resume from (default: in the cache folder)",
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.cache import cache_folder
    from gearshift_export.demo.artifact import make_demo
    from gearshift_export.demo.train import TrainOptions

    asked = {name: getattr(arguments, name) for name in ("steps", "scenes")}
    options = TrainOptions(**{name: value for name, value in asked.items() if value is not None})
    folder = arguments.folder or cache_folder() / "train-demo"
    make_demo(folder, options, arguments.output)
    return 0
