"""LayerNorm on its own: where a matrix product cannot take it in."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Norm:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, biased variance."""

    scale: Tensor
    """float32 (D)."""
    bias: Tensor
    """float32 (D)."""
    epsilon: float
