"""The patch embedding against float64: pixels gathered in the kernel, class token, positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.patch_embedding import patch_embedding
from gearshift_kernels.triton.quantise import FLOAT8, quantise

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_M": 16, "BLOCK_N": 16, "BLOCK_K": 16})


def wanted(image: Tensor, weight: Tensor, table: Tensor, patch_size: int) -> NDArray[Any]:
    """The oracle, with the bias of the convolution in the positions already."""
    pixels, filters, places = (t.detach().cpu().double().numpy() for t in (image, weight, table))
    width = len(filters)
    grid = [side // patch_size for side in image.shape[2:]]
    return oracle.patch_embedding(
        pixels,
        filters.reshape(width, 3, patch_size, patch_size),
        np.zeros(width),
        places[None, :1],
        places[1:].T.reshape(1, width, *grid),
        patch_size=patch_size,
    )


def float32_sums(inner: int) -> float:
    """Products are exact; `inner` sums in float32."""
    return 4 * inner**0.5 * 2**-24 + 2**-22


@pytest.mark.parametrize(
    ("size", "patch_size", "width"), [((8, 12), 4, 19), ((6, 9), 3, 5), ((2, 3), 1, 1)]
)
def test_tokens(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Callable, dtype: torch.dtype,
    size: tuple[int, int], patch_size: int, width: int,
) -> None:  # fmt: skip
    inner, tokens = 3 * patch_size**2, 1 + size[0] * size[1] // patch_size**2
    image = normal(3, 3, *size)
    weight = normal(width, inner + 3, dtype=dtype)[:, :inner]
    table = normal(tokens, width + 1)[:, :width]
    around = poisoned(3, tokens + 1, width + 2)
    out = around[:, :-1, :width]
    launch = patch_embedding(device, image, weight, table, out, patch_size=patch_size)
    found = run_twice(launch.with_tiles(SMALL), out)
    answer = wanted(image, weight, table, patch_size)
    assert relative_error(found, answer) < float32_sums(inner)
    assert torch.equal(found[:, 0], table[0].expand(3, width))
    assert around[:, -1].isnan().all()
    assert around[..., width:].isnan().all()


@pytest.mark.parametrize("patch_size", [8, 16])
def test_real_size(
    device: Device, normal: Normal, poisoned: Normal, patch_size: int, dtype: torch.dtype
) -> None:
    """Edge-MoE's image has 128 x 256 pixels in patches of 16; its tiles by default."""
    height, width = 8 * patch_size, 16 * patch_size
    image = normal(1, 3, height, width) / 3
    weight, table = normal(192, 3 * patch_size**2, dtype=dtype), normal(129, 192)
    out = poisoned(1, 129, 192)
    patch_embedding(device, image, weight, table, out, patch_size=patch_size).run()
    # Pixels are rounded once to the dtype of the products, and errors add up as a random walk.
    tolerance = 3 * ROUNDING[dtype] + float32_sums(3 * patch_size**2)
    assert relative_error(out, wanted(image, weight, table, patch_size)) < tolerance


@pytest.mark.parametrize("kind", [torch.int8, FLOAT8], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_quantised_weights(
    device: Device, normal: Normal, poisoned: Normal, kind: torch.dtype, dtype: torch.dtype
) -> None:
    image, table, out = normal(2, 3, 8, 8), normal(5, 20), poisoned(2, 5, 20)
    weight = quantise(normal(20, 48), kind, dtype)
    patch_embedding(device, image, weight, table, out, patch_size=4).with_tiles(SMALL).run()
    values = weight.values.double() * weight.scale.double()[:, None]
    assert relative_error(out, wanted(image, values, table, 4)) < float32_sums(48)


def test_no_images(device: Device, poisoned: Normal) -> None:
    arguments = poisoned(0, 3, 8, 8), poisoned(20, 48), poisoned(5, 20), poisoned(0, 5, 20)
    patch_embedding(device, *arguments, patch_size=4).run()


SHAPES = {"image": (1, 3, 8, 8), "weight": (6, 48), "table": (5, 6), "out": (1, 5, 6)}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("image", (1, 4, 8, 8), "image has shape"),
        ("image", (1, 3, 8, 9), "image of 8 x 9 cannot be cut in patches of 4"),
        ("image", (1, 3, 0, 0), "image of 0 x 0 cannot be cut"),
        ("weight", (6, 47), "weight has shape"),
        ("table", (4, 6), "table has shape"),
        ("out", (1, 4, 6), "out has shape"),
    ],
)
def test_shapes_are_checked(
    device: Device, poisoned: Normal, name: str, shape: tuple[int, ...], message: str
) -> None:
    tensors = {key: poisoned(*value) for key, value in {**SHAPES, name: shape}.items()}
    with pytest.raises(ValueError, match=message):
        patch_embedding(device, **tensors, patch_size=4)


@pytest.mark.parametrize("name", SHAPES)
def test_strides_are_checked(device: Device, poisoned: Normal, name: str) -> None:
    tensors = {key: poisoned(*value) for key, value in SHAPES.items()}
    tensors[name] = tensors[name].mT.contiguous().mT
    with pytest.raises(ValueError, match=f"{name} has strides"):
        patch_embedding(device, **tensors, patch_size=4)


def test_an_image_too_large_for_its_offsets(device: Device) -> None:
    side = 2**15
    image = torch.empty(1, 3, side, side, device="meta")
    others = [torch.empty(*shape, device="meta") for shape in ((1, 3), (side**2 + 1, 1))]
    out = torch.empty(1, side**2 + 1, 1, device="meta")
    with pytest.raises(ValueError, match=r"2\^31 values"):
        patch_embedding(device, image, *others, out, patch_size=1)
