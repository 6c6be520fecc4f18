"""From a training folder to the artifact that ships."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gearshift.graph import Card, write_artifact
from gearshift_export.checkpoint import read_m3vit
from gearshift_export.demo.dataset import render_split
from gearshift_export.demo.evaluate import Evaluation, evaluate
from gearshift_export.demo.train import TrainOptions, train
from gearshift_export.export import checkpoint_provenance, make_card
from gearshift_export.recipe import load_recipe
from gearshift_export.to_graph import to_graph


def make_demo(
    folder: Path, options: TrainOptions, output: Path, report: Callable[[str], None] = print
) -> None:
    """Train in `folder` (or go on there), measure on the test rooms, write the artifact `output`.

    Raises:
        InputError: `folder` holds a run with other options.
        ArtifactError: `output` cannot be written.
    """
    checkpoint = train(folder, options)
    recipe = load_recipe("demo")
    model = read_m3vit(checkpoint, recipe, report)
    training = render_split(folder, "train", options.scenes, os.cpu_count() or 1)
    evaluation = evaluate(model, folder, training)
    card = make_card(model.config, recipe, checkpoint_provenance(checkpoint, recipe))
    write_artifact(to_graph(model, with_figures(card, evaluation)), output)
    for name, value in evaluation.figures.items():
        average = evaluation.average_predictor[name]
        report(f"{name}: {value:.4g} (average predictor {average:.4g})")


def with_figures(card: Card, evaluation: Evaluation) -> Card:
    """The card with the measured figures and the edge threshold that they were measured with."""
    tasks = tuple(
        replace(task, threshold=evaluation.edge_threshold) if task.name == "edge" else task
        for task in card.tasks
    )
    return replace(card, tasks=tasks, metrics=evaluation.card_metrics())
