"""A model on its test rooms, in several ways beside float32: one record a task and way.

Each record is a trade: latency, energy, accuracy. Figures of the tasks are those of whole runs,
each with its own routing; how many tokens it routes as float32 does is told router by router.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gearshift.backends import Approximation
from gearshift.graph import read_artifact
from gearshift.graph.card import Card
from gearshift.pictures import load_pictures
from gearshift_bench.accuracy.approximate import ApproximateRunner
from gearshift_bench.accuracy.rooms import batches, does_rooms, figures, true_answers
from gearshift_bench.accuracy.runners import Runner, open_runner
from gearshift_bench.accuracy.tally import Tally
from gearshift_bench.accuracy.trade import EMULATED, NOT_MEASURED, measure_trade
from gearshift_bench.latency.configuration import Configuration
from gearshift_bench.progress import show_progress
from gearshift_export.demo.evaluate import METRIC_NAMES
from gearshift_export.demo.scenes import Scene

Records = list[dict[str, Any]]
Tallies = dict[str, Tally]
"""By task."""

REFERENCE = Configuration("torch", "float32", 1, None)
"""What everything is held against."""
EMULATOR = "torch, emulated"
NO_FIGURE = {"value": None, "value_float32": None, "change_percent": None}


@dataclass(frozen=True)
class Setting:
    """One way to run a model."""

    backend: str
    precision: str
    approximate: Sequence[str]
    runner: Runner
    configuration: Configuration | None
    """None: emulated, so that its time means nothing."""


def measure_accuracy(
    model: Path,
    configurations: Sequence[Configuration],
    rooms: Sequence[Scene],
    *,
    emulate: Sequence[Sequence[Approximation]] = (),
    fixed_point: bool = False,
    seconds: float = 1.0,
) -> Records:
    """The records of every task in every way, for a document's `accuracy`.

    Args:
        model: an artifact's folder.
        configurations: backends to run; the batch is that of the latency.
        rooms: at the card's size; a model of other tasks than theirs has no figures on them.
        emulate: approximations, each in an otherwise exact float32 run.
        fixed_point: the accelerator's integers, too.
        seconds: for how long each latency is measured, and energy at least; 0: neither is.

    Raises:
        GearshiftError: a backend that does not do what its configuration asks for.
    """
    graph = read_artifact(model)
    card = graph.card
    settings = [
        Setting(one.backend, one.precision, one.approximate, open_runner(model, one), one)
        for one in configurations
    ]
    for each in emulate:
        runner = ApproximateRunner(graph, each)
        settings.append(Setting(EMULATOR, "float32", each, runner, None))
    runners = [open_runner(model, REFERENCE), *(setting.runner for setting in settings)]
    reference, *tallies = _run(card, runners, rooms)
    scores = _scores(card, [reference, *tallies], rooms)
    records = []
    for setting, tally, score in zip(settings, tallies, scores[1:], strict=True):
        step = show_progress(setting.backend, len(tally))
        for task in tally:
            trade = _trade(model, card, setting, task, rooms, seconds)
            figure = _figure(task, score, scores[0])
            records.append(_record(task, setting, trade, figure, tally[task], len(rooms)))
            step()
    if fixed_point:
        from gearshift_bench.accuracy.fixed_point import fixed_point_records

        records += fixed_point_records(graph, rooms)
    order = [task.name for task in card.tasks]
    return sorted(records, key=lambda record: order.index(record["task"]))


def _run(card: Card, runners: Sequence[Runner], rooms: Sequence[Scene]) -> list[Tallies]:
    """Of each runner, the first of which is float32."""
    parts = [*batches(np.stack([room.image for room in rooms]))]
    tallies = [{task.name: Tally() for task in card.tasks} for _ in runners]
    step = show_progress("rooms", len(parts) * len(card.tasks))
    for part in parts:
        images = load_pictures(part, card)
        for number, task in enumerate(card.tasks):
            wanted = runners[0].run(images, number)
            for place, runner in enumerate(runners):
                found = runner.run(images, number) if place else wanted
                tally = tallies[place][task.name]
                tally.add(found, wanted)
                if does_rooms(card):
                    tally.keep(task.name, found.output, task.threshold)
            step()
    return tallies


def _scores(
    card: Card, tallies: Sequence[Tallies], rooms: Sequence[Scene]
) -> list[dict[str, float]]:
    """Of each runner, the figures by task; empty for a model of other tasks."""
    if not does_rooms(card):
        return [{} for _ in tallies]
    truth = true_answers(rooms)
    return [
        figures({task: one.predictions for task, one in tally.items()}, truth) for tally in tallies
    ]


def _trade(
    model: Path,
    card: Card,
    setting: Setting,
    task: str,
    rooms: Sequence[Scene],
    seconds: float,
) -> dict[str, Any]:
    configuration = setting.configuration
    if configuration is None:
        return dict(EMULATED)
    if seconds <= 0:
        return dict(NOT_MEASURED)
    images = [rooms[place % len(rooms)].image for place in range(configuration.batch)]
    image = load_pictures(np.stack(images), card)
    return measure_trade(model, configuration, task, image, seconds)


def _figure(task: str, found: dict[str, float], exact: dict[str, float]) -> dict[str, Any]:
    if not found:
        return {}
    value, reference = found[task], exact[task]
    return {
        "value": value,
        "value_float32": reference,
        "change_percent": 100 * (value / reference - 1) if reference else None,
    }


def _record(
    task: str,
    setting: Setting,
    trade: dict[str, Any],
    figure: dict[str, Any],
    tally: Tally,
    rooms: int,
) -> dict[str, Any]:
    return {
        "task": task,
        "backend": setting.backend,
        "precision": setting.precision,
        "approximate": " and ".join(setting.approximate) or "nothing",
        "metric": METRIC_NAMES[task] if figure else None,
        "routed_alike": tally.routed_alike or None,
        **({"loads_alike": tally.loads_alike} if tally.loads_alike else {}),
        **trade,
        **(figure or NO_FIGURE),
        "output_change_percent": 100 * tally.output_change,
        "rooms": rooms,
    }
