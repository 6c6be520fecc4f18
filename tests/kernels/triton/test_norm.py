"""LayerNorm against float64: tokens at odd distances, rows far from zero, every output dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.norm import Norm, layer_norm

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_M": 4, "BLOCK_K": 16})


def wanted(x: Tensor, norm: Norm) -> NDArray[Any]:
    arrays = [tensor.cpu().double().numpy() for tensor in (x, norm.scale, norm.bias)]
    return oracle.layer_normalization(*arrays, epsilon=norm.epsilon)


@pytest.fixture
def make_norm(normal: Normal) -> Callable[[int], Norm]:
    return lambda width: Norm(normal(width, mean=1, scale=0.3), normal(width), 1e-6)


# Rows whose mean is three deviations from zero: the rounding of x - mean, a few units in the last
# place of 3, is what float32 costs; the output is rounded once.
FLOAT32 = 32 * 2**-24


@pytest.mark.parametrize("tiles", [SMALL, None], ids=["small", "default"])
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 7, 50), (1, 3, 1030)])
def test_tokens_without_the_class_token(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Callable, dtype: torch.dtype,
    make_norm: Callable[[int], Norm], shape: tuple[int, int, int], tiles: Tiles | None,
) -> None:  # fmt: skip
    images, tokens, width = shape
    x = normal(images, tokens + 1, width + 3, mean=3)[:, 1:, :width]
    around = poisoned(images, tokens + 2, width + 5, dtype=dtype)
    out, norm = around[:, 1:-1, :width], make_norm(width)
    launch = layer_norm(device, x, norm, out)
    found = run_twice(launch.with_tiles(tiles or launch.tiles), out)
    assert relative_error(found, wanted(x, norm)) < ROUNDING[dtype] + FLOAT32
    assert around[:, 0].isnan().all()
    assert around[:, -1].isnan().all()
    assert around[..., width:].isnan().all()


def test_real_size(
    device: Device, normal: Normal, poisoned: Normal, make_norm: Callable[[int], Norm]
) -> None:
    x, norm, out = normal(1, 1201, 384, mean=3), make_norm(384), poisoned(1, 1200, 384)
    layer_norm(device, x[:, 1:], norm, out).run()
    assert relative_error(out, wanted(x[:, 1:], norm)) < FLOAT32


def test_a_constant_token_is_the_bias(
    device: Device, place: str, poisoned: Normal, make_norm: Callable[[int], Norm]
) -> None:
    x, norm, out = torch.full((1, 2, 40), 3.0, device=place), make_norm(40), poisoned(1, 2, 40)
    layer_norm(device, x, norm, out).with_tiles(SMALL).run()
    assert torch.equal(out, norm.bias.expand(1, 2, 40))


def test_in_place_and_of_16_bits(
    device: Device, normal: Normal, dtype: torch.dtype, make_norm: Callable[[int], Norm]
) -> None:
    x, norm = normal(2, 3, 40, dtype=dtype, mean=3), make_norm(40)
    answer = wanted(x, norm)
    layer_norm(device, x, norm, x).with_tiles(SMALL).run()
    assert relative_error(x, answer) < ROUNDING[dtype] + FLOAT32


@pytest.mark.parametrize("shape", [(0, 3, 8), (2, 0, 8), (2, 3, 0)])
def test_no_work(
    device: Device, poisoned: Normal, make_norm: Callable[[int], Norm], shape: tuple[int, int, int]
) -> None:
    layer_norm(device, poisoned(*shape), make_norm(shape[2]), poisoned(*shape)).run()


@pytest.mark.parametrize(
    ("x", "width", "out", "message"),
    [
        ((3, 4), 4, (3, 4), "x has shape"),
        ((1, 3, 4), 4, (1, 4, 3), "out has shape"),
        ((1, 3, 4), 5, (1, 3, 4), "norm is not of width 4"),
    ],
)
def test_shapes_are_checked(
    device: Device, poisoned: Normal, make_norm: Callable[[int], Norm],
    x: tuple[int, ...], width: int, out: tuple[int, ...], message: str,
) -> None:  # fmt: skip
    with pytest.raises(ValueError, match=message):
        layer_norm(device, poisoned(*x), make_norm(width), poisoned(*out))


@pytest.mark.parametrize("name", ["x", "out"])
def test_strides_are_checked(
    device: Device, poisoned: Normal, make_norm: Callable[[int], Norm], name: str
) -> None:
    tensors = {"x": poisoned(1, 3, 4), "out": poisoned(1, 3, 4)}
    tensors[name] = poisoned(1, 4, 3).transpose(1, 2)
    with pytest.raises(ValueError, match=f"{name} has strides"):
        layer_norm(device, tensors["x"], make_norm(4), tensors["out"])
