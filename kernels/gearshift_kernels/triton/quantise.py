"""Weights in one byte each, with a scale for every output channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLOAT8 = torch.float8_e4m3fn
"""Four bits of exponent, three of mantissa, finite: the 8-bit float of NVIDIA's sm_89 and later."""

LARGEST = {torch.int8: 127.0, FLOAT8: 448.0}
"""The largest value of each one-byte dtype that is used: int8 is kept symmetric."""


@dataclass(frozen=True)
class Quantised:
    """A weight (..., O, I) as `values * scale`: the products run on `values` in `dtype`."""

    values: Tensor
    """int8 or float8_e4m3fn, (..., O, I)."""
    scale: Tensor
    """float32 (..., O): multiplies the finished sums of an output channel."""
    dtype: torch.dtype
    """float16 or bfloat16: that of the other operand; every value is exact in both."""

    @property
    def shape(self) -> torch.Size:
        return self.values.shape

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.scale.nbytes


Weight = Tensor | Quantised
"""A weight in the dtype of the products, or quantised."""


def values_of(weight: Weight) -> Tensor:
    """What a kernel multiplies with."""
    return weight.values if isinstance(weight, Quantised) else weight


def scale_of(weight: Weight) -> Tensor | None:
    """What a kernel multiplies the sums with."""
    return weight.scale if isinstance(weight, Quantised) else None


def product_dtype(weight: Weight) -> torch.dtype:
    """The dtype of both operands of a product with this weight."""
    return weight.dtype


def quantise(weight: Tensor, kind: torch.dtype, dtype: torch.dtype) -> Quantised:
    """Round a float weight (..., O, I) to `kind` (int8 or float8_e4m3fn), nearest and symmetric.

    The largest magnitude of an output channel is taken to the largest value of the dtype; a
    channel of zeros has scale 1. `dtype` is that of the products.
    """
    wide = weight.to(torch.float32)
    largest = wide.abs().amax(-1)
    scale = torch.where(largest > 0, largest / LARGEST[kind], 1.0)
    scaled = wide / scale[..., None]
    values = scaled.round().to(kind) if kind == torch.int8 else scaled.to(kind)
    return Quantised(values, scale, dtype)
