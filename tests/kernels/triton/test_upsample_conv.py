"""The decoder's convolution against enlarging, convolving and ReLU in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.polyphase import phase_weights, plain_weights
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.quantise import FLOAT8, quantise
from gearshift_kernels.triton.upsample_conv import upsample_conv

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_H": 4, "BLOCK_W": 4, "BLOCK_N": 16, "BLOCK_K": 16})
ONE = Tiles({"BLOCK_H": 4, "BLOCK_W": 8, "BLOCK_N": 32, "BLOCK_K": 32})
"""One block of a small map: in the interpreter a step of a program takes some milliseconds."""


def as_taps(weight: Tensor, scale: int) -> Tensor:
    """The filters (C',C,3,3) as the kernel wants them, float32."""
    rewrite = phase_weights if scale == 2 else plain_weights
    return torch.from_numpy(rewrite(weight.cpu().numpy())).to(weight.device)


def wanted(x: Tensor, weight: Tensor, bias: Tensor, scale: int) -> NDArray[Any]:
    """The oracle with a batch norm that changes nothing, channels last."""
    arrays = [t.cpu().double().numpy() for t in (x.permute(0, 3, 1, 2), weight, bias)]
    zero, one = np.zeros(len(bias)), np.ones(len(bias))
    y = oracle.upsample_conv(*arrays, one, zero, zero, one, scale=scale, epsilon=0.0)
    return y.transpose(0, 2, 3, 1)


def float32_sums(channels: int) -> float:
    """Products are exact; sixteen taps of `channels` sums in float32."""
    return 4 * (16 * channels) ** 0.5 * 2**-24 + 2**-22


@pytest.fixture
def whole(place: str) -> Callable[..., Tensor]:
    """Filters of whole numbers up to 3: taps are sixteenths below 16, exact in bfloat16."""
    random = np.random.default_rng(7)

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(random.integers(-3, 4, shape).astype(np.float32)).to(place)

    return draw


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("size", "channels", "outputs"), [
    ((2, 1, 1), 5, 3), ((2, 1, 5), 5, 3), ((1, 7, 3), 5, 3), ((1, 2, 4), 20, 19),
])  # fmt: skip
def test_awkward_shapes(
    device: Device, normal: Normal, whole: Normal, poisoned: Normal,
    size: tuple[int, int, int], channels: int, outputs: int, scale: int,
) -> None:  # fmt: skip
    images, height, width = size
    x = normal(images, height + 1, width + 2, channels + 3)[:, 1:, 1:-1, :channels]
    weight, bias = whole(outputs, channels, 3, 3), normal(outputs)
    around = poisoned(images, scale * height + 1, scale * width + 2, outputs + 1)
    out = around[:, :-1, 1:-1, :outputs]
    launch = upsample_conv(device, x, as_taps(weight, scale), bias, out, scale=scale)
    launch.with_tiles(SMALL).run()
    assert relative_error(out, wanted(x, weight, bias, scale)) < float32_sums(channels)
    assert around[:, -1].isnan().all()
    assert around[:, :, [0, -1]].isnan().all()
    assert around[..., outputs].isnan().all()


@pytest.mark.parametrize("scale", [1, 2])
def test_dtypes(
    device: Device, normal: Normal, whole: Normal, poisoned: Normal, run_twice: Callable,
    dtype: torch.dtype, scale: int,
) -> None:  # fmt: skip
    x, weight, bias = normal(2, 3, 5, 20, dtype=dtype), whole(19, 20, 3, 3), normal(19)
    taps, out = as_taps(weight, scale).to(dtype), poisoned(2, 3 * scale, 5 * scale, 19)
    found = run_twice(upsample_conv(device, x, taps, bias, out, scale=scale).with_tiles(ONE), out)
    assert relative_error(found, wanted(x, weight, bias, scale)) < float32_sums(20)


def test_more_blocks_of_pixels_than_a_group(
    device: Device, normal: Normal, whole: Normal, poisoned: Normal
) -> None:
    x, weight, bias, out = (
        normal(1, 9, 11, 3),
        whole(20, 3, 3, 3),
        normal(20),
        poisoned(1, 9, 11, 20),
    )
    upsample_conv(device, x, as_taps(weight, 1), bias, out, scale=1).with_tiles(SMALL).run()
    assert relative_error(out, wanted(x, weight, bias, 1)) < float32_sums(3)


def test_only_blocks_at_a_border_read_border_taps(
    device: Device, normal: Normal, whole: Normal, poisoned: Normal
) -> None:
    x, weight, bias, out = normal(1, 8, 8, 3), whole(4, 3, 3, 3), normal(4), poisoned(1, 16, 16, 4)
    taps = as_taps(weight, 2)
    by_tap = taps.view(4, 4, 4, 4, 3)
    by_tap[:, :, 3] = by_tap[:, :, :, 3] = float("nan")
    upsample_conv(device, x, taps, bias, out, scale=2).with_tiles(SMALL).run()
    # The border of even rows and columns is in the first of two blocks, of odd ones in the last.
    is_inner_line = torch.arange(16) // 8 != torch.arange(16) % 2
    is_inner = is_inner_line[:, None] & is_inner_line
    assert torch.equal(~out[0].isnan().any(-1).cpu(), is_inner)
    answer = wanted(x, weight, bias, 2)[0][is_inner.numpy()]
    assert relative_error(out[0].cpu()[is_inner], answer) < float32_sums(3)


