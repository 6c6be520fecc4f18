"""`gearshift export`: a trained checkpoint becomes an artifact."""

from __future__ import annotations

import argparse
from pathlib import Path

from gearshift_export.recipes import built_in_recipes

HELP = "turn a trained checkpoint into a model that gearshift runs"
EXAMPLE = """\
gearshift export checkpoint.pth.tar --recipe nyud-small -o nyud.gs
gearshift export Edge-MoE/weights --recipe edge-moe-tiny -o tiny.gs
gearshift export shards/ --recipe my-recipe.toml -o mine.gs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="a PyTorch file, a folder of {rank}.pth shards, or Edge-MoE's folder of weights",
    )
    parser.add_argument(
        "--recipe",
        required=True,
        help=f"a .toml file, or one of {', '.join(built_in_recipes())}",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the artifact to write, such as model.gs"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift_export.export import export_checkpoint
    from gearshift_export.recipe import load_recipe

    export_checkpoint(arguments.checkpoint, load_recipe(arguments.recipe), arguments.output)
    return 0
