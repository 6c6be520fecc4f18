"""Where each weight lies in `weights.bin`: a function of the weights' order and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from gearshift.graph.graph import Graph

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "weights.bin"
CARD_FILE = "card.toml"

ALIGNMENT = 4096
"""Bytes; a memory page, so that each tensor can be mapped, read and dropped by itself."""

ITEM_SIZE = 4
"""Bytes of a float32, the only type of a weight."""


@dataclass(frozen=True)
class Extent:
    """Bytes of one weight in the file."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def lay_out(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Extent]:
    """Place weights one after the other, in the mapping's order, each on a page of its own."""
    extents: dict[str, Extent] = {}
    end = 0
    for name, shape in shapes.items():
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        extents[name] = Extent(offset, prod(shape) * ITEM_SIZE)
        end = extents[name].end
    return extents


def shapes_in_file_order(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights, in the order in which the nodes first read them."""
    nodes = [*graph.trunk, *(node for decoder in graph.decoders for node in decoder)]
    names = dict.fromkeys(name for node in nodes for name in node.inputs if name in graph.weights)
    return {name: graph.weights[name].shape for name in names}