@pytest.mark.parametrize("scale", [1, 2])
def test_real_size_and_rounded_weights(
    device: Device, normal: Normal, poisoned: Normal, dtype: torch.dtype, scale: int
) -> None:
    """The first stages of Edge-MoE's decoder, with the tiles by default."""
    channels = 192 if scale == 1 else 256
    x, bias = normal(1, 8, 16, channels, dtype=dtype), normal(256)
    weight = normal(256, channels, 3, 3, scale=0.02) / 3
    out = poisoned(1, 8 * scale, 16 * scale, 256, dtype=dtype)
    upsample_conv(device, x, as_taps(weight, scale).to(dtype), bias, out, scale=scale).run()
    # Weights and output are rounded once to the dtype; errors add up as a random walk.
    tolerance = 4 * ROUNDING[dtype] + float32_sums(channels)
    assert relative_error(out, wanted(x, weight, bias, scale)) < tolerance


@pytest.mark.parametrize("kind", [torch.int8, FLOAT8], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1, 2])
def test_quantised_weights(
    device: Device, normal: Normal, poisoned: Normal,
    kind: torch.dtype, dtype: torch.dtype, scale: int,
) -> None:  # fmt: skip
    """Against float32 weights of the same values, which the tests above hold to the oracle."""
    x, bias = normal(1, 3, 5, 20, dtype=dtype), normal(19)
    weight = quantise(as_taps(normal(19, 20, 3, 3), scale), kind, dtype)
    same = weight.values.float() * weight.scale[..., None]
    out, exact = (poisoned(1, 3 * scale, 5 * scale, 19) for _ in range(2))
    upsample_conv(device, x, weight, bias, out, scale=scale).with_tiles(ONE).run()
    upsample_conv(device, x.float(), same, bias, exact, scale=scale).with_tiles(ONE).run()
    # Float32 sums on both sides, and the rounding of `same`.
    assert relative_error(out, exact.cpu().double().numpy()) < 2 * float32_sums(20) + 2**-23


def test_nan_is_not_hidden_by_relu(device: Device, normal: Normal, poisoned: Normal) -> None:
    x, taps, out = poisoned(1, 1, 1, 2), as_taps(normal(3, 2, 3, 3), 1), poisoned(1, 1, 1, 3)
    out.zero_()
    upsample_conv(device, x, taps, normal(3), out, scale=1).run()
    assert out.isnan().all()


@pytest.mark.parametrize("size", [(0, 2, 2), (1, 0, 2), (1, 2, 0)])
def test_no_work(device: Device, poisoned: Normal, size: tuple[int, int, int]) -> None:
    images, height, width = size
    x, out = poisoned(*size, 5), poisoned(images, 2 * height, 2 * width, 3)
    upsample_conv(device, x, poisoned(4, 3, 80), poisoned(3), out, scale=2).run()


@pytest.mark.parametrize("scale", [0, 3, 4])
def test_other_scales_are_refused(device: Device, poisoned: Normal, scale: int) -> None:
    out = poisoned(1, 2 * scale, 2 * scale, 3)
    with pytest.raises(ValueError, match=f"no kernel enlarges {scale} times: only 1 and 2"):
        upsample_conv(
            device, poisoned(1, 2, 2, 5), poisoned(4, 3, 80), poisoned(3), out, scale=scale
        )


SHAPES = {"x": (1, 2, 2, 5), "weight": (4, 3, 80), "bias": (3,), "out": (1, 4, 4, 3)}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("x", (2, 2, 5), "x has shape"),
        ("weight", (1, 3, 45), r"weight has shape \(1, 3, 45\), not \(4, 3, 80\)"),
        ("bias", (3, 1), r"bias has shape"),
        ("bias", (2,), r"weight has shape"),
        ("out", (1, 2, 2, 3), r"out has shape \(1, 2, 2, 3\), not \(1, 4, 4, 3\)"),
    ],
)
def test_shapes_are_checked(
    device: Device, poisoned: Normal, name: str, shape: tuple[int, ...], message: str
) -> None:
    tensors = {key: poisoned(*value) for key, value in {**SHAPES, name: shape}.items()}
    with pytest.raises(ValueError, match=message):
        upsample_conv(device, **tensors, scale=2)


@pytest.mark.parametrize("name", ["x", "weight", "out"])
def test_strides_are_checked(device: Device, poisoned: Normal, name: str) -> None:
    tensors = {key: poisoned(*value) for key, value in SHAPES.items()}
    tensors[name] = tensors[name].mT.contiguous().mT
    with pytest.raises(ValueError, match=f"{name} has strides"):
        upsample_conv(device, **tensors, scale=2)


def test_the_input_is_of_the_dtype_of_the_products(device: Device, poisoned: Normal) -> None:
    tensors = {key: poisoned(*value) for key, value in SHAPES.items()}
    tensors["weight"] = tensors["weight"].half()
    with pytest.raises(ValueError, match=r"x is torch.float32, not torch.float16"):
        upsample_conv(device, **tensors, scale=2)


def test_an_image_too_large_for_its_offsets(device: Device) -> None:
    x = torch.empty(1, 2**14, 2**14, 8, device="meta", dtype=torch.float16)
    weight = torch.empty(1, 1, 72, device="meta", dtype=torch.float16)
    out = torch.empty(1, 2**14, 2**14, 1, device="meta")
    with pytest.raises(ValueError, match=r"over 2\^31 elements"):
        upsample_conv(device, x, weight, torch.empty(1, device="meta"), out, scale=1)
