"""The expert-sparse graph in memory: nodes of a fixed vocabulary, and weights by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gearshift.graph.card import Card

Attribute = int | float
Array = NDArray[np.generic]

IMAGE = "image"
"""Graph input: float32 (N, 3, H, W), already normalised."""
TASK = "task"
"""Graph input: int64 scalar, the index of the task."""
TOKENS = "tokens"
"""What the trunk computes: float32 (N, T, D), the residual stream after the last block."""
OUTPUT = "output"
"""What each decoder computes: float32 (N, C, H, W)."""


@dataclass(frozen=True)
class Node:
    """One operator of `gearshift.graph.vocabulary`; inputs are values or weights, by name."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """All tasks of one model.

    The trunk computes `tokens` from `image` and `task`; decoder t computes `output` from `tokens`
    (and `image`, for its size) for task t. Nodes stand in an order in which they can run. A
    model without decoders has an empty tuple there, and its result is `tokens`.
    Weights read from a file are views of one memory map: touching one reads it.
    """

    card: Card
    trunk: tuple[Node, ...]
    decoders: tuple[tuple[Node, ...], ...]
    weights: Mapping[str, Array]

    def nodes(self, task: int) -> tuple[Node, ...]:
        """The nodes that task number `task` runs."""
        return self.trunk + (self.decoders[task] if self.decoders else ())
