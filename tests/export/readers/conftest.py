"""A small network's upstream checkpoint on disk, and the recipe that fits it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gearshift.graph import TaskKind
from gearshift_export.config import ModelConfig
from gearshift_export.recipe import CheckpointFormat, Recipe, TaskRecipe


@pytest.fixture(scope="session")
def recipe_for() -> Callable[..., Recipe]:
    """The recipe of a ModelConfig: only what a checkpoint cannot say."""

    def recipe_for(config: ModelConfig, **changes: Any) -> Recipe:
        kinds = {"depth": TaskKind.DEPTH, "normals": TaskKind.NORMALS}
        usual = TaskKind.SEGMENTATION
        if config.decoder is None:
            kinds, usual = {}, TaskKind.TOKENS
        said: dict[str, Any] = {
            "name": "test",
            "format": CheckpointFormat.M3VIT,
            "top_k": config.top_k,
            "heads": config.heads,
            "image_height": config.image_height,
            "image_width": config.image_width,
            "gate_input_ahead": config.gate_input_ahead,
            "experts_per_task": config.experts_per_task,
            "prune_scores": config.prune_scores,
            "tasks": tuple(
                TaskRecipe(task.name, kinds.get(task.name, usual)) for task in config.tasks
            ),
        }
        return Recipe(**(said | changes))

    return recipe_for


@pytest.fixture(scope="session")
def tensors() -> Callable[..., dict[str, torch.Tensor]]:
    """Numpy arrays as tensors, under an optional prefix."""

    def tensors(state: dict[str, Any], prefix: str = "") -> dict[str, torch.Tensor]:
        return {prefix + key: torch.from_numpy(np.array(value)) for key, value in state.items()}

    return tensors


@pytest.fixture
def config(fields: dict[str, Any]) -> ModelConfig:
    return ModelConfig(**fields)


@pytest.fixture
def state(upstream: Any, config: ModelConfig, tensors: Any) -> dict[str, torch.Tensor]:
    """An upstream state dict of `config`, as tensors; a test may change it."""
    result: dict[str, torch.Tensor] = tensors(upstream.random_state_dict(config, 3))
    return result


@pytest.fixture
def recipe(recipe_for: Any, config: ModelConfig) -> Recipe:
    result: Recipe = recipe_for(config)
    return result


@pytest.fixture
def shards(tmp_path: Path) -> Callable[..., Path]:
    """Write a state dict as fastmoe's ranks do: all of it and the first experts in 0.pth."""

    def shards(
        state: dict[str, torch.Tensor], ranks: int, name: str = "best_model.pth.tar"
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        experts = {key: value for key, value in state.items() if "mlp.experts." in key}
        for rank in range(ranks):
            share = {key: value.chunk(ranks)[rank].clone() for key, value in experts.items()}
            held = state | share if rank == 0 else share
            wrapped = {f"module.{key}": value for key, value in held.items()}
            torch.save({"epoch": 9, "state_dict": wrapped}, folder / f"{rank}.pth")
        return folder

    return shards
