"""The linear kernel against float64: every epilogue, awkward shapes, one-byte weights."""

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
from gearshift_kernels.triton.quantise import FLOAT8, quantise

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
Run = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_M": 16, "BLOCK_N": 16, "BLOCK_K": 16})


def wide(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().cpu().double().numpy() for tensor in tensors]


def product_error(inner: int) -> float:
    """Products are exact in float32; so many sums are not. The largest value is of some size."""
    return 2**-22 + 4 * inner**0.5 * 2**-24


@pytest.mark.parametrize(("rows", "columns", "inner"), [(1, 1, 1), (17, 33, 40), (70, 16, 129)])
def test_product_and_bias(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, dtype: torch.dtype,
    rows: int, columns: int, inner: int,
) -> None:  # fmt: skip
    x, weight = normal(rows, inner, dtype=dtype), normal(columns, inner, dtype=dtype)
    bias, out = normal(columns), poisoned(rows, columns)
    launch = linear(device, x, weight, out, bias=bias).with_tiles(SMALL)
    a, w, b = wide(x, weight, bias)
    assert relative_error(run_twice(launch, out), a @ w.T + b) < product_error(inner)


def test_blocks_of_rows_are_all_visited(device: Device, normal: Normal, poisoned: Normal) -> None:
    """More blocks of rows than a group holds, and a last group that is not full."""
    x, weight, out = normal(16 * 11 + 3, 16), normal(35, 16), poisoned(16 * 11 + 3, 35)
    linear(device, x, weight, out).with_tiles(SMALL).run()
    a, w = wide(x, weight)
    assert relative_error(out, a @ w.T) < product_error(16)


def test_everything_fused(
    device: Device, normal: Normal, poisoned: Normal, dtype: torch.dtype
) -> None:
    x, weight, bias = normal(37, 50, mean=3), normal(29, 50, dtype=dtype, scale=0.2), normal(29)
    norm = Norm(normal(50, mean=1, scale=0.3), normal(50), 1e-6)
    residual, out = normal(37, 29), poisoned(37, 29)
    fused = linear(device, x, weight, out, bias=bias, norm=norm, gelu=True, residual=residual)
    fused.with_tiles(SMALL).run()
    a, w, b, scale, shift, r = wide(x, weight, bias, norm.scale, norm.bias, residual)
    z = oracle.layer_normalization(a, scale, shift, epsilon=1e-6)
    # The normalised operand is rounded once to the dtype of the products.
    assert relative_error(out, r + oracle.gelu(z @ w.T + b)) < 3 * ROUNDING[dtype] + 2e-6


def test_a_mean_far_from_zero(device: Device, normal: Normal, poisoned: Normal) -> None:
    x, weight = normal(5, 100, mean=100), normal(7, 100)
    x[0] = 2.0  # no variance: epsilon decides
    norm, out = Norm(normal(100), normal(100), 1e-6), poisoned(5, 7)
    linear(device, x, weight, out, norm=norm).with_tiles(SMALL).run()
    a, w, scale, shift = wide(x, weight, norm.scale, norm.bias)
    wanted = oracle.layer_normalization(a, scale, shift, epsilon=1e-6) @ w.T
    # A difference from a mean of 100 is exact to 100 * 2^-24.
    assert relative_error(out, wanted) < 5e-5


def test_the_result_may_stand_in_the_residual_s_place(
    device: Device, normal: Normal, dtype: torch.dtype
) -> None:
    x, weight, stream = normal(20, 24, dtype=dtype), normal(18, 24, dtype=dtype), normal(20, 18)
    before, a, w = wide(stream, x, weight)
    linear(device, x, weight, stream, residual=stream).with_tiles(SMALL).run()
    assert relative_error(stream, before + a @ w.T) < product_error(24)


def test_rows_any_distance_apart(device: Device, normal: Normal, poisoned: Normal) -> None:
    x, weight, residual = normal(19, 40)[:, 3:30], normal(21, 33)[:, :27], normal(19, 50)[:, 7:28]
    whole = poisoned(19, 37)
    linear(device, x, weight, whole[:, 5:26], residual=residual).with_tiles(SMALL).run()
    a, w, r = wide(x, weight, residual)
    assert relative_error(whole[:, 5:26], r + a @ w.T) < product_error(27)
    assert whole[:, :5].isnan().all()
    assert whole[:, 26:].isnan().all()


def test_no_rows_no_work(device: Device, normal: Normal, poisoned: Normal) -> None:
    linear(device, normal(0, 8), normal(4, 8), poisoned(0, 4)).run()


@pytest.mark.parametrize("kind", [torch.int8, FLOAT8], ids=str)
def test_one_byte_weights(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, kind: torch.dtype
) -> None:
    x, bias = normal(21, 50, dtype=torch.bfloat16), normal(30)
    weight = quantise(normal(30, 50) * torch.arange(1, 31, device=bias.device)[:, None], kind,
                      torch.bfloat16)  # fmt: skip
    out = poisoned(21, 30)
    launch = linear(device, x, weight, out, bias=bias).with_tiles(SMALL)
    a, b, scale = wide(x, bias, weight.scale)
    w = weight.values.float().cpu().double().numpy() * scale[:, None]
    assert relative_error(run_twice(launch, out), a @ w.T + b) < product_error(50)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_results_are_rounded_once(
    device: Device, normal: Normal, poisoned: Normal, narrow: torch.dtype
) -> None:
    x, weight, out = normal(9, 12), normal(8, 12), poisoned(9, 8, dtype=narrow)
    linear(device, x, weight, out).run()
    a, w = wide(x, weight)
    assert relative_error(out, a @ w.T) < 1.01 * ROUNDING[narrow]


@pytest.mark.parametrize(
    ("x", "weight", "out", "message"),
    [
        ((3, 4), (5, 6), (3, 5), r"weight has shape \(5, 6\), not \(5, 4\)"),
        ((3, 4), (5, 4), (3, 4), r"out has shape \(3, 4\), not \(3, 5\)"),
    ],
)
def test_shapes_that_do_not_fit(
    device: Device, normal: Normal, x: tuple, weight: tuple, out: tuple, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        linear(device, normal(*x), normal(*weight), normal(*out))


def test_scattered_rows_are_refused(device: Device, normal: Normal) -> None:
    with pytest.raises(ValueError, match="the elements of a row must be contiguous"):
        linear(device, normal(4, 3).t(), normal(5, 4), normal(3, 5))
    with pytest.raises(ValueError, match=r"bias is not \(5,\)"):
        linear(device, normal(3, 4), normal(5, 4), normal(3, 5), bias=normal(4))
