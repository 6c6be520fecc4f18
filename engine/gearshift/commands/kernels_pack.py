"""`gearshift kernels pack`: a model's kernels compiled, so that a first request waits for none."""

from __future__ import annotations

import argparse
from pathlib import Path

from gearshift.output import make_folder

HELP = "store the compiled kernels of a model in a folder, for a GPU that need not be here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="an artifact's folder, or a built-in name such as demo")
    parser.add_argument("--target", required=True, help="GPU architecture, such as sm_90")
    parser.add_argument(
        "--precision",
        default="bfloat16",
        help="float32, float16, bfloat16, int8, float8 or several (default: %(default)s)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="folder (default: kernels in the cache folder)"
    )


def run(arguments: argparse.Namespace) -> int:
    from gearshift.commands.kernels_launches import (
        check_compiler,
        choose,
        choose_precisions,
        compile_programs,
        programs,
    )
    from gearshift.errors import InputError

    check_compiler()
    from gearshift.backends.triton_device import kernels_folder
    from gearshift_kernels.triton.pack import pack
    from gearshift_kernels.triton.targets import TARGETS

    targets = choose("target", arguments.target, TARGETS)
    precisions = choose_precisions(arguments.precision)
    without = [target for target in targets if not TARGETS[target].has_float8]
    if "float8" in precisions and without:
        raise InputError(f"{', '.join(without)}: no float8 there, choose precision int8")
    folder = arguments.output or kernels_folder()
    make_folder(folder)
    needed = programs(arguments.model)
    compiled = {
        resources.folder
        for target in targets
        for precision in precisions
        for resources in compile_programs(needed, target, precision)
    }
    added = pack(sorted(compiled), folder)
    print(f"{len(compiled)} kernels of {arguments.model} in {folder}, {added} of them new")
    return 0
