"""Seeded random models of every routing, and a float64 evaluation of graphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gearshift.graph import IMAGE, OUTPUT, TASK, TOKENS, Card, Graph, TaskCard, TaskKind
from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig
from gearshift_export.model import MultiTaskModel
from gearshift_kernels import oracle

FIELDS: dict[str, Any] = {
    "image_height": 32,
    "image_width": 48,
    "patch_size": 8,
    "width": 24,
    "heads": 3,
    "depth": 4,
    "dense_hidden": 40,
    "experts": 6,
    "expert_hidden": 20,
    "top_k": 2,
    "tasks": (TaskConfig("semseg", 5), TaskConfig("depth", 1), TaskConfig("normals", 3)),
    "decoder": DecoderConfig(channels=8, stages=3),
}
CONDITIONED = {"routing": Routing.TASK_CONDITIONED, "task_embedding": 7}
VARIANTS: dict[str, dict[str, Any]] = {
    "multi_gate": {},
    "single": {"routing": Routing.SINGLE},
    "task_conditioned": CONDITIONED,
    "experts_from_task": {"routing": Routing.SINGLE, "experts_per_task": 5},
    "conditioned_window": CONDITIONED | {"experts_per_task": 5},
    "gate_input_ahead": {"gate_input_ahead": True},
    "conditioned_ahead": CONDITIONED | {"gate_input_ahead": True},
    "pruned": {"prune_scores": 0.25},
    "all_experts": {"top_k": 6},
    "encoder_only": {"decoder": None},
    "resized": {"decoder": DecoderConfig(channels=6, stages=2)},
    "dense_last": {"depth": 3},
    "one_patch": {"image_height": 8, "image_width": 8},
}


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return ModelConfig(**(FIELDS | VARIANTS[request.param]))


@pytest.fixture
def model(config: ModelConfig, upstream: Any) -> MultiTaskModel:
    """Upstream weights whose routes survive rounding for the pictures of `image`."""
    state = upstream.clear_state_dict(config, picture(config), seed=11)
    model = MultiTaskModel(config)
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    model.load_state_dict(tensors, strict=True)
    return model.eval().requires_grad_(False)


@pytest.fixture
def image(config: ModelConfig) -> NDArray[np.float32]:
    return picture(config)


def picture(config: ModelConfig) -> NDArray[np.float32]:
    shape = (3, 3, config.image_height, config.image_width)
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


@pytest.fixture
def card(config: ModelConfig) -> Card:
    kinds = {"semseg": TaskKind.SEGMENTATION, "depth": TaskKind.DEPTH, "normals": TaskKind.NORMALS}
    tasks = tuple(
        TaskCard(task.name, kinds[task.name], task.channels)
        if config.decoder
        else TaskCard(task.name, TaskKind.TOKENS, config.width)
        for task in config.tasks
    )
    return Card("test", config.image_height, config.image_width, tasks)


@pytest.fixture(scope="session")
def evaluate() -> Callable[[Graph, NDArray[np.float32], int], NDArray[Any]]:
    """The result of a task by the plain formulas of `gearshift_kernels.oracle`."""

    def evaluate(graph: Graph, image: NDArray[np.float32], task: int) -> NDArray[Any]:
        values: dict[str, Any] = dict(graph.weights) | {IMAGE: image, TASK: task}
        for node in graph.nodes(task):
            results = _operator(node.operator)(
                *(values[name] for name in node.inputs), **node.attributes
            )
            outputs = results if isinstance(results, tuple) else (results,)
            values.update(zip(node.outputs, outputs, strict=True))
        result: NDArray[Any] = values[OUTPUT if graph.decoders else TOKENS]
        return result

    return evaluate


def _operator(name: str) -> Callable[..., Any]:
    if name == "Add":
        return np.add
    if name == "ResizeToImage":
        return lambda x, image: oracle.resize_bilinear(x, *image.shape[2:])
    function: Callable[..., Any] = getattr(oracle, re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower())
    return function
