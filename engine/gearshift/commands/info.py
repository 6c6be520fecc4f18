"""`gearshift info`: what a model can do and what each task costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearshift.expert_profile import Shares
    from gearshift.graph import Graph

HELP = "show a model's tasks, sizes, work and experts"
EXAMPLE = """\
gearshift info demo
gearshift info model.gs --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="an artifact's folder, or a built-in name such as demo")
    parser.add_argument("--program", metavar="TASK", help="print one task's program, step by step")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.graph import read_artifact, verify_artifact
    from gearshift.models import find_model
    from gearshift.specialise import specialise

    folder = find_model(arguments.model)
    graph = read_artifact(folder)
    verify_artifact(folder)
    if arguments.program:
        print(specialise(graph, arguments.program).table())
        return 0
    description = describe(graph, folder)
    print(json.dumps(description, indent=2) if arguments.json else _text(description))
    return 0


def describe(graph: Graph, folder: Path) -> dict[str, Any]:
    """Everything that `info` knows of the artifact in `folder`, as JSON-ready values.

    MACs and weight bytes are of one image; `weight_bytes` counts every expert that the task's
    routers may choose.
    """
    from gearshift.expert_profile import card_shares
    from gearshift.graph.shapes import bank_size
    from gearshift.specialise import specialise

    card = graph.card
    mixtures = [node for node in graph.trunk if node.operator == "ExpertMixture"]
    routers = [node for node in graph.trunk if node.operator == "Router"]
    tasks = []
    for index, task in enumerate(card.tasks):
        program = specialise(graph, index)
        tasks.append(
            {
                "name": task.name,
                "kind": str(task.kind),
                "output": list(program.values[program.output].shape[1:]),
                "labels": list(task.labels),
                "unit": task.unit,
                "macs": program.macs,
                "weight_bytes": program.weight_bytes,
                "quality": card.metrics.get(task.name),
            }
        )
    return {
        "name": card.name,
        "image": [3, card.image_height, card.image_width],
        "tasks": tasks,
        "experts": {
            "blocks": len(mixtures),
            "experts": bank_size(mixtures[0]) if mixtures else 0,
            "top_k": routers[0].attributes["top_k"] if routers else 0,
        },
        "expert_share": card_shares(graph),
        "parameters": sum(weight.size for weight in graph.weights.values()),
        "file_bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "provenance": dict(card.provenance),
    }


def _text(description: Mapping[str, Any]) -> str:
    from gearshift.text import columns, with_unit

    experts = description["experts"]
    size = "x".join(map(str, description["image"]))
    head = ("task", "kind", "output", "MACs", "weights", "measured quality")
    rows = [
        (
            task["name"],
            task["kind"],
            "x".join(map(str, task["output"])),
            with_unit(task["macs"], ""),
            with_unit(task["weight_bytes"], "B"),
            _quality(task["quality"]),
        )
        for task in description["tasks"]
    ]
    lines = [
        f"{description['name']}: image {size}, {with_unit(description['parameters'], '')} "
        f"parameters, {with_unit(description['file_bytes'], 'B')} on disk",
        f"experts: {experts['experts']} in each of {experts['blocks']} blocks, "
        f"top {experts['top_k']} a token",
        "",
        columns([head, *rows], right=(3, 4)),
    ]
    if description["expert_share"]:
        lines += ["", *_expert_bars(description["expert_share"])]
    provenance = [f"{key}: {value}" for key, value in description["provenance"].items()]
    return "\n".join([*lines, "", *provenance] if provenance else lines)


def _expert_bars(expert_share: Shares) -> list[str]:
    """A bar an expert, a group a block with experts; a full bar is twice an even share."""
    from gearshift.text import columns

    bars = "·▁▂▃▄▅▆▇█"
    blocks = len(next(iter(expert_share.values())))
    rows = [("task", *(f"block {2 * i + 1}" for i in range(blocks)))]
    for task, shares in expert_share.items():
        heights = [[min(round(share * len(row) * 4), 8) for share in row] for row in shares]
        rows.append((task, *("".join(bars[height] for height in row) for row in heights)))
    return ["share of tokens that chose each expert, as the card says:", columns(rows)]


def _quality(quality: object) -> str:
    match quality:
        case {
            "metric": str(metric),
            "value": int() | float() as value,
            "average_predictor": int() | float() as average,
        }:
            return f"{metric} {value:.3g} (average predictor {average:.3g})"
    return "not measured"
