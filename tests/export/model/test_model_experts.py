"""Awkward routes through the reference model: idle experts, crowds, ties, pruning, mixed tasks."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from gearshift_export.config import ModelConfig, Routing
from gearshift_export.model import ExpertMixture, MultiTaskModel

State = dict[str, NDArray[Any]]
Check = Callable[..., list[NDArray[Any]]]
TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def check(
    upstream: ModuleType,
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
    relative_error: Callable[..., float],
) -> Check:
    """Compare both evaluations with upstream; returns the experts that each block chose."""

    def check(config: ModelConfig, state: State, task: int = 0) -> list[NDArray[Any]]:
        image = pictures(config, batch=2)
        expected = upstream.forward(state, config, image, task)
        model = load(config, state)
        for evaluation in ("sparse", "dense"):
            answer = model(torch.from_numpy(image), task, evaluation)
            assert relative_error(answer, expected) < TOLERANCE
        routes = upstream.encode(state, config, image, task).routes
        return [route.expert_index for route in routes.values()]

    return check


def _steer(state: State, logits: dict[int, float]) -> State:
    """Give every token the same large pull towards (or from) experts, in every block and task.

    The second norm's first channel is made constant, and routers read it for those experts.
    """
    state = {key: value.copy() for key, value in state.items()}
    for key, value in state.items():
        if "norm2.weight" in key:
            value[0] = 0
        elif "norm2.bias" in key:
            value[0] = 1
        elif key.endswith("w_gate"):
            value[0] = 0
            for expert, logit in logits.items():
                value[0, expert] = logit
    return state


@pytest.mark.parametrize("routing", [Routing.MULTI_GATE, Routing.SINGLE])
def test_all_tokens_on_one_expert(
    upstream: ModuleType, fields: dict[str, Any], check: Check, routing: Routing
) -> None:
    config = ModelConfig(**fields | {"top_k": 1, "routing": routing})
    state = _steer(upstream.random_state_dict(config, seed=1), {3: 40})
    for chosen in check(config, state):
        assert_array_equal(chosen, np.full_like(chosen, 3))


def test_an_expert_that_every_token_and_one_that_no_token_chooses(
    upstream: ModuleType, fields: dict[str, Any], check: Check
) -> None:
    config = ModelConfig(**fields)
    state = _steer(upstream.random_state_dict(config, seed=2), {0: 5, 4: -40})
    for chosen in check(config, state, task=1):
        assert (chosen == 0).sum() == chosen[..., 0].size
        assert (chosen == 4).sum() == 0
        assert len(np.unique(chosen)) > 2


def test_weights_of_an_idle_expert_do_not_matter(
    upstream: ModuleType,
    fields: dict[str, Any],
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
) -> None:
    """Poison: sparse evaluation must not even touch the expert that nobody chose."""
    config = ModelConfig(**fields)
    state = _steer(upstream.random_state_dict(config, seed=2), {4: -40})
    image = torch.from_numpy(pictures(config))
    clean = load(config, state)(image, 0)
    for key, value in state.items():
        if ".experts." in key:
            value[4] = np.nan
    assert_array_equal(load(config, state)(image, 0), clean)


@pytest.mark.parametrize("experts", [6, 40])
def test_ties_go_to_the_first_experts(
    upstream: ModuleType, fields: dict[str, Any], check: Check, experts: int
) -> None:
    config = ModelConfig(**fields | {"top_k": 3, "experts": experts})
    state = upstream.random_state_dict(config, seed=3)
    for key, value in state.items():
        if key.endswith("w_gate"):
            value[:] = 0
    for chosen in check(config, state):
        assert_array_equal(chosen, np.broadcast_to([0, 1, 2], chosen.shape))
    index, score = ExpertMixture(config).route(torch.full((1, 50, experts), 1 / experts))
    assert_array_equal(index, np.broadcast_to([0, 1, 2], index.shape))
    assert_array_equal(score, np.full(score.shape, np.float32(1 / experts)))


def test_ties_within_a_window_go_to_its_first_experts(
    upstream: ModuleType, fields: dict[str, Any], check: Check
) -> None:
    config = ModelConfig(**fields | {"experts_per_task": 4, "routing": Routing.SINGLE})
    state = upstream.random_state_dict(config, seed=3)
    for key, value in state.items():
        if key.endswith("w_gate"):
            value[:] = 0
    for task, first in ((0, 0), (1, 2)):
        for chosen in check(config, state, task):
            assert_array_equal(chosen, np.broadcast_to([first, first + 1], chosen.shape))


def test_scores_are_pruned_at_and_below_the_threshold(fields: dict[str, Any]) -> None:
    mixture = ExpertMixture(ModelConfig(**fields | {"prune_scores": 0.25, "top_k": 3}))
    above = np.nextafter(np.float32(0.25), np.float32(1))
    probabilities = torch.tensor([[0.1, above, 0.0, 0.25, 0.2, 0.0], [0.5, 0, 0, 0.5, 0, 0]])
    index, score = mixture.route(probabilities)
    assert_array_equal(index, [[1, 3, 4], [0, 3, 1]])
    assert_array_equal(score, [[above, 0, 0], [0.5, 0.5, 0]])


def test_pruning_everything_leaves_experts_out(
    upstream: ModuleType, fields: dict[str, Any], check: Check, pictures: Callable[..., Any]
) -> None:
    config = ModelConfig(**fields | {"prune_scores": 1.0, "decoder": None})
    state = upstream.random_state_dict(config, seed=6)
    check(config, state)
    tokens = upstream.forward(state, config, pictures(config), 0)
    for key, value in state.items():
        if ".experts.h4toh." in key:
            value[:] = 0
    unpruned = ModelConfig(**fields | {"decoder": None})
    assert_array_equal(upstream.forward(state, unpruned, pictures(config), 0), tokens)


def test_kept_scores_are_not_renormalised(
    upstream: ModuleType,
    fields: dict[str, Any],
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
) -> None:
    config = ModelConfig(**fields)
    model = load(config, upstream.random_state_dict(config, seed=7))
    _, routed = model.encode(torch.from_numpy(pictures(config)), 0)
    for probabilities in routed:
        _, score = ExpertMixture(config).route(probabilities)
        assert float(score.sum(-1).max()) < 0.99
        np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"routing": Routing.SINGLE, "experts_per_task": 4},
        {"routing": Routing.TASK_CONDITIONED, "task_embedding": 5},
    ],
    ids=["multi_gate", "single, window", "task_conditioned"],
)
def test_a_batch_of_mixed_tasks_equals_separate_runs(
    upstream: ModuleType,
    fields: dict[str, Any],
    load: Callable[..., MultiTaskModel],
    pictures: Callable[..., Any],
    relative_error: Callable[..., float],
    changes: dict[str, Any],
) -> None:
    config = ModelConfig(**fields | changes)
    images = pictures(config, batch=3)
    state = upstream.clear_state_dict(config, images, seed=8)
    tasks = [1, 0, 1]
    tokens, routed = load(config, state).encode(torch.from_numpy(images), torch.tensor(tasks))
    assert [len(probabilities) for probabilities in routed] == [3, 3]
    for picture, task in enumerate(tasks):
        alone = upstream.encode(state, config, images[picture : picture + 1], task)
        assert relative_error(tokens[picture : picture + 1], alone.tokens) < TOLERANCE


def test_the_task_decides_route_and_answer(
    upstream: ModuleType, fields: dict[str, Any], pictures: Callable[..., Any]
) -> None:
    config = ModelConfig(**fields | {"decoder": None})
    state = upstream.random_state_dict(config, seed=9)
    image = pictures(config)
    first, second = (upstream.encode(state, config, image, task) for task in (0, 1))
    assert (first.routes[1].expert_index != second.routes[1].expert_index).any()
    shared = ModelConfig(**fields | {"decoder": None, "routing": Routing.SINGLE})
    state = upstream.random_state_dict(shared, seed=9)
    first, second = (upstream.encode(state, shared, image, task) for task in (0, 1))
    assert_array_equal(first.tokens, second.tokens)
