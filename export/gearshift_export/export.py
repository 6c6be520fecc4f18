"""From a checkpoint and its recipe to an artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from gearshift.graph import Card, TaskCard, TaskKind, write_artifact
from gearshift.graph.write import check_replaceable
from gearshift_export.checkpoint import read_m3vit
from gearshift_export.config import ModelConfig, TaskConfig
from gearshift_export.edge_moe import read_edge_moe
from gearshift_export.model import MultiTaskModel
from gearshift_export.recipe import CheckpointFormat, Recipe, TaskRecipe
from gearshift_export.to_graph import to_graph


def export_checkpoint(
    checkpoint: Path, recipe: Recipe, output: Path, report: Callable[[str], None] = print
) -> None:
    """Write the artifact `output` (a folder, `NAME.gs`); the same checkpoint gives the same bytes.

    `report` receives the keys or files that were ignored, then a summary, line by line.

    Raises:
        CheckpointError: the checkpoint cannot be read as the recipe says.
        ArtifactError: `output` cannot be written.
    """
    checkpoint, output = checkpoint.expanduser(), output.expanduser()
    check_replaceable(output)
    read = read_edge_moe if recipe.format is CheckpointFormat.EDGE_MOE else read_m3vit
    model = read(checkpoint, recipe, report)
    if doubt := _doubt(model.config, recipe):
        report(doubt)
    card = make_card(model.config, recipe, checkpoint_provenance(checkpoint, recipe))
    write_artifact(to_graph(model, card), output)
    for line in _summary(model, card, output):
        report(line)


def make_card(config: ModelConfig, recipe: Recipe, provenance: dict[str, str]) -> Card:
    """What the recipe says, with the channels that the model has."""
    tasks = zip(config.tasks, recipe.tasks, strict=True)
    return Card(
        name=recipe.name,
        image_height=config.image_height,
        image_width=config.image_width,
        tasks=tuple(_task_card(task, said, config) for task, said in tasks),
        preprocessing=recipe.preprocessing,
        provenance=provenance,
    )


def _task_card(task: TaskConfig, said: TaskRecipe, config: ModelConfig) -> TaskCard:
    if config.decoder is None:
        return TaskCard(task.name, TaskKind.TOKENS, config.width)
    return TaskCard(
        name=task.name,
        kind=said.kind,
        channels=task.channels,
        labels=said.labels,
        colours=said.colours,
        unit=said.unit,
        threshold=said.threshold,
    )


def checkpoint_provenance(checkpoint: Path, recipe: Recipe) -> dict[str, str]:
    """Where the weights come from: names and hashes, no folders and no dates."""
    entries = {"checkpoint": checkpoint.resolve().name}
    if checkpoint.is_file():
        with checkpoint.open("rb") as file:
            entries["checkpoint_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    entries |= {"recipe": recipe.name, "exporter": f"gearshift {version('gearshift')}"}
    return entries | ({"model": recipe.provenance} if recipe.provenance else {})


def _doubt(config: ModelConfig, recipe: Recipe) -> str:
    """No checkpoint stores top_k; experts of another size hint at another top_k."""
    if recipe.expert_hidden in (None, config.expert_hidden):
        return ""
    return (
        f"note: the experts have {config.expert_hidden} hidden units, but recipe {recipe.name} is "
        f"for {recipe.expert_hidden} with top_k {recipe.top_k}: if top_k differs too, the outputs "
        "will be wrong; copy the recipe and correct it"
    )


def _summary(model: MultiTaskModel, card: Card, output: Path) -> list[str]:
    config = model.config
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    size = sum(file.stat().st_size for file in output.iterdir()) / 1e6
    lines = [
        f"{output}: {size:.1f} MB, {parameters:.1f} M parameters, "
        f"image {config.image_height}x{config.image_width}, "
        f"{config.depth} blocks of width {config.width}, "
        f"{config.experts} experts of {config.expert_hidden}, top_k {config.top_k}, "
        f"routing {config.routing}"
    ]
    for index, task in enumerate(card.tasks):
        lines.append(f"task {index} {task.name}: {task.kind}, {task.channels} channels")
    return lines
