"""The reference model gives the answers of the upstream code, for every kind of network."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig
from gearshift_export.model import ExpertMixture, MultiTaskModel

TOLERANCE = 1e-4
"""Of float32 against float64, relative to the largest value; the promise made to users."""

PASCAL = tuple(
    TaskConfig(name, channels)
    for name, channels in (
        ("semseg", 21),
        ("human_parts", 7),
        ("sal", 1),
        ("normals", 3),
        ("edge", 1),
    )
)
SINGLE: dict[str, Any] = {"routing": Routing.SINGLE}
CONDITIONED: dict[str, Any] = {"routing": Routing.TASK_CONDITIONED, "task_embedding": 7}
WINDOW = {"experts_per_task": 4}

ROUTINGS: dict[str, dict[str, Any]] = {
    "multi_gate": {},
    "single": SINGLE,
    "task_conditioned": CONDITIONED,
    "multi_gate, window": WINDOW,
    "single, window": SINGLE | WINDOW,
    "task_conditioned, window": CONDITIONED | WINDOW,
    "multi_gate, ahead": {"gate_input_ahead": True},
    "single, ahead": SINGLE | {"gate_input_ahead": True},
    "task_conditioned, ahead": CONDITIONED | {"gate_input_ahead": True},
    "multi_gate, pruned": {"prune_scores": 0.3},
    "everything": CONDITIONED | WINDOW | {"gate_input_ahead": True, "prune_scores": 0.3},
}

SHAPES: dict[str, dict[str, Any]] = {
    "one patch": {"image_height": 16, "image_width": 16},
    "one column": {"image_height": 64, "image_width": 16},
    "8-pixel patches": {
        "patch_size": 8,
        "image_width": 24,
        "decoder": DecoderConfig(channels=10, stages=3),
    },
    "resized at the end": {"decoder": DecoderConfig(channels=10, stages=2)},
    "one stage": {"decoder": DecoderConfig(channels=10, stages=1)},
    "enlarged beyond the image": {
        "patch_size": 8,
        "image_height": 16,
        "image_width": 24,
        "decoder": DecoderConfig(channels=6, stages=4),
    },
    "encoder only": {"decoder": None},
    "one block": {"depth": 1},
    "odd depth": {"depth": 5},
    "one head": {"heads": 1},
    "all experts": {"top_k": 6},
    "one expert": {"experts": 1, "top_k": 1},
    "wide hidden": {"dense_hidden": 96, "expert_hidden": 61},
    "one task": {"tasks": PASCAL[:1]},
    "three tasks": {"tasks": PASCAL[:3]},
    "four tasks": {"tasks": PASCAL[:4]},
    "five tasks": {"tasks": PASCAL},
    "five tasks, conditioned": {"tasks": PASCAL, **CONDITIONED},
    "three tasks, window": {"tasks": PASCAL[:3], "experts_per_task": 5, **SINGLE},
}


@pytest.fixture(scope="session")
def agree(
    upstream: ModuleType,
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
    relative_error: Callable[..., float],
) -> Callable[..., None]:
    """Compare routes, tokens and answer of every task."""

    def agree(config: ModelConfig, seed: int, batch: int) -> None:
        image = pictures(config, batch, seed)
        state = upstream.clear_state_dict(config, image, seed)
        model = load(config, state)
        for task in range(len(config.tasks)):
            expected = upstream.encode(state, config, image, task)
            tokens, routed = model.encode(torch.from_numpy(image), task)
            assert len(routed) == len(expected.routes) == config.depth // 2
            for probabilities, route in zip(routed, expected.routes.values(), strict=True):
                index, score = ExpertMixture(config).route(probabilities)
                np.testing.assert_array_equal(index, route.expert_index)
                assert_allclose(score, route.gate_score, atol=TOLERANCE)
            assert relative_error(tokens, expected.tokens) < TOLERANCE
            answer = upstream.forward(state, config, image, task)
            assert relative_error(model(torch.from_numpy(image), task), answer) < TOLERANCE

    return agree


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("routing", ROUTINGS)
def test_every_routing(
    agree: Callable[..., None], fields: dict[str, Any], routing: str, batch: int
) -> None:
    agree(ModelConfig(**fields | ROUTINGS[routing]), seed=batch, batch=batch)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(agree: Callable[..., None], fields: dict[str, Any], shape: str) -> None:
    agree(ModelConfig(**fields | SHAPES[shape]), seed=4, batch=2)


@pytest.mark.parametrize("changes", [v for k, v in ROUTINGS.items() if "," in k])
def test_every_option_changes_the_answer(
    upstream: ModuleType,
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
    relative_error: Callable[..., float],
    fields: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    """Else a model that ignores an option would pass the tests above."""
    options = {"experts_per_task", "gate_input_ahead", "prune_scores"}
    with_option = ModelConfig(**fields | changes)
    without = ModelConfig(**fields | {k: v for k, v in changes.items() if k not in options})
    state = upstream.random_state_dict(with_option, seed=0)
    image = pictures(with_option)
    answers = [load(c, state)(torch.from_numpy(image), 1).numpy() for c in (with_option, without)]
    assert relative_error(*answers) > 10 * TOLERANCE


def test_epsilons_where_they_matter(
    upstream: ModuleType,
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
    relative_error: Callable[..., float],
    fields: dict[str, Any],
) -> None:
    """Faint tokens and a batch norm of tiny variance: each epsilon is as large as its variance."""
    config = ModelConfig(**fields | {"depth": 1})
    state = upstream.random_state_dict(config, seed=5)
    for key, value in state.items():
        if "pos_embed" in key or "cls_token" in key or "patch_embed" in key or "fc2" in key:
            state[key] = value * np.float32(1e-4)
        elif "attn.proj" in key:
            state[key] = value * np.float32(1e-3)
        elif "running_var" in key:
            state[key] = value * np.float32(1e-5)
    image = pictures(config)
    expected = upstream.forward(state, config, image, 0)
    actual = load(config, state)(torch.from_numpy(image), 0)
    assert relative_error(actual, expected) < TOLERANCE
    for name, other in (("LAYER_NORM_EPSILON", 1e-5), ("BATCH_NORM_EPSILON", 1e-3)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upstream, name, other)
            wrong = upstream.forward(state, config, image, 0)
        assert relative_error(actual, wrong) > 100 * TOLERANCE


@st.composite
def configurations(draw: st.DrawFn) -> ModelConfig:
    patch_size = draw(st.sampled_from([2, 4, 8]))
    head_dim, heads = draw(st.sampled_from([4, 6])), draw(st.integers(2, 3))
    tasks = draw(st.integers(1, 4))
    experts = draw(st.integers(1, 7))
    routing = draw(st.sampled_from(Routing))
    windowed = tasks <= 2 and draw(st.booleans())
    seen = draw(st.integers(1, experts)) if windowed else experts
    return ModelConfig(
        image_height=patch_size * draw(st.integers(1, 4)),
        image_width=patch_size * draw(st.integers(1, 4)),
        patch_size=patch_size,
        width=head_dim * heads,
        heads=heads,
        depth=draw(st.integers(1, 4)),
        dense_hidden=draw(st.integers(1, 20)),
        experts=experts,
        expert_hidden=draw(st.integers(1, 20)),
        top_k=draw(st.integers(1, seen)),
        tasks=PASCAL[:tasks],
        routing=routing,
        gate_input_ahead=draw(st.booleans()),
        task_embedding=draw(st.integers(3, 9)) if routing is Routing.TASK_CONDITIONED else 0,
        experts_per_task=seen if windowed else None,
        decoder=draw(st.none() | st.builds(DecoderConfig, st.integers(1, 6), st.integers(1, 3))),
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(config=configurations(), seed=st.integers(0, 99), batch=st.integers(1, 2))
def test_any_small_network(
    agree: Callable[..., None], config: ModelConfig, seed: int, batch: int
) -> None:
    agree(config, seed, batch)
