"""Bilinear resizing against float64, up and down, from every layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.resize import resize_bilinear

from .conftest import relative_error

Normal = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_C": 2, "BLOCK_P": 16})
# Shares are exact but for one rounding; an output is three sums of two rounded products.
TOLERANCE = 8 * 2**-24


def wanted(x: Tensor, height: int, width: int) -> NDArray[Any]:
    channels_first = x.permute(0, 3, 1, 2).cpu().double().numpy()
    return oracle.resize_bilinear(channels_first, height, width)


@pytest.mark.parametrize("tiles", [SMALL, None], ids=["small", "default"])
@pytest.mark.parametrize(
    ("old", "new"),
    [((3, 5), (6, 10)), ((1, 1), (3, 2)), ((7, 4), (3, 9)), ((5, 6), (1, 1)), ((4, 3), (11, 2))],
)
def test_sizes(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Callable,
    old: tuple[int, int], new: tuple[int, int], tiles: Tiles | None,
) -> None:  # fmt: skip
    x, out = normal(2, *old, 3), poisoned(2, 3, *new)
    launch = resize_bilinear(device, x, out)
    found = run_twice(launch.with_tiles(tiles or launch.tiles), out)
    assert relative_error(found, wanted(x, *new)) < TOLERANCE


def test_the_same_size_changes_nothing(device: Device, normal: Normal, poisoned: Normal) -> None:
    x, out = normal(1, 6, 7, 5), poisoned(1, 5, 6, 7)
    resize_bilinear(device, x, out).run()
    assert torch.equal(out, x.permute(0, 3, 1, 2))


def test_layouts_and_dtypes(
    device: Device, normal: Normal, poisoned: Normal, dtype: torch.dtype
) -> None:
    """Channels first; every second row, and channels inside a wider tensor."""
    first = normal(2, 5, 4, 6, dtype=dtype).permute(0, 2, 3, 1)
    apart = normal(2, 8, 7, 9, dtype=dtype)[:, ::2, 1:, 2:7]
    for x in (first, apart):
        out = poisoned(2, 5, 7, 9)
        resize_bilinear(device, x, out).run()
        assert relative_error(out, wanted(x, 7, 9)) < TOLERANCE


def test_places_of_a_long_axis_are_exact(device: Device, normal: Normal, poisoned: Normal) -> None:
    """In float32, places near 3,000 would be off by 1e-4 of a pixel."""
    x, out = normal(1, 1, 3001, 1), poisoned(1, 1, 1, 4003)
    resize_bilinear(device, x, out).run()
    assert relative_error(out, wanted(x, 1, 4003)) < TOLERANCE


def test_real_size(device: Device, normal: Normal, poisoned: Normal) -> None:
    x, out = normal(1, 64, 128, 19), poisoned(1, 19, 128, 256)
    resize_bilinear(device, x, out).run()
    assert relative_error(out, wanted(x, 128, 256)) < TOLERANCE


@pytest.mark.parametrize(("images", "channels"), [(0, 3), (2, 0)])
def test_no_work(device: Device, poisoned: Normal, images: int, channels: int) -> None:
    resize_bilinear(
        device, poisoned(images, 2, 2, channels), poisoned(images, channels, 4, 4)
    ).run()


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        ((2, 2, 3), (3, 4, 4), "x has shape"),
        ((1, 2, 2, 3), (1, 2, 4, 4), "out has shape"),
        ((1, 2, 2, 3), (1, 3, 4), "out has shape"),
        ((1, 0, 2, 3), (1, 3, 4, 4), "x of 0 x 2 is empty"),
    ],
)
def test_shapes_are_checked(
    device: Device, poisoned: Normal, x: tuple[int, ...], out: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        resize_bilinear(device, poisoned(*x), poisoned(*out))


def test_the_output_is_contiguous(device: Device, poisoned: Normal) -> None:
    with pytest.raises(ValueError, match="out has strides"):
        resize_bilinear(device, poisoned(1, 2, 2, 3), poisoned(1, 4, 4, 3).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ((1, 2**16), (1, 2**15), "an axis of 65536 pixels cannot become one of 32768"),
        ((1, 1), (2**16, 2**15), r"2\^31 pixels"),
    ],
)
def test_sizes_too_large_for_their_integers(
    device: Device, old: tuple[int, int], new: tuple[int, int], message: str
) -> None:
    x, out = torch.empty(1, *old, 1, device="meta"), torch.empty(1, 1, *new, device="meta")
    with pytest.raises(ValueError, match=message):
        resize_bilinear(device, x, out)
