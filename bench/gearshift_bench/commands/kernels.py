"""`gearshift bench kernels`: every kernel of a program checked, then timed against its peers."""

from __future__ import annotations

import argparse
import functools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.output import check_file, whole_file
from gearshift_bench.commands.roofline import PRECISIONS

if TYPE_CHECKING:
    from gearshift.backends import Precision
    from gearshift.program import Program
    from gearshift_bench.kernels import Result
    from gearshift_bench.machines import Machine
    from gearshift_kernels.triton.launch import Device

NOT_TIMED = "not timed: the interpreter tells nothing about speed"
SMALL_GRID = 4
"""Patches along each side of the image that kernels are checked on in the interpreter."""

HELP = "check every GPU kernel of a task and time it against torch (needs a GPU)"
EXAMPLE = """\
gearshift bench kernels small --json kernels.json
TRITON_INTERPRET=1 gearshift bench kernels demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", default="small", help="artifact or name (default: small)"
    )
    parser.add_argument("--task", help="default: the first")
    parser.add_argument("--precision", default="bfloat16", choices=PRECISIONS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")


def run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from gearshift.errors import BackendError

    if arguments.json:
        check_file(arguments.json)
    device = _device(arguments.precision)
    program = _program(arguments.model, arguments.task, is_small=device.interpreted)

    from gearshift_bench.case import Bench
    from gearshift_bench.kernels import check, entries, measure

    bench = Bench(device, arguments.precision)
    found = entries(program, arguments.precision)
    bar = functools.partial(tqdm, delay=2, leave=False, disable=None)
    results = [check(bench, entry) for entry in bar(found, desc="check")]
    if not device.interpreted:
        results = [measure(bench, one) for one in bar(results, desc="time")]
    card, machine = _card(device)
    print("\n".join(report(program, results, card, machine, arguments.precision)))
    if arguments.json:
        document = _document(program, results, card, machine, arguments.precision)
        with whole_file(arguments.json) as partial:
            partial.write_text(json.dumps(document, indent=2) + "\n")
    wrong = [result.entry.work.node for result in results if not result.is_right]
    if wrong:
        raise BackendError(f"outside their tolerance, and not timed: {', '.join(wrong)}")
    return 0


def _device(precision: Precision) -> Device:
    """What kernels would run on, with the tiles that were tuned there.

    Raises:
        BackendError: there is nothing, it is unknown, or it does not know the precision.
    """
    from gearshift.errors import BackendError

    try:
        from gearshift.backends.triton_device import open_device
    except ModuleNotFoundError as error:
        raise BackendError(
            f"the GPU kernels need the package {error.name}: pip install 'gearshift[gpu]'"
        ) from None
    return open_device(precision)


def _program(model: str, task: str | None, is_small: bool) -> Program:
    """The program of a task; on a small image if asked, so that the interpreter gets through."""
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift.specialise import specialise

    graph = read_artifact(find_model(model))
    program = specialise(graph, task or 0)
    if not is_small:
        return program
    side = SMALL_GRID * int(program.steps[0].attributes["patch_size"])
    return specialise(graph, task or 0, height=side, width=side)


def _card(device: Device) -> tuple[str, Machine | None]:
    import torch

    from gearshift_bench.machines import find_machine

    if device.interpreted:
        return "Triton's interpreter on the CPU", None
    properties = torch.cuda.get_device_properties()
    return properties.name, find_machine(properties.name, properties.multi_processor_count)


def report(
    program: Program, results: list[Result], card: str, machine: Machine | None, precision: str
) -> list[str]:
    """What was found, for a person: first what is right, then what was timed."""
    from gearshift.text import columns
    from gearshift_bench.kernels import OURS

    image = "x".join(map(str, program.values[program.input].shape))
    lines = [
        f"{program.model}, task {program.task_card.name}, image {image}, {precision}, on {card}",
        "",
        columns([("kernel", "steps", "error", "allowed", ""), *map(_check_row, results)],
                right=(1, 2, 3)),
        "error: largest difference to float64, as a share of the largest value",
        "",
    ]  # fmt: skip
    timed = [result for result in results if result.seconds]
    if not timed:
        return [*lines, NOT_TIMED]
    head = ("kernel", "steps", "us", "TFLOP/s", "GB/s", "of the roof", "peers, times our time")
    rows = [_time_row(result, machine, precision) for result in timed]
    lines += [columns([head, *rows], right=(1, 2, 3, 4, 5))]
    total = sum(result.entry.count * result.seconds[OURS] for result in timed)
    lines += [f"all steps of a run, one after the other: {1e3 * total:.3f} ms"]
    if machine is None:
        lines += ["no peak rates are known of this card: see gearshift_bench.machines"]
    return lines


def _check_row(result: Result) -> tuple[str, ...]:
    return (
        result.entry.sizes.key,
        str(result.entry.count),
        f"{result.error:.1e}",
        f"{result.tolerance:.1e}",
        "right" if result.is_right else "WRONG",
    )


def _time_row(result: Result, machine: Machine | None, precision: Any) -> tuple[str, ...]:
    from gearshift_bench.kernels import OURS

    seconds, work = result.seconds[OURS], result.entry.work
    roof = f"{work.bound(machine, precision)[1] / seconds:.0%}" if machine else ""
    peers = (
        f"{name} {other / seconds:.2f}" for name, other in result.seconds.items() if name != OURS
    )
    return (
        result.entry.sizes.key,
        str(result.entry.count),
        f"{1e6 * seconds:.1f}",
        f"{work.flops / seconds / 1e12:.1f}",
        f"{work.nbytes / seconds / 1e9:.0f}",
        roof,
        ", ".join(peers),
    )


def _document(
    program: Program, results: list[Result], card: str, machine: Machine | None, precision: Any
) -> dict[str, Any]:
    import torch
    import triton

    return {
        "model": program.model,
        "task": program.task_card.name,
        "image": list(program.values[program.input].shape),
        "precision": precision,
        "card": card,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "timed": any(result.seconds for result in results),
        "kernels": [
            {
                "kernel": result.entry.sizes.key,
                "first_node": result.entry.work.node,
                "steps": result.entry.count,
                # JSON has no infinity.
                "error": result.error if math.isfinite(result.error) else None,
                "tolerance": result.tolerance,
                "flops": result.entry.work.flops,
                "bytes": result.entry.work.nbytes,
                "input_sets": result.input_sets,
                "roof_us": 1e6 * result.entry.work.bound(machine, precision)[1]
                if machine
                else None,
                "median_us": {name: 1e6 * value for name, value in result.seconds.items()},
            }
            for result in results
        ],
    }
