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

    from gearshift.backends import Stats
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
        "--backend", default="auto", help="auto, torch, native, onnxruntime or triton"
    )
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--memory", help="fast memory for the experts, such as 64MB")
    parser.add_argument(
        "--approximate", nargs="+", default=(), choices=("gelu", "softmax"), help="(triton)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.pictures import open_picture
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
        # A task's first run makes its program; the second shows what every later one costs.
        session.run(picture, task=task)
        results[task] = session.run(picture, task=task)
        rows.append({**_cost(session.stats), "task": task, "result": _numbers(results[task])})
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


def _cost(stats: Stats) -> dict[str, Any]:
    """What a run took; null where the backend cannot tell."""
    used = stats.tokens_per_expert
    return {
        "backend": stats.backend,
        "milliseconds": 1e3 * stats.seconds,
        "experts_used": used and [sum(n > 0 for n in counts) for counts in used.values()],
        "weight_bytes": stats.weight_bytes,
        "moved_bytes": stats.moved_bytes,
        "expert_hits": stats.expert_hits,
        "expert_misses": stats.expert_misses,
        "activation_bytes": stats.activation_bytes,
    }


def _numbers(result: Result) -> dict[str, Any]:
    """A result in a few numbers."""
    import numpy as np

    from gearshift import results

    if isinstance(result, results.SegmentationResult):
        counts = np.bincount(result.labels.ravel(), minlength=len(result.label_names))
        share = counts / counts.sum()
        order = np.argsort(-share, kind="stable")
        return {result.label_names[i]: round(float(share[i]), 4) for i in order if share[i]}
    if isinstance(result, results.DepthResult):
        near, far = result.scale()
        middle = float(np.median(result.values))
        return {"nearest": near, "median": middle, "farthest": far, "unit": result.task.unit}
    if isinstance(result, results.ProbabilityResult):
        return {"share_above_threshold": float(result.mask.mean())}
    if isinstance(result, results.NormalsResult):
        return {"mean_direction": [float(x) for x in result.vectors.mean((0, 2, 3))]}
    return {"shape": list(result.raw.shape)}


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
    return f"backend {', '.join(memory)}\n{columns(table, right)}"


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
    from PIL import Image

    from gearshift.graph import TaskKind
    from gearshift.sheet import Panel, sheet

    if len(results) == 1:
        (result,) = results.values()
        # Colours of labels must not mix; everything else may be smooth.
        are_labels = result.task.kind is TaskKind.SEGMENTATION
        method = Image.Resampling.NEAREST if are_labels else Image.Resampling.BICUBIC
        return result.picture().resize(image.size, method)
    panels = [Panel("image", image)]
    for task, result in results.items():
        picture = result.picture()
        scale = picture.info.get("scale", "")
        panels.append(Panel(f"{task} {scale}".strip(), picture, _legend(result)))
    return sheet(panels)


def _legend(result: Result) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """The labels that occur, most frequent first, with their colours."""
    from gearshift.results import SegmentationResult

    if not isinstance(result, SegmentationResult):
        return ()
    red_green_blue = dict(zip(result.label_names, result.colours.tolist(), strict=True))
    return tuple((name, tuple(red_green_blue[name])) for name in _numbers(result))
