"""The check before the race: what it lets through, and what not."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
import torch

from gearshift.backends import Precision
from gearshift.graph import IMAGE, Graph
from gearshift.program import Program
from gearshift.specialise import specialise
from gearshift_bench.peers.agreement import UNITS, Reference, references, relative_error
from gearshift_bench.peers.parts import PARTS
from gearshift_bench.peers.plain_torch import PlainModule

from ..engine.conftest import GraphMaker, oracle_values

TASK = 1
PRECISIONS: tuple[Precision, ...] = tuple(UNITS)


def made(sizes: dict[str, Any]) -> tuple[Graph, Program, np.ndarray]:
    graph = GraphMaker(**sizes).make()
    program = specialise(graph, TASK)
    image = np.random.default_rng(3).standard_normal(program.values[IMAGE].shape, dtype=np.float32)
    return graph, program, image


def with_ties(graph: Graph) -> Graph:
    """Two experts of every router score the same for every token: a tie wherever both are best."""
    for name, weight in graph.weights.items():
        if name.endswith("router.weight"):
            weight[..., 1] = weight[..., 0]  # type: ignore[index]
    return graph


def test_references_are_the_oracle_for_both_parts() -> None:
    graph, program, image = made({})
    expected = oracle_values(graph, TASK, image)
    found = references(program, image, PARTS)
    np.testing.assert_allclose(found["encoder"].output, expected["tokens"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["task"].output, expected["output"], rtol=1e-5, atol=1e-6)
    alone = references(program, image, ["encoder"])
    np.testing.assert_array_equal(alone["encoder"].output, found["encoder"].output)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_right_output_in_its_precision_is_right(precision: Precision) -> None:
    _, program, image = made({})
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    found = references(program, image, PARTS)
    values = PlainModule(program, dtype).values(torch.from_numpy(image))
    for part, name in (("encoder", "tokens"), ("task", "output")):
        agreement = found[part].agreement(values[name].float().numpy(), precision)  # type: ignore[index]
        assert 0 < agreement.error <= agreement.allowed
        assert agreement.is_right


def test_bfloat16_passed_off_as_float32_is_wrong() -> None:
    _, program, image = made({})
    found = references(program, image, ["task"])["task"]
    output = PlainModule(program, torch.bfloat16)(torch.from_numpy(image)).numpy()
    assert not found.agreement(output, "float32").is_right


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_wrong_task_is_wrong_in_every_precision(precision: Precision) -> None:
    graph, program, image = made({"routers": 4})
    found = references(program, image, ["encoder"])["encoder"]
    other = specialise(graph, TASK + 1)
    output = PlainModule(other, torch.float32).values(torch.from_numpy(image))["tokens"]
    agreement = found.agreement(output.numpy(), precision)
    assert agreement.error > 2 * found.arithmetic[precision]


def test_a_tanh_gelu_is_wrong_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    _, program, image = made({})
    found = references(program, image, ["encoder"])["encoder"]
    gelu = torch.nn.functional.gelu
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: gelu(x, approximate="tanh"))
    output = PlainModule(program, torch.float32).values(torch.from_numpy(image))["tokens"]
    assert not found.agreement(output.numpy(), "float32").is_right


def test_near_ties_are_counted_and_what_they_change_is_allowed() -> None:
    """Experts 0 and 1 tie for all tokens; a run that keeps the other one is as right as ours."""
    sizes = {"top_k": 1, "depth": 2, "experts": 2}
    graph, _, image = made(sizes)
    tied = specialise(with_ties(graph), TASK)
    found = references(tied, image, ["encoder"])["encoder"]
    assert found.near_ties == dict.fromkeys(PRECISIONS, 1.0)
    assert found.flips["float32"] > 10 * found.arithmetic["float32"]
    swapped = swap_experts(tied)
    output = PlainModule(swapped, torch.float32).values(torch.from_numpy(image))["tokens"]
    agreement = found.agreement(output.numpy(), "float32")
    assert agreement.error == pytest.approx(found.flips["float32"], rel=1e-3)
    assert agreement.is_right
    _, untied, _ = made(sizes)
    strict = references(untied, image, ["encoder"])["encoder"]
    assert strict.near_ties["float32"] == strict.flips["float32"] == 0.0


def swap_experts(program: Program) -> Program:
    """The first expert's weights in the place of the second's, and the other way round."""
    steps = []
    for step in program.steps:
        if step.kernel == "expert_mixture":
            weights = step.weights
            step = replace(step, weights=(*weights[4:8], *weights[:4]))
        steps.append(step)
    return replace(program, steps=tuple(steps))


def test_without_near_ties_routing_explains_nothing() -> None:
    _, program, image = made({"experts": 3, "top_k": 3})
    found = references(program, image, PARTS)
    for reference in found.values():
        assert set(reference.flips.values()) == {0.0}
        assert set(reference.near_ties.values()) == {0.0}


def test_experts_that_a_task_may_not_use_never_tie() -> None:
    """Their logits are minus infinity, and so is the gap's other end."""
    graph, program, image = made({"biased": True, "experts": 2, "top_k": 1, "depth": 2})
    assert np.isneginf(graph.weights["blocks.1.router.bias"][TASK, 0])  # type: ignore[index]
    found = references(program, image, ["encoder"])["encoder"]
    assert set(found.near_ties.values()) == {0.0}
    assert set(found.flips.values()) == {0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_number_and_no_shape_passes(bad: float) -> None:
    right = np.ones((1, 4, 3))
    reference = Reference(right, dict.fromkeys(UNITS, 1e9), dict.fromkeys(UNITS, 0.0), {})
    reference = replace(reference, near_ties=dict.fromkeys(UNITS, 0.0))
    output = right.copy()
    assert reference.agreement(output, "float32").is_right
    output[0, 2, 1] = bad
    assert reference.agreement(output, "float32").error == inf
    assert not reference.agreement(output, "float32").is_right
    assert not reference.agreement(right[0], "float32").is_right


def test_errors_are_relative_root_mean_squares() -> None:
    assert relative_error(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == pytest.approx(0.2)
    assert relative_error(np.zeros(2), np.zeros(2)) == 0.0
