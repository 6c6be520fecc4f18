"""Programs: what is in them, what is folded, what is counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gearshift.errors import InputError
from gearshift.graph import Graph
from gearshift.specialise import specialise
from gearshift.weights import WeightStore


def test_one_task_only(graph: Graph) -> None:
    program = specialise(graph, "depth")
    assert program.task == 1
    assert {step.name for step in program.steps} == {node.name for node in graph.nodes(1)}
    assert not [name for name in program.weights if "rooms" in name or "normals" in name]
    assert program.values[program.output].shape == (1, 1, 24, 40)
    written = [program.input]
    for step in program.steps:
        assert set(step.inputs) <= set(written)
        written += step.outputs
    assert sorted(written) == sorted(program.values)


def test_router_row_and_zero_bias(make_graph: Callable[..., Graph]) -> None:
    plain, biased = make_graph(), make_graph(biased=True, routers=1)
    router = next(step for step in specialise(plain, 2).steps if step.kernel == "router")
    assert router.weights == ("blocks.1.router.weight[2]",)
    router = next(step for step in specialise(biased, 2).steps if step.kernel == "router")
    assert router.weights == ("blocks.1.router.weight[0]", "blocks.1.router.bias[2]")
    program = specialise(biased, 2)
    for name, key in zip(router.weights, ("weight", "bias"), strict=True):
        source = biased.weights[f"blocks.1.router.{key}"]
        assert np.shares_memory(program.weights[name], source)
        np.testing.assert_array_equal(program.weights[name], source[2 if key == "bias" else 0])


def test_all_other_weights_are_views(graph: Graph) -> None:
    weights = specialise(graph, 0).weights
    made = {name for name in weights if name not in graph.weights and not name.endswith("]")}
    assert made == {"patch_embedding.table@3x5"} | {
        f"decoders.rooms.conv_{stage}.{part}.folded"
        for stage in range(3)
        for part in ("weight", "bias")
    }
    for name in weights.keys() & graph.weights.keys():
        assert weights[name] is graph.weights[name]


def test_programs_of_one_store_share_what_is_folded(graph: Graph) -> None:
    store = WeightStore(graph.weights)
    first, second = specialise(graph, 0, weights=store), specialise(graph, 1, 3, weights=store)
    table = "patch_embedding.table@3x5"
    assert first.weights[table] is second.weights[table]
    with pytest.raises(KeyError):
        second.weights["decoders.rooms.conv_0.weight.folded"]


def test_specialising_reads_no_large_weight(graph: Graph) -> None:
    class Untouchable(np.ndarray):
        def __array_ufunc__(self, *args: object, **kwargs: object) -> object:
            raise AssertionError("read")

    weights = {
        name: array if name.endswith("router.bias") else array.view(Untouchable)
        for name, array in graph.weights.items()
    }
    program = specialise(Graph(graph.card, graph.trunk, graph.decoders, weights), 0)
    with pytest.raises(AssertionError, match="read"):
        program.weights["decoders.rooms.conv_0.weight.folded"]


def test_macs_by_hand(graph: Graph) -> None:
    macs = {step.name: step.macs for step in specialise(graph, 0, batch=2).steps}
    patches, tokens, dim, hidden = 2 * 15, 2 * 16, 21, 18
    assert macs["patch_embedding"] == patches * 3 * 8 * 8 * dim
    attention = tokens * dim * 3 * dim + 2 * tokens * 16 * dim + tokens * dim * dim
    assert macs["blocks.0.attention"] == attention
    assert macs["blocks.0.mlp"] == tokens * 2 * dim * hidden
    assert macs["blocks.1.router"] == tokens * dim * 5
    assert macs["blocks.1.experts"] == tokens * 2 * 2 * dim * hidden
    assert macs["decoders.rooms.conv_0"] == 2 * 3 * 5 * 9 * dim * 10
    assert macs["decoders.rooms.conv_1"] == 2 * 6 * 10 * 9 * 10 * 10
    assert macs["decoders.rooms.head"] == 2 * 12 * 20 * 10 * 4


def test_the_last_resize_goes_when_nothing_changes(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(patch=8, stages=2)
    assert specialise(graph, 0).steps[-1].kernel == "resize_bilinear"
    decoder = make_graph(patch=4, stages=2, height=8, width=8).decoders[0]
    assert decoder[-1].operator == "Head"
    same_size = specialise(
        Graph(graph.card, graph.trunk, (_without_patch(graph), *graph.decoders[1:]), graph.weights),
        0,
    )
    assert same_size.output != "output"
    assert same_size.values[same_size.output].shape == (1, 4, 24, 40)


def _without_patch(graph: Graph) -> tuple:
    """The first decoder with a third, repeated doubling: its resize then has nothing to do."""
    from gearshift.graph import Node

    *nodes, head, resize = graph.decoders[0]
    last = nodes[-1]
    again = Node(last.operator, "again", ("twice", *last.inputs[1:]), last.outputs, last.attributes)
    renamed = Node(last.operator, last.name, last.inputs, ("twice",), last.attributes)
    return (*nodes[:-1], renamed, again, head, resize)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "dept"}, "no task 'dept': choose from rooms, depth, normals, edges"),
        ({"task": 4}, "no task 4"),
        ({"task": -1}, "no task -1"),
        ({"task": ["depth"]}, "no task of type list: choose from rooms"),
        ({"task": np.zeros(2)}, "no task of type ndarray"),
        ({"task": 0, "batch": 0}, "batch of 0 images"),
        ({"task": 0, "height": 30}, "height 30 is not a multiple of the patch size 8.* 24 or 32"),
        ({"task": 0, "width": 5}, "width 5 .* resize it to 8$"),
        ({"task": 0, "width": 0}, "width 0 .* resize it to 8$"),
    ],
    ids=str,
)
def test_bad_requests(graph: Graph, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specialise(graph, **arguments)


def test_table_for_a_person(graph: Graph) -> None:
    program = specialise(graph, "edges")
    lines = program.table().splitlines()
    assert lines[0] == "random, task edges, image 1x3x24x40"
    assert len(lines) == len(program.steps) + 3
    assert lines[-1].startswith(f"{len(program.steps)} steps, weights ")
    row = next(line for line in lines if "blocks.1.experts" in line)
    assert "expert_mixture" in row
    assert "1x16x21" in row
