"""The model card: what a graph cannot say about itself. Kept as `card.toml` in the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FORMAT_VERSION = 1


class TaskKind(StrEnum):
    """What a task's raw output means."""

    SEGMENTATION = "segmentation"
    """Logits (C, H, W); the label is the largest."""
    DEPTH = "depth"
    """(1, H, W) in `unit`."""
    NORMALS = "normals"
    """(3, H, W), to be scaled to unit length."""
    PROBABILITY = "probability"
    """Logit (1, H, W); its sigmoid is a probability (edges, saliency)."""
    TOKENS = "tokens"
    """The encoder's tokens (T, D), from a model without decoders."""


CHANNELS_OF_KIND = {TaskKind.DEPTH: 1, TaskKind.NORMALS: 3, TaskKind.PROBABILITY: 1}
"""Kinds whose meaning fixes the number of output channels."""


@dataclass(frozen=True)
class TaskCard:
    """One task; the tasks' order is the routers' order."""

    name: str
    kind: TaskKind
    channels: int
    labels: tuple[str, ...] = ()
    """Segmentation: a name a channel, or empty when unknown."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """Segmentation: sRGB a channel, or empty for a default palette."""
    unit: str = ""
    """Depth: `metre`, or empty when the checkpoint does not say."""
    threshold: float = 0.5
    """Probability: where a yes begins."""


@dataclass(frozen=True)
class Preprocessing:
    """uint8 / divisor, then (x - mean) / standard_deviation, channels in RGB order.

    Float pictures are taken as already divided (0..1).
    """

    divisor: float = 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    standard_deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Card:
    """Everything in `card.toml` except the files' sizes and hashes, which the writer adds."""

    name: str
    image_height: int
    image_width: int
    tasks: tuple[TaskCard, ...]
    preprocessing: Preprocessing = Preprocessing()
    provenance: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Measured quality, free-form TOML tables; empty when nothing was measured."""
