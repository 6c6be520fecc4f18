"""`gearshift synth`: from a model to the accelerator, one sub-command a stage."""

from __future__ import annotations

import argparse

from gearshift.cli import Command, add_commands
from gearshift_hls.commands import (
    synth_bitstream,
    synth_compile,
    synth_estimate,
    synth_explore,
    synth_report,
)

STAGES: dict[str, Command] = {
    "compile": synth_compile,
    "estimate": synth_estimate,
    "explore": synth_explore,
    "bitstream": synth_bitstream,
    "report": synth_report,
}

HELP = "compile a model for the FPGA accelerator, and the accelerator for its board"
EXAMPLE = "\n".join(stage.EXAMPLE for stage in STAGES.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_commands(parser, STAGES, "stage")


def run(arguments: argparse.Namespace) -> int:
    return STAGES[arguments.stage].run(arguments)
