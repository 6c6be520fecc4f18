"""What the quantiser says of programs that the accelerator cannot run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gearshift.graph import Graph
from gearshift.specialise import specialise
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.quantise import unsupported

from ...engine.backends.programs import gate_ahead
from ...engine.conftest import GraphMaker


def reasons(graph: Graph, build: Build = SMALL_BUILD) -> list[str]:
    return unsupported(specialise(graph, 0), build)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"decoders": False}, {"routers": 1, "biased": True}, {"experts": 1, "top_k": 1}],
)
def test_what_fits_has_no_reasons(sizes: dict) -> None:
    assert reasons(GraphMaker(**sizes).make()) == []


def test_a_router_that_reads_ahead_of_its_block() -> None:
    (first, second) = reasons(gate_ahead(GraphMaker().make()))
    assert first == (
        "blocks.1.router: it reads blocks.0.add2, and the accelerator only the norm before its "
        "block (blocks.1.norm2)"
    )
    assert second.startswith("blocks.3.router")


def test_a_last_map_that_is_not_half_the_picture() -> None:
    (reason,) = reasons(GraphMaker(patch=10, height=20, width=30, stages=2).make())
    assert reason.startswith("decoders.rooms.resize: there is no command for resize_bilinear")
    assert "half the picture's size" in reason


def test_maps_that_are_enlarged_three_times() -> None:
    graph = GraphMaker(patch=8).make()
    decoder = tuple(
        replace(node, attributes={**node.attributes, "scale": 3})
        if node.name.endswith("conv_1")
        else node
        for node in graph.decoders[0]
    )
    (reason, *_) = reasons(replace(graph, decoders=(decoder, *graph.decoders[1:])))
    assert reason == "decoders.rooms.conv_1: maps are enlarged twice or not at all, not 3 times"


@pytest.mark.parametrize(
    ("sizes", "build", "reason"),
    [
        ({"dim": 129, "heads": 1}, SMALL_BUILD, "blocks.0.norm1: channels 144, at most 128"),
        ({"experts": 9}, SMALL_BUILD, "blocks.1.router: experts 9, at most 8 (max_experts)"),
        ({"top_k": 5}, SMALL_BUILD, "blocks.1.router: top_k 5, at most 4 (max_top_k)"),
        ({"dim": 40, "heads": 10}, SMALL_BUILD, "blocks.0.attention: heads 10, at most 8"),
        ({"dim": 40, "heads": 1}, SMALL_BUILD, "blocks.0.attention: head_dim 48, at most 32"),
        ({"hidden": 300}, SMALL_BUILD, "blocks.0.mlp: outputs 304, at most 256 (max_channels)"),
        ({"height": 128, "width": 128}, SMALL_BUILD, "tokens 257, at most 128"),
        ({"width": 48}, replace(SMALL_BUILD, hidden_bytes=512), "bytes of hidden_bytes, which"),
        ({}, replace(SMALL_BUILD, input_bytes=768), "decoders.rooms.conv_2: three rows"),
        ({}, replace(SMALL_BUILD, max_side=16), "decoders.rooms.conv_2: width 20, at most 16"),
    ],
)
def test_sizes_beyond_the_build_name_their_step(sizes: dict, build: Build, reason: str) -> None:
    found = reasons(GraphMaker(**sizes).make(), build)
    assert any(reason in one for one in found), found


def test_an_epsilon_below_the_accelerators_numbers() -> None:
    graph = GraphMaker().make()
    trunk = tuple(
        replace(node, attributes={"epsilon": 1e-12}) if node.name == "blocks.2.norm1" else node
        for node in graph.trunk
    )
    assert reasons(replace(graph, trunk=trunk)) == ["blocks.2.norm1: epsilon 0, at least 1"]


def test_saying_so_reads_no_weights() -> None:
    graph = GraphMaker().make()

    class Unread(dict):
        def __getitem__(self, name: str) -> np.ndarray:
            array = super().__getitem__(name)
            return array if name.endswith(("bias", "router.weight")) else Shape(array.shape)

    class Shape:
        def __init__(self, shape: tuple[int, ...]) -> None:
            self.shape = shape

    assert reasons(replace(graph, weights=Unread(graph.weights))) == []
