"""`gearshift run`: one picture, one task at a time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from gearshift.results import Result
    from gearshift.session import Session
    from gearshift.sheet import Panel

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
    parser.add_argument("--backend", default="auto", help="auto, torch or onnxruntime")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.errors import InputError
    from gearshift.pictures import open_picture
    from gearshift.session import Session

    if arguments.output and arguments.output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"output {arguments.output} has no picture's ending: use .png or .jpg")
    session = Session(arguments.model, backend=arguments.backend, precision=arguments.precision)
    picture = open_picture(arguments.image)
    tasks = session.tasks if arguments.task == "all" else (arguments.task,)
    rows: list[dict[str, Any]] = []
    results: list[Result] = []
    for task in tasks:
        # The first run pays for specialising and for reading the weights; the second shows speed.
        session.run(picture, task=task)
        results.append(session.run(picture, task=task))
        rows.append(_row(session, results[-1]))
    if arguments.output:
        _write(arguments.output, picture, results)
    if arguments.json:
        print(json.dumps({"model": session.card.name, "tasks": rows}, indent=2))
    else:
        print(_text(rows, arguments.output))
    return 0
