"""The graph of a model computes what the model computes, and keeps the names agreed on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gearshift.graph import IMAGE, OPERATORS, OUTPUT, TASK, TOKENS, Card
from gearshift_export.config import ModelConfig, Routing
from gearshift_export.model import MultiTaskModel
from gearshift_export.to_graph import to_graph


def test_graph_computes_what_the_model_computes(
    config: ModelConfig, model: MultiTaskModel, card: Card, image: Any, evaluate: Any
) -> None:
    graph = to_graph(model, card)
    assert graph.card is card
    for task in range(len(config.tasks)):
        expected = model(torch.from_numpy(image), task).numpy()
        actual = evaluate(graph, image, task)
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_nodes_keep_to_the_vocabulary(model: MultiTaskModel, card: Card) -> None:
    graph = to_graph(model, card)
    used: set[str] = set()
    for task in range(len(card.tasks)):
        known = {IMAGE, TASK, *graph.weights}
        for node in graph.nodes(task):
            operator = OPERATORS[node.operator]
            extra = len(node.inputs) - len(operator.inputs)
            assert extra == len(operator.repeated) * (extra // max(len(operator.repeated), 1))
            assert extra == 0 or operator.repeated
            assert len(node.outputs) == len(operator.outputs)
            assert {n: type(v) for n, v in node.attributes.items()} == dict(operator.attributes)
            assert set(node.inputs) <= known, f"{node.name} comes before its inputs"
            assert not set(node.outputs) & known, f"{node.name} overwrites a value"
            known |= set(node.outputs)
            used |= set(node.inputs) & set(graph.weights)
        assert graph.trunk[-1].outputs == (TOKENS,)
        assert not graph.decoders or graph.decoders[task][-1].outputs == (OUTPUT,)
    assert used == set(graph.weights), "a weight that no node reads"
    for name, weight in graph.weights.items():
        assert weight.dtype == np.float32, name
        assert weight.flags.c_contiguous, name


def test_names(config: ModelConfig, model: MultiTaskModel, card: Card) -> None:
    graph = to_graph(model, card)
    names = [node.name for node in graph.trunk]
    assert names[:7] == [
        "patch_embedding",
        "blocks.0.norm1",
        "blocks.0.attention",
        "blocks.0.add1",
        "blocks.0.norm2",
        "blocks.0.mlp",
        "blocks.0.add2",
    ]
    assert names[11:14] == ["blocks.1.router", "blocks.1.experts", "blocks.1.add2"]
    assert graph.weights["patch_embedding.positions"].shape == (1, config.width, *config.grid)
    routers = len(config.tasks) if config.routing is Routing.MULTI_GATE else 1
    weight = graph.weights["blocks.1.router.weight"]
    assert weight.shape == (routers, config.width, config.experts)
    assert graph.weights["blocks.1.router.bias"].shape == (len(config.tasks), config.experts)
    expert = graph.weights["blocks.1.experts.5.fc1_weight"]
    assert expert.shape == (config.expert_hidden, config.width)
    if config.decoder:
        stages = [f"decoders.depth.conv_{i}" for i in range(config.decoder.stages)]
        resize = [] if config.patch_size == 2**config.decoder.stages else ["decoders.depth.resize"]
        assert [node.name for node in graph.decoders[1]] == [
            "decoders.depth.norm",
            "decoders.depth.features",
            *stages,
            "decoders.depth.head",
            *resize,
        ]
        assert [n.attributes["scale"] for n in graph.decoders[1][2 : 2 + len(stages)]] == [
            1,
            *[2] * (len(stages) - 1),
        ]


def test_windows_are_minus_infinity(model: MultiTaskModel, card: Card) -> None:
    bias = to_graph(model, card).weights["blocks.1.router.bias"]
    for task in range(len(card.tasks)):
        window = model.config.expert_window(task)
        inside = np.zeros(model.config.experts, dtype=bool)
        inside[window.start : window.stop] = True
        assert np.array_equal(np.isneginf(bias[task]), ~inside)
        if not model.config.task_embedding:
            assert not bias[task][inside].any()


def test_weights_are_not_copied(model: MultiTaskModel, card: Card) -> None:
    weight = to_graph(model, card).weights["blocks.1.experts.2.fc2_weight"]
    bank = model.backbone.blocks[1].mlp.experts.h4toh.weight
    assert weight.__array_interface__["data"][0] == bank[2].data_ptr()


def test_the_card_must_be_the_models(model: MultiTaskModel, card: Card) -> None:
    with pytest.raises(ValueError, match="are not the model's"):
        to_graph(model, replace(card, tasks=card.tasks[:1]))
    with pytest.raises(ValueError, match="image size is not"):
        to_graph(model, replace(card, image_height=64))
