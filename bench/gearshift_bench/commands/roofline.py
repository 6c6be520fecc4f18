"""`gearshift bench roofline`: what a task must take on a card, predicted from peak rates."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearshift.program import Program
    from gearshift_bench.machines import Machine
    from gearshift_bench.roofline import Prediction, Work

PRECISIONS = ("float32", "float16", "bfloat16", "int8", "float8")
PREDICTION = "PREDICTION from a roofline model: nothing was measured"

HELP = "predict the time of every task on data sheets' peak rates (a roofline model)"
EXAMPLE = """\
gearshift bench roofline
gearshift bench roofline tiny --machine A100,Orin --task depth --nodes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="artifacts or names (default: tiny small)"
    )
    parser.add_argument("--machine", help="names of machines, comma between (default: all)")
    parser.add_argument("--task", help="one task only")
    parser.add_argument("--precision", default="bfloat16", choices=PRECISIONS)
    parser.add_argument("--nodes", action="store_true", help="a line a node; needs --task")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    from gearshift.errors import InputError

    if arguments.nodes and not arguments.task:
        raise InputError("--nodes prints the nodes of one task: say which with --task")
    machines = _machines(arguments.machine, arguments.precision)
    models = arguments.models or ["tiny", "small"]
    forecasts = list(_forecasts(models, machines, arguments.task, arguments.precision))
    if arguments.json:
        print(json.dumps(_document(forecasts, machines, arguments), indent=2))
        return 0
    print("\n".join(_heading(arguments.precision)))
    if arguments.nodes:
        for forecast in forecasts:
            print(f"\n{_nodes(forecast, machines)}")
    else:
        print(f"\n{_table(forecasts)}")
    return 0


@dataclass(frozen=True)
class Forecast:
    """One task of one model on every machine."""

    program: Program
    precision: Any
    works: list[Work]
    predictions: dict[str, Prediction]


def _machines(names: str | None, precision: str) -> dict[str, Machine]:
    """Those that were asked for, or else all that know the precision."""
    from gearshift.errors import InputError
    from gearshift_bench.machines import MACHINES

    known = {
        name: machine
        for name, machine in MACHINES.items()
        if precision != "float8" or machine.float8 is not None
    }
    if names is None:
        return known
    chosen = names.split(",")
    for name in chosen:
        if name not in MACHINES:
            raise InputError(f"unknown machine {name!r}: choose from {', '.join(MACHINES)}")
        if name not in known:
            raise InputError(f"{name} has no {precision}: choose from {', '.join(known)}")
    return {name: known[name] for name in chosen}


def _forecasts(
    models: list[str], machines: dict[str, Machine], task: str | None, precision: Any
) -> Iterator[Forecast]:
    from gearshift.graph import read_artifact
    from gearshift.models import find_model
    from gearshift.specialise import specialise
    from gearshift_bench.roofline import count_launches, predict, program_work

    for model in models:
        graph = read_artifact(find_model(model))
        for name in [task] if task else [card.name for card in graph.card.tasks]:
            program = specialise(graph, name)
            works = program_work(program, precision)
            predictions = {
                key: predict(
                    works, machine, precision, count_launches(program, machine.target, precision)
                )
                for key, machine in machines.items()
            }
            yield Forecast(program, precision, works, predictions)


def _heading(precision: str) -> list[str]:
    from gearshift_bench.roofline import LAUNCH_GAP

    return [
        PREDICTION,
        f"batch 1, {precision}, all experts resident and each read that the tokens could choose",
        "roof: every launch at the machine's dense peak rates; gaps: "
        f"{1e6 * LAUNCH_GAP:.1f} us a launch (measured by others on an H100, in a CUDA graph)",
        "left out: partial waves and tiles, repeated reads, norms and GELU, all of them slower; "
        "hits in the L2 cache, faster",
    ]


def _table(forecasts: list[Forecast]) -> str:
    """A line a task and machine."""
    from gearshift.text import columns, with_unit

    head = ("model", "task", "machine", "predicted ms", "roof ms", "gaps ms", "launches",
            "held back by", "FLOPs", "bytes")  # fmt: skip
    rows = [
        (
            forecast.program.model,
            forecast.program.task_card.name,
            machine,
            f"{1e3 * prediction.seconds:.3f}",
            f"{1e3 * prediction.roof_seconds:.3f}",
            f"{1e3 * prediction.gap_seconds:.3f}",
            str(prediction.launches),
            _shares(prediction),
            with_unit(sum(work.flops for work in forecast.works), ""),
            with_unit(sum(work.nbytes for work in forecast.works), "B"),
        )
        for forecast in forecasts
        for machine, prediction in forecast.predictions.items()
    ]
    return columns([head, *rows], right=(3, 4, 5, 6, 8, 9))


def _shares(prediction: Prediction) -> str:
    """What holds the launches back, the most important first, as shares of their time."""
    seconds = prediction.seconds_by_bound
    return ", ".join(
        f"{bound} {seconds[bound] / prediction.roof_seconds:.0%}"
        for bound in sorted(seconds, key=seconds.__getitem__, reverse=True)
        if seconds[bound] >= 0.005 * prediction.roof_seconds
    )


def _nodes(forecast: Forecast, machines: dict[str, Machine]) -> str:
    """A line a node: its work, and what holds it back for how long on each machine."""
    from gearshift.text import columns, with_unit

    head = ("node", "FLOPs", "bytes", *(f"{name} us" for name in machines))
    rows = []
    for work in forecast.works:
        bounds = [work.bound(machine, forecast.precision) for machine in machines.values()]
        rows.append(
            (
                work.node,
                with_unit(work.flops, ""),
                with_unit(work.nbytes, "B"),
                *(f"{1e6 * seconds:.2f} {bound}" for bound, seconds in bounds),
            )
        )
    title = f"{forecast.program.model}, task {forecast.program.task_card.name}"
    return f"{title}\n{columns([head, *rows], right=(1, 2))}"


def _document(
    forecasts: list[Forecast], machines: dict[str, Machine], arguments: argparse.Namespace
) -> dict[str, Any]:
    from dataclasses import asdict

    from gearshift_bench.roofline import LAUNCH_GAP

    tasks = []
    for forecast in forecasts:
        task: dict[str, Any] = {
            "model": forecast.program.model,
            "task": forecast.program.task_card.name,
            "flops": sum(work.flops for work in forecast.works),
            "bytes": sum(work.nbytes for work in forecast.works),
            "predictions": {
                machine: {
                    "predicted_ms": 1e3 * prediction.seconds,
                    "roof_ms": 1e3 * prediction.roof_seconds,
                    "gaps_ms": 1e3 * prediction.gap_seconds,
                    "launches": prediction.launches,
                    "roof_ms_by_bound": {
                        bound: 1e3 * seconds
                        for bound, seconds in prediction.seconds_by_bound.items()
                    },
                }
                for machine, prediction in forecast.predictions.items()
            },
        }
        if arguments.nodes:
            task["nodes"] = [asdict(work) for work in forecast.works]
        tasks.append(task)
    return {
        "kind": PREDICTION,
        "batch": 1,
        "precision": arguments.precision,
        "launch_gap_us": 1e6 * LAUNCH_GAP,
        "tasks": tasks,
        "machines": {name: asdict(machine) for name, machine in machines.items()},
    }
