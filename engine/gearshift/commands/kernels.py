"""`gearshift kernels`: the GPU kernels compiled ahead of time, packed and tuned."""

from __future__ import annotations

import argparse

import gearshift.commands.kernels_compile as kernels_compile
import gearshift.commands.kernels_pack as kernels_pack
import gearshift.commands.kernels_tune as kernels_tune

ACTIONS = {"compile": kernels_compile, "pack": kernels_pack, "tune": kernels_tune}

HELP = "compile, pack or tune the GPU kernels"
EXAMPLE = """\
gearshift kernels compile --target sm_90 --model tiny
gearshift kernels pack model.gs --target sm_90 -o kernels
gearshift kernels tune demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, action in ACTIONS.items():
        action.add_arguments(actions.add_parser(name, help=action.HELP, description=action.HELP))


def run(arguments: argparse.Namespace) -> int:
    return ACTIONS[arguments.action].run(arguments)
