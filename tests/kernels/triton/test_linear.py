"""The linear kernel against float64, every epilogue, on awkward shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.linear import linear
from gearshift_kernels.triton.norm import Norm

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_M": 16, "BLOCK_N": 16, "BLOCK_K": 16})
SHAPES = [(1, 1, 1), (17, 33, 40), (70, 16, 129)]


def wide(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().cpu().double().numpy() for tensor in tensors]


@pytest.mark.parametrize(("rows", "columns", "inner"), SHAPES)
def test_product_and_bias(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Callable, dtype: torch.dtype,
    rows: int, columns: int, inner: int,
) -> None:  # fmt: skip
    x, weight, bias = (
        normal(rows, inner, dtype=dtype),
        normal(columns, inner, dtype=dtype),
        normal(columns),
    )
    out = poisoned(rows, columns)
    launch = linear(device, x, weight, out, bias=bias).with_tiles(SMALL)
    a, w, b = wide(x, weight, bias)
    found = run_twice(launch, out)
    # Products are exact; `inner` sums in float32.
    assert relative_error(found, a @ w.T + b) < 4 * inner**0.5 * 2**-24 + 2**-22


def test_everything_fused(
    device: Device, normal: Normal, poisoned: Normal, dtype: torch.dtype
) -> None:
    x, weight, bias = normal(37, 50, mean=3), normal(29, 50, dtype=dtype, scale=0.2), normal(29)
    norm = Norm(normal(50, mean=1, scale=0.3), normal(50), 1e-6)
    residual = normal(37, 29)
    out = poisoned(37, 29)
    linear(device, x, weight, out, bias=bias, norm=norm, gelu=True, residual=residual).with_tiles(
        SMALL
    ).run()
    a, w, b, scale, shift, r = wide(x, weight, bias, norm.scale, norm.bias, residual)
    z = oracle.layer_normalization(a, scale, shift, epsilon=1e-6)
    wanted = r + oracle.gelu(z @ w.T + b)
    # The normalised operand is rounded once to the dtype of the products.
    assert relative_error(out, wanted) < 3 * ROUNDING[dtype] + 2e-6
