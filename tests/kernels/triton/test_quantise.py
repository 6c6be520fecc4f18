"""One-byte weights: what rounding may cost, and the corners."""

from __future__ import annotations

import pytest
import torch

from gearshift_kernels.triton.quantise import FLOAT8, LARGEST, quantise


@pytest.mark.parametrize(("kind", "step"), [(torch.int8, 1 / 254), (FLOAT8, 2**-4)], ids=str)
def test_error_of_a_channel(kind: torch.dtype, step: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 300) * torch.logspace(-6, 6, 6)[:, None, None]
    found = quantise(weight, kind, torch.bfloat16)
    assert (found.values.dtype, found.shape) == (kind, weight.shape)
    assert found.values.float().abs().amax(-1).eq(LARGEST[kind]).all()
    error = (found.values.float() * found.scale[..., None] - weight).abs()
    largest = weight.abs().amax(-1, keepdim=True)
    # int8: half a step of the largest / 127. float8: half of 2^-3 of the value itself, or half a
    # step of the smallest, 2^-9 of 448.
    allowed = largest * step if kind == torch.int8 else weight.abs() * step + largest * 2**-17
    assert (error <= allowed * 1.001).all()


@pytest.mark.parametrize("kind", [torch.int8, FLOAT8], ids=str)
def test_a_channel_of_zeros(kind: torch.dtype) -> None:
    found = quantise(torch.zeros(2, 3), kind, torch.float16)
    assert found.values.float().eq(0).all()
    assert found.scale.eq(1).all()


@pytest.mark.parametrize("kind", [torch.int8, FLOAT8], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_value_is_exact_in_the_dtype_of_the_products(
    kind: torch.dtype, dtype: torch.dtype
) -> None:
    every = torch.arange(-127, 128) if kind == torch.int8 else torch.arange(256)
    values = every.to(torch.int8) if kind == torch.int8 else every.to(torch.uint8).view(kind)
    numbers = values.float()
    assert torch.equal(numbers.nan_to_num(), numbers.to(dtype).float().nan_to_num())
