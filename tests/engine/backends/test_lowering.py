"""What the lowering fuses, what it leaves alone, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from gearshift.backends.lowering import Lowering, UnsupportedError, lower
from gearshift.graph import Graph
from gearshift.graph.graph import Node
from gearshift.specialise import specialise

from .programs import gate_ahead

MakeGraph = Callable[..., Graph]


def kernels(lowering: Lowering) -> list[str]:
    return [step.kernel for step in lowering.steps]


DENSE = ["linear", "attention", "linear_add", "linear", "linear_add"]
SPARSE = ["linear", "attention", "linear_add", "router", "expert_fc1", "expert_fc2", "combine_add"]


def test_a_block_becomes_a_handful_of_steps(graph: Graph) -> None:
    decoder = ["layer_norm", *["upsample_conv"] * 3, "linear", "resize_bilinear"]
    assert kernels(lower(specialise(graph, 0), "bfloat16")) == [
        "patch_embedding", *DENSE, *SPARSE, *DENSE, *SPARSE, *decoder
    ]  # fmt: skip


def test_the_residual_stream_stays_in_its_place(graph: Graph) -> None:
    lowering = lower(specialise(graph, 0), "float16")
    stream = ("patch_embedding", "blocks.0.add1", "blocks.1.add2", "blocks.2.add1", "tokens")
    assert len({lowering.values[name].offset for name in stream}) == 1
    assert {lowering.values[name].dtype for name in stream} == {"float32"}


def test_narrow_values_take_half_the_memory(make_graph: MakeGraph) -> None:
    program = specialise(make_graph(hidden=200, decoders=False), 0)
    wide, narrow = lower(program, "float32"), lower(program, "bfloat16")
    assert narrow.values["blocks.0.attention.qkv"].dtype == "bfloat16"
    assert narrow.values["blocks.1.router.gate_score"].dtype == "float32"
    assert narrow.arena_bytes < wide.arena_bytes


def test_rows_of_hidden_values_may_be_padded(graph: Graph) -> None:
    program = specialise(graph, 0)
    name, rows = "blocks.1.experts.hidden", 16 * 2
    assert lower(program, "bfloat16").values[name].shape == (rows, 18)
    assert lower(program, "bfloat16", row_bytes=64).values[name].shape == (rows, 32)
    assert lower(program, "float32", row_bytes=64).values[name].shape == (rows, 32)
    assert lower(program, "float32", row_bytes=4).values[name].shape == (rows, 18)


def test_nothing_alive_shares_memory(graph: Graph) -> None:
    """Each input is intact when it is read: no write between its own step and the reader's."""
    lowering = lower(specialise(graph, 1, 2), "bfloat16")
    owner: dict[int, str] = {}
    sizes = {"float32": 4, "bfloat16": 2, "int32": 4}

    def span(name: str) -> range:
        value = lowering.values[name]
        count = sizes[value.dtype]
        for length in value.shape:
            count *= length
        return range(value.offset, value.offset + count, 2)

    owner.update(dict.fromkeys(span("image"), "image"))
    for step in lowering.steps:
        for name in step.inputs:
            if name not in lowering.kept:
                assert {owner[byte] for byte in span(name)} == {name}, (step.name, name)
        for name in step.outputs:
            if name not in lowering.kept:
                owner.update(dict.fromkeys(span(name), name))
    assert {owner[byte] for byte in span("output")} == {"output"}


def test_sums_may_name_the_stream_second(graph: Graph) -> None:
    swapped = tuple(
        replace(node, inputs=node.inputs[::-1]) if node.operator == "Add" else node
        for node in graph.trunk
    )
    wanted = kernels(lower(specialise(graph, 0), "float32"))
    assert kernels(lower(specialise(replace(graph, trunk=swapped), 0), "float32")) == wanted


def test_a_router_ahead_of_its_block_normalises_nothing(graph: Graph) -> None:
    lowering = lower(specialise(gate_ahead(graph), 0), "float32")
    found = kernels(lowering)
    assert found.count("layer_norm") == 3
    for step, following in pairwise(lowering.steps):
        if step.kernel == "router":
            assert "epsilon" not in step.attributes
            assert step.inputs[0].endswith("add2")
            assert following.kernel == "layer_norm"


def test_an_enlargement_without_a_kernel_is_named(graph: Graph) -> None:
    program = specialise(graph, 0)
    steps = tuple(
        replace(step, attributes={**step.attributes, "scale": 3})
        if step.name == "decoders.rooms.conv_1"
        else step
        for step in program.steps
    )
    with pytest.raises(UnsupportedError, match=r"conv_1: no kernel enlarges by 3"):
        lower(replace(program, steps=steps), "float32")


def test_a_sum_of_other_things_is_named(graph: Graph) -> None:
    doubled = list(graph.trunk)
    position = next(i for i, node in enumerate(doubled) if node.name == "blocks.1.norm1")
    before = doubled[position].inputs[0]
    doubled.insert(position, Node("Add", "twice", (before, before), ("twice",), {}))
    doubled[position + 1] = replace(
        doubled[position + 1], inputs=("twice", *doubled[position + 1].inputs[1:])
    )
    with pytest.raises(UnsupportedError, match="step twice: no kernel for add on its own"):
        lower(specialise(replace(graph, trunk=tuple(doubled)), 0), "float32")
