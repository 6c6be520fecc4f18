"""What the tests of whole programs share: sizes, poison, and a measure of errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from gearshift.backends import Compiled
from gearshift.backends.torch_arena import Arena
from gearshift.graph import Graph

SIZES: list[dict] = [
    {},
    {"patch": 4, "height": 4, "width": 4, "stages": 2},
    {"patch": 10, "height": 20, "width": 30, "stages": 2, "top_k": 5},
    {"routers": 1, "biased": True, "prune_scores": 0.2},
    {"experts": 1, "top_k": 1, "depth": 2, "decoders": False},
]
"""For `make_graph`: one token a side, every expert chosen, one router with shut experts, one
expert and no decoder."""

# float32 rounds at 6e-8; the longest chain here has about 2,000 roundings of values of order one.
FLOAT32 = 2e-5


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def poison(arena: Arena) -> None:
    """Every byte of an arena 0xFF: NaN as a float, -1 as an index."""
    arena.tensor(0, (arena.nbytes,), torch.uint8).fill_(255)


def gate_ahead(graph: Graph) -> Graph:
    """The routers read the block's input, before its attention."""
    trunk = []
    for node in graph.trunk:
        if node.operator == "Router":
            block = node.name.removesuffix(".router")
            before = f"blocks.{int(block.removeprefix('blocks.')) - 1}.add2"
            node = replace(node, inputs=(before, *node.inputs[1:]))
        trunk.append(node)
    return replace(graph, trunk=tuple(trunk))


def check_results_are_the_callers_own(
    compiled: Compiled, make_image: Callable[..., np.ndarray]
) -> None:
    """And the same bit for bit, whatever ran in between and whatever became of an earlier one."""
    first = compiled.run(make_image())
    kept = first.copy()
    other = compiled.run(make_image(seed=8))
    assert not np.shares_memory(first, other)
    np.testing.assert_array_equal(first, kept)
    assert (first != other).any()
    np.testing.assert_array_equal(compiled.run(make_image()), kept)
    first[:] = 0
    np.testing.assert_array_equal(compiled.run(make_image()), kept)
