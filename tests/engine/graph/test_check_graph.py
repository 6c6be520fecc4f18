"""Graphs that cannot be written; faults that a file can hold as well are tested on files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift.errors import ArtifactError
from gearshift.graph import Graph, Node, write_artifact
from gearshift.graph.check import check_graph
from gearshift.graph.functions import functions


def with_weight(name: str, value: np.ndarray) -> Callable[[Graph], Graph]:
    return lambda graph: replace(graph, weights={**graph.weights, name: value})


def with_trunk(change: Callable[[tuple[Node, ...]], Any]) -> Callable[[Graph], Graph]:
    return lambda graph: replace(graph, trunk=tuple(change(graph.trunk)))


def with_card(**fields: object) -> Callable[[Graph], Graph]:
    return lambda graph: replace(graph, card=replace(graph.card, **fields))  # type: ignore[arg-type]


FAULTS: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "float64": (
        with_weight("patch_embedding.bias", np.zeros(21)),
        "weight 'patch_embedding.bias' is float64, not float32",
    ),
    "scalar": (
        with_weight("patch_embedding.bias", np.array(0, np.float32)),
        r"has shape \(\), which holds no tensor",
    ),
    "empty": (
        with_weight("patch_embedding.bias", np.zeros(0, np.float32)),
        r"has shape \(0,\), which holds no tensor",
    ),
    "unused": (
        with_weight("spare", np.zeros(1, np.float32)),
        r"weight 'spare' is used by no node",
    ),
    "reserved name": (
        with_weight("output.0", np.zeros(1, np.float32)),
        "weight name 'output.0' is empty, not printable, or begins with 'output.'",
    ),
    "empty trunk": (with_trunk(lambda trunk: ()), "does not begin with a PatchEmbedding"),
    "trunk without its end": (
        with_trunk(lambda trunk: trunk[:-1]),
        "the trunk ends in .*, not in 'tokens'",
    ),
    "decoders missing": (
        lambda graph: replace(graph, decoders=graph.decoders[:3]),
        "3 decoders for 4 tasks; want one a task, or none",
    ),
    "kinds without decoders": (
        lambda graph: replace(graph, decoders=()),
        "'rooms' is of kind 'segmentation' in a model without decoders",
    ),
    "card": (with_card(name=""), "field name is ''; want a printable name"),
    "TOML": (with_card(metrics={"x": None}), "the card cannot be written as TOML"),
    "surrogate": (with_card(name="\ud800"), "the card cannot be written as TOML"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault: str, make_graph: Callable[..., Graph], tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    graph = change(make_graph(depth=1))
    with pytest.raises(ArtifactError, match=f"m.gs cannot be written: .*{message}"):
        write_artifact(graph, tmp_path / "m.gs")
    assert not any(path.name.endswith(".gs") for path in tmp_path.rglob("*"))


def test_banks_of_one_size(make_graph: Callable[..., Graph]) -> None:
    """One function serves all mixtures, so all banks have the same number of experts."""
    graph = make_graph(depth=4, experts=3)
    first, second = [node for node in graph.trunk if node.operator == "ExpertMixture"]
    router = next(node for node in graph.trunk if node.name == "blocks.3.router")
    names = second.inputs[-4:]
    weight, bias = (graph.weights[name] for name in router.inputs[2:])
    weights = {name: w for name, w in graph.weights.items() if name not in names}
    weights |= {router.inputs[2]: weight[..., :2], router.inputs[3]: bias[:, :2]}
    smaller = replace(second, inputs=second.inputs[:-4])
    trunk = tuple(smaller if node is second else node for node in graph.trunk)
    with pytest.raises(ArtifactError, match="has 2 experts; want as many as the first bank's 3"):
        check_graph(replace(graph, trunk=trunk, weights=weights))
    assert len(first.inputs) == len(second.inputs)


def test_more_experts_than_a_file_should_hold(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(depth=2, experts=3)
    trunk = tuple(
        replace(node, inputs=(*node.inputs[:3], *node.inputs[3:7] * 1025))
        if node.operator == "ExpertMixture"
        else node
        for node in graph.trunk
    )
    weights = dict(graph.weights)
    weights["blocks.1.router.weight"] = np.zeros((4, 21, 1025), np.float32)
    weights["blocks.1.router.bias"] = np.zeros((4, 1025), np.float32)
    with pytest.raises(ArtifactError, match=r"has 1025 experts; .* at most 1024"):
        check_graph(replace(graph, trunk=trunk, weights=weights))


def test_functions_of_every_size() -> None:
    assert "ExpertMixture" not in {function.name for function in functions(0)}
    mixture = next(f for f in functions(3) if f.name == "ExpertMixture")
    assert len(mixture.input) == 3 + 4 * 3
    assert [f.SerializeToString() for f in functions(5)] == [
        f.SerializeToString() for f in functions(5)
    ]
