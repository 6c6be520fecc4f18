"""`gearshift run`: one picture, one task at a time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.errors import InputError
from gearshift.output import check_file, whole_file

if TYPE_CHECKING:
    from PIL import Image

    from gearshift.results import Result

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
PRECISIONS = ("float32", "float16", "bfloat16", "int8", "float8")

HELP = "run one task, or each in turn, on a picture"
EXAMPLE = """\
gearshift run photo.jpg --task depth -o depth.png
gearshift run photo.jpg --task all -o tasks.png
gearshift run photo.jpg --task semseg --model model.gs --backend onnxruntime --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="a picture file")
    parser.add_argument("--task", required=True, help="a task of the model, or all")
    parser.add_argument("-o", "--output", type=Path, help="picture to write")
    parser.add_argument("--model", default="demo", help="artifact or built-in name (default: demo)")
    parser.add_argument(
        "--backend",
        default="auto",
        help="auto, torch, native, onnxruntime, triton, fpga-sim, rtl-sim or zcu104",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="(default: float32; the accelerator, fpga-sim, rtl-sim and zcu104, has int8 only)",
    )
    parser.add_argument("--memory", help="fast memory for the experts, such as 64MB")
    parser.add_argument(
        "--approximate", nargs="+", default=(), choices=("gelu", "softmax"), help="(triton)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.pictures import open_picture
    from gearshift.presentation import cost, numbers
    from gearshift.session import Session

    output = arguments.output
    if output:
        _check_output(output)
    picture = open_picture(arguments.image)
    session = Session(
        arguments.model,
        backend=arguments.backend,
        precision=arguments.precision,
        memory=arguments.memory,
        approximate=arguments.approximate,
    )
    tasks = session.tasks if arguments.task == "all" else (arguments.task,)
    results: dict[str, Result] = {}
    rows = []
    for task in tasks:
        results[task] = session.run(picture, task=task)
        if session.stats.cycles is None:
            # The first run made the program; this one shows what every later one costs. Cycles are
            # always the same.
            results[task] = session.run(picture, task=task)
        rows.append({**cost(session.stats), "task": task, "result": numbers(results[task])})
    if output:
        with whole_file(output) as partial:
            _picture(picture, results).save(partial)
    if arguments.json:
        print(json.dumps({"model": session.card.name, "tasks": rows}, indent=2))
    else:
        print(_text(rows, has_budget=arguments.memory is not None))
        if output:
            print(f"\n{output} shows {', '.join(tasks)}")
    return 0


def _check_output(output: Path) -> None:
    """Raises InputError for a place where no picture can be written."""
    if output.suffix.lower() not in PICTURE_ENDINGS:
        raise InputError(f"output {output} is no picture's name: end it in .png or .jpg")
    check_file(output)


def _text(rows: list[dict[str, Any]], has_budget: bool) -> str:
    """A table; under a budget also which experts were there and what was moved in."""
    from gearshift.text import columns, with_unit

    head = ("task", "ms", "experts used a block", "weights read")
    store_head = ("hits", "misses", "moved in") if has_budget else ()
    right = (1, 3, 4, 5, 6) if has_budget else (1, 3)
    table = [(*head, *store_head, "result")]
    for row in rows:
        experts = row["experts_used"]
        cells = [
            row["task"],
            f"{row['milliseconds']:.1f}",
            "not told" if experts is None else " ".join(map(str, experts)),
            "not told" if row["weight_bytes"] is None else with_unit(row["weight_bytes"], "B"),
        ]
        if has_budget:
            cells += [str(row["expert_hits"]), str(row["expert_misses"])]
            cells.append(with_unit(row["moved_bytes"], "B") or "0 B")
        table.append((*cells, _phrase(row["result"])))
    memory = [rows[0]["backend"]]
    if rows[0]["activation_bytes"] is not None:
        memory.append(f"activations {with_unit(rows[0]['activation_bytes'], 'B')}")
    simulated = [_cycles_line(row) for row in rows if "cycles" in row]
    return "\n".join((f"backend {', '.join(memory)}", columns(table, right), *simulated))


def _cycles_line(row: dict[str, Any]) -> str:
    """What a simulated accelerator took, and what for."""
    total = row["cycles"]
    parts = sorted(row["cycles_by_command"].items(), key=lambda part: -part[1])
    shares = [f"{name} {cycles / total:.0%}" for name, cycles in parts if cycles]
    return (
        f"{row['task']}: {total:,} simulated cycles, {row['accelerator_milliseconds']:.2f} ms at "
        f"an assumed {row['clock_mhz']:g} MHz: {', '.join(shares)}; "
        f"the array is busy in {row['array_busy_cycles'] / total:.0%}"
    )


def _phrase(numbers: dict[str, Any]) -> str:
    if "unit" in numbers:
        near, middle, far = (f"{numbers[key]:.2f}" for key in ("nearest", "median", "farthest"))
        return f"{near} to {far}, median {middle} {numbers['unit']}".rstrip()
    if "share_above_threshold" in numbers:
        return f"{numbers['share_above_threshold']:.1%} above the threshold"
    if "mean_direction" in numbers:
        return "mean direction " + " ".join(f"{x:+.2f}" for x in numbers["mean_direction"])
    if "shape" in numbers:
        return "tokens " + "x".join(map(str, numbers["shape"]))
    return ", ".join(f"{name} {share:.0%}" for name, share in list(numbers.items())[:4])


def _picture(image: Image.Image, results: dict[str, Result]) -> Image.Image:
    """One task: its picture at the image's size. Several: a sheet with the image first."""
    from gearshift.presentation import legend, picture_at
    from gearshift.sheet import Panel, sheet

    if len(results) == 1:
        (result,) = results.values()
        return picture_at(result, image.size)
    panels = [Panel("image", image)]
    for task, result in results.items():
        picture = result.picture()
        scale = picture.info.get("scale", "")
        panels.append(Panel(f"{task} {scale}".strip(), picture, legend(result)))
    return sheet(panels)
