"""The first tokens: every patch of an image projected, at its position, behind the class token.

The projection is a convolution whose filters stand side by side, hence one matrix product over the
patches. The patch matrix is not made in memory: a program gathers its pixels from the image.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.launch import (
    TRITON_DTYPE,
    Device,
    Launch,
    cdiv,
    require,
    require_rows,
)
from gearshift_kernels.triton.numerics import operand, rounded
from gearshift_kernels.triton.quantise import Weight, product_dtype, scale_of, values_of
from gearshift_kernels.triton.tiles import product_tiles


@triton.jit
def patch_embedding_kernel(
    image,
    weight,
    weight_scale,
    table,
    out,
    rows,
    tokens,
    columns,
    height,
    width,
    weight_stride,
    table_stride,
    out_image_stride,
    out_token_stride,
    PATCH: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    across = tl.cdiv(columns, BLOCK_N)
    m = (tl.program_id(0) // across * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    n = (tl.program_id(0) % across * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    is_row, is_column = m < rows, n < columns
    number, token = (m // tokens).to(tl.int64), m % tokens
    # The class token is a patch of zeros at its own place in the table.
    is_patch = is_row & (token > 0)
    patch_row = (token - 1) // (width // PATCH)
    patch_column = (token - 1) % (width // PATCH)
    corner = image + number * (3 * height * width)
    corner += patch_row * PATCH * width + patch_column * PATCH
    weight_row = weight + n.to(tl.int64) * weight_stride
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    inner: tl.constexpr = 3 * PATCH * PATCH
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_inner = k < inner
        colour, y, x = k // (PATCH * PATCH), k // PATCH % PATCH, k % PATCH
        pixel = (colour * height + y) * width + x
        a = tl.load(corner + pixel[None, :], mask=is_patch & is_inner[None, :], other=0.0)
        b = tl.load(weight_row + k[:, None], mask=is_column & is_inner[:, None], other=0.0)
        a, b = operand(rounded(a, DTYPE)), operand(rounded(b, DTYPE))
        total = tl.dot(a, b, total, input_precision=PRECISION)
    if weight_scale is not None:
        total *= tl.load(weight_scale + n, mask=is_column, other=0.0)
    is_inside = is_row & is_column
    total += tl.load(table + token.to(tl.int64) * table_stride + n, mask=is_inside, other=0.0)
    place = out + number * out_image_stride + token.to(tl.int64) * out_token_stride + n
    tl.store(place, total, mask=is_inside)


def patch_embedding(
    device: Device, image: Tensor, weight: Weight, table: Tensor, out: Tensor, *, patch_size: int
) -> Launch:
    """out[:, 0] = table[0] and out[:, 1 + i] = weight patch_i + table[1 + i], patches row by row.

    Args:
        image: (N,3,H,W) float32, contiguous; H and W multiples of `patch_size`.
        weight: (D, 3 P P), the filters (D,3,P,P) flattened; its dtype is that of the products,
            whose sums are float32.
        table: float32 (T,D), T = 1 + (H/P)(W/P): the class token, then the position of each patch
            with the bias of the convolution added.
        out: float32 (N,T,D); images and tokens may be any distance apart.
        patch_size: P.

    Raises:
        ValueError: shapes or strides do not fit.
    """
    require(
        image.ndim == 4 and image.shape[1] == 3,
        f"image has shape {tuple(image.shape)}, not (N, 3, H, W)",
    )
    require(image.is_contiguous(), f"image has strides {image.stride()}: it must be contiguous")
    images, _, height, width = image.shape
    require(3 * height * width < 2**31, f"image of {height} x {width} has 2^31 values or more")
    is_whole = patch_size >= 1 and height % patch_size == width % patch_size == 0
    require(
        is_whole and height * width > 0,
        f"image of {height} x {width} cannot be cut in patches of {patch_size}",
    )
    values = values_of(weight)
    columns, inner = values.shape[0], 3 * patch_size**2
    tokens = 1 + (height // patch_size) * (width // patch_size)
    require_rows("weight", values, columns, inner)
    require_rows("table", table, tokens, columns)
    require(
        out.shape == (images, tokens, columns),
        f"out has shape {tuple(out.shape)}, not {(images, tokens, columns)}",
    )
    require(
        out.stride(2) == 1 or columns <= 1,
        f"out has strides {out.stride()}: the elements of a token must be contiguous",
    )
    rows, dtype = images * tokens, product_dtype(weight)
    key = f"patch_embedding {images}x{height}x{width} {patch_size} {columns} {values.dtype} {dtype}"
    return Launch(
        key=key,
        kernel=patch_embedding_kernel,
        grid=lambda b: (cdiv(rows, b["BLOCK_M"]) * cdiv(columns, b["BLOCK_N"]),),
        arguments={
            "image": image,
            "weight": values,
            "weight_scale": scale_of(weight),
            "table": table,
            "out": out,
            "rows": rows,
            "tokens": tokens,
            "columns": columns,
            "height": height,
            "width": width,
            "weight_stride": values.stride(0),
            "table_stride": table.stride(0),
            "out_image_stride": out.stride(0),
            "out_token_stride": out.stride(1),
        },
        constants={
            "PATCH": patch_size,
            "DTYPE": TRITON_DTYPE[dtype],
            "PRECISION": device.product_precision,
        },
        tiles=device.tuned.get(key) or product_tiles(device, rows, columns, inner, dtype),
    )
