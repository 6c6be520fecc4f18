"""Models of published sizes with seeded weights: built, and put where the first builder's stays."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from gearshift.errors import ArtifactError
from gearshift.graph import write_artifact
from gearshift_export.config import DecoderConfig, ModelConfig, TaskConfig
from gearshift_export.export import make_card
from gearshift_export.model import Gate, MultiTaskModel
from gearshift_export.recipe import Recipe, load_recipe
from gearshift_export.to_graph import to_graph

SEED = 1


def published_config(recipe: Recipe, width: int, expert_hidden: int) -> ModelConfig:
    """The configuration that the published models of `recipe` share, at a given width."""
    tasks = []
    for task in recipe.tasks:
        assert task.channels is not None, "a published recipe states its channels"
        tasks.append(TaskConfig(task.name, task.channels))
    return ModelConfig(
        image_height=recipe.image_height,
        image_width=recipe.image_width,
        patch_size=16,
        width=width,
        heads=recipe.heads,
        depth=12,
        dense_hidden=4 * width,
        experts=16,
        expert_hidden=expert_hidden,
        top_k=recipe.top_k,
        tasks=tuple(tasks),
        decoder=DecoderConfig(channels=256, stages=4),
    )


def seeded_model(config: ModelConfig) -> MultiTaskModel:
    """Weights drawn from a fixed seed, scaled so that activations keep their size.

    Tokens spread over the experts: a router's logits have a deviation near one.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        model = MultiTaskModel(config)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.weight.normal_(1.0, 0.1)
                module.bias.normal_(0.0, 0.1)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, Gate):
                module.w_gate.normal_(0.0, len(module.w_gate) ** -0.5)
            if isinstance(module, nn.BatchNorm2d):
                _drift(module)
        # As large as what is seen, so that tokens differ and no expert is without any.
        model.backbone.pos_embed.normal_(0.0, 1.0)
        model.backbone.cls_token.normal_(0.0, 1.0)
    return model.requires_grad_(False).eval()


def _drift(norm: nn.BatchNorm2d) -> None:
    """Running statistics as training would leave them, so that folding them changes something."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_(0.0, 0.1)
    norm.running_var.uniform_(0.8, 1.2)


def build(artifact: Path, name: str, recipe_name: str, width: int, expert_hidden: int) -> None:
    """Write the artifact; whoever else builds it at the same time gets the same.

    Raises:
        ArtifactError: its folder cannot be written.
    """
    recipe = load_recipe(recipe_name)
    config = published_config(recipe, width, expert_hidden)
    provenance = {
        "model": f"{recipe.provenance}: published sizes only",
        "weights": f"seeded weights (seed {SEED}), not trained",
        "exporter": f"gearshift {version('gearshift')}",
    }
    card = replace(make_card(config, recipe, provenance), name=name)
    folder = artifact.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as workshop:
            built = Path(workshop) / artifact.name
            write_artifact(to_graph(seeded_model(config), card), built)
            _publish(built, artifact)
    except OSError as error:
        raise ArtifactError(f"model {name}: {folder} cannot be written: {error}") from None


def _publish(built: Path, artifact: Path) -> None:
    """Rename in one step, unless another process was faster: an artifact in use stays as it is."""
    try:
        built.rename(artifact)
    except OSError:
        if not artifact.is_dir():
            raise
