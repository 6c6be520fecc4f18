"""A decoder's stage: the map enlarged bilinearly, a 3x3 convolution, ReLU, all in one launch.

The enlargement is folded into the weights (`gearshift_kernels.polyphase`): each of the four phases
of the output is a convolution of the small map. It is computed as a matrix product, pixels by
output channels, summed over taps and channels; no enlarged map and no matrix of neighbourhoods is
ever in memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.launch import (
    TRITON_DTYPE,
    Device,
    Launch,
    Tiles,
    cdiv,
    power_of_two,
    require,
)
from gearshift_kernels.triton.numerics import grouped, operand, rounded
from gearshift_kernels.triton.quantise import Weight, product_dtype, scale_of, values_of
from gearshift_kernels.triton.targets import find_target


@triton.jit
def upsample_conv_kernel(
    x,
    weight,
    weight_scale,
    bias,
    out,
    images,
    height,
    width,
    outputs,
    x_image_stride,
    x_row_stride,
    x_column_stride,
    weight_phase_stride,
    weight_stride,
    out_image_stride,
    out_row_stride,
    out_column_stride,
    CHANNELS: tl.constexpr,
    SCALE: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    down, across = tl.cdiv(height, BLOCK_H), tl.cdiv(width, BLOCK_W)
    channel_blocks = tl.cdiv(outputs, BLOCK_N)
    blocks, columns = images * down * across, SCALE * SCALE * channel_blocks
    block, column = grouped(tl.program_id(0), blocks, columns)
    image = (block // (down * across)).to(tl.int64)
    first_row, first_column = block // across % down * BLOCK_H, block % across * BLOCK_W
    phase = column // channel_blocks
    row_phase, column_phase = phase // SCALE, phase % SCALE

    pixel = tl.arange(0, BLOCK_H * BLOCK_W)[:, None]
    i, j = first_row + pixel // BLOCK_W, first_column + pixel % BLOCK_W
    n = (column % channel_blocks * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    is_output = n < outputs
    x_image = x + image * x_image_stride
    weight_row = weight + phase.to(tl.int64) * weight_phase_stride + n.to(tl.int64) * weight_stride
    taps: tl.constexpr = SCALE + 2
    row_taps = _taps(first_row, height, row_phase, SCALE, BLOCK_H)
    column_taps = _taps(first_column, width, column_phase, SCALE, BLOCK_W)
    chunks: tl.constexpr = (CHANNELS + BLOCK_K - 1) // BLOCK_K
    total = tl.zeros([BLOCK_H * BLOCK_W, BLOCK_N], tl.float32)
    for step in range(0, row_taps * column_taps * chunks):
        c = step % chunks * BLOCK_K + tl.arange(0, BLOCK_K)
        row_tap = step // chunks // column_taps
        column_tap = step // chunks % column_taps
        source_row, reads_row = _source(i, height, row_phase, row_tap, SCALE)
        source_column, reads_column = _source(j, width, column_phase, column_tap, SCALE)
        place = x_image + (source_row * x_row_stride + source_column * x_column_stride) + c[None, :]
        a = tl.load(place, mask=reads_row & reads_column & (c < CHANNELS)[None, :], other=0.0)
        place = weight_row + (row_tap * taps + column_tap) * CHANNELS + c[:, None]
        b = tl.load(place, mask=is_output & (c < CHANNELS)[:, None], other=0.0)
        a, b = operand(a), operand(rounded(b, DTYPE))
        total = tl.dot(a, b, total, input_precision=PRECISION)
    if weight_scale is not None:
        total *= tl.load(weight_scale + phase * outputs + n, mask=is_output, other=0.0)
    total += tl.load(bias + n, mask=is_output, other=0.0)
    total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    out_row = (i * SCALE + row_phase).to(tl.int64) * out_row_stride
    out_column = (j * SCALE + column_phase).to(tl.int64) * out_column_stride
    place = out + image * out_image_stride + out_row + out_column + n
    is_inside = (i < height) & (j < width) & is_output
    tl.store(place, rounded(total, out.dtype.element_ty), mask=is_inside)


@triton.jit
def _taps(first, size, phase, SCALE: tl.constexpr, BLOCK: tl.constexpr):
    """How many taps of an axis a block needs: the last is for the pixel at the phase's border."""
    if SCALE == 1:
        return 3
    border = tl.where(phase == 0, 0, size - 1)
    return tl.where((first <= border) & (border < first + BLOCK), 4, 3)


@triton.jit
def _source(i, size, phase, tap, SCALE: tl.constexpr):
    """What a tap reads for pixel i of an axis, and whether it does: the table of `polyphase`."""
    offset, low, high = tap - 1, 0, size - 1
    if SCALE == 2:
        border = tl.where(phase == 0, 0, size - 1)
        beyond = tl.where(tap == 2 - 2 * phase, 1, 0)
        offset = tl.where(tap == 3, 0, offset)
        low = tl.where(tap == 3, border, -beyond)
        high = tl.where(tap == 3, border, high + beyond)
    place = i + offset
    return tl.minimum(tl.maximum(place, 0), size - 1), (low <= place) & (place <= high)


def upsample_conv(
    device: Device, x: Tensor, weight: Weight, bias: Tensor, out: Tensor, *, scale: int
) -> Launch:
    """out = relu(convolution of the map enlarged `scale` times + bias), zeros around it.

    Args:
        x: (N,h,w,C), channels last, in the dtype of the products; images, rows and pixels may be
            any distance apart.
        weight: (4,C',16C) as `polyphase.phase_weights` makes it for scale 2, or (1,C',9C) as
            `polyphase.plain_weights` does for scale 1. The sums of products are float32.
        bias: float32 (C').
        out: (N, scale h, scale w, C') float; laid out as freely as x.
        scale: 1 or 2.

    Raises:
        ValueError: another scale; shapes, strides or dtypes do not fit.
    """
    require(scale in (1, 2), f"no kernel enlarges {scale} times: only 1 and 2")
    require(x.ndim == 4, f"x has shape {tuple(x.shape)}, not (N, h, w, C)")
    images, height, width, channels = x.shape
    values, dtype = values_of(weight), product_dtype(weight)
    require(bias.ndim == 1, f"bias has shape {tuple(bias.shape)}, not (C',)")
    outputs, phases, inner = len(bias), scale**2, (scale + 2) ** 2 * channels
    for name, tensor, shape in (
        ("weight", values, (phases, outputs, inner)),
        ("out", out, (images, scale * height, scale * width, outputs)),
    ):
        require(tensor.shape == shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}")
    for name, tensor in (("x", x), ("weight", values), ("out", out)):
        require(
            tensor.stride(-1) == 1 or tensor.shape[-1] <= 1 or tensor.numel() == 0,
            f"{name} has strides {tensor.stride()}: its channels must be contiguous",
        )
    require(x.dtype == dtype, f"x is {x.dtype}, not {dtype} as the products are")
    reach = height * x.stride(1) + width * x.stride(2) + channels
    require(reach < 2**31, f"x has strides {x.stride()}: an image reaches over 2^31 elements")
    key = f"upsample_conv {images}x{height}x{width} {scale} {channels}x{outputs}"
    key += f" {values.dtype} {dtype} {out.dtype}"
    return Launch(
        key=key,
        kernel=upsample_conv_kernel,
        grid=lambda b: (
            images
            * cdiv(height, b["BLOCK_H"])
            * cdiv(width, b["BLOCK_W"])
            * phases
            * cdiv(outputs, b["BLOCK_N"]),
        ),
        arguments={
            "x": x,
            "weight": values,
            "weight_scale": scale_of(weight),
            "bias": bias,
            "out": out,
            "images": images,
            "height": height,
            "width": width,
            "outputs": outputs,
            "x_image_stride": x.stride(0),
            "x_row_stride": x.stride(1),
            "x_column_stride": x.stride(2),
            "weight_phase_stride": values.stride(0),
            "weight_stride": values.stride(1),
            "out_image_stride": out.stride(0),
            "out_row_stride": out.stride(1),
            "out_column_stride": out.stride(2),
        },
        constants={
            "CHANNELS": channels,
            "SCALE": scale,
            "DTYPE": TRITON_DTYPE[dtype],
            "PRECISION": device.product_precision,
        },
        tiles=device.tuned.get(key)
        or _tiles(device, (images, height, width), channels, outputs, scale, dtype),
    )


def _convolution(h: int, w: int, n: int, k: int, warps: int, stages: int) -> Tiles:
    return Tiles({"BLOCK_H": h, "BLOCK_W": w, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)


HALF = (
    _convolution(8, 16, 128, 64, 8, 3),
    _convolution(8, 8, 128, 64, 4, 3),
    _convolution(8, 8, 64, 32, 4, 4),
    _convolution(4, 8, 64, 32, 4, 4),
    _convolution(4, 8, 32, 64, 4, 3),
)
"""For 16-bit operands, the largest first."""

FLOAT32 = (
    _convolution(8, 8, 64, 16, 4, 2),
    _convolution(4, 8, 64, 16, 4, 2),
    _convolution(4, 8, 32, 16, 2, 2),
)
"""For float32, whose three-part products need more registers."""


def upsample_conv_candidates(dtype: torch.dtype) -> tuple[Tiles, ...]:
    """What tuning tries for a convolution whose operands have `dtype`."""
    return FLOAT32 if dtype == torch.float32 else HALF


def _tiles(
    device: Device,
    size: tuple[int, int, int],
    channels: int,
    outputs: int,
    scale: int,
    dtype: torch.dtype,
) -> Tiles:
    """The largest tile that still makes a program for every multiprocessor.

    Blocks of pixels are squarish, so that few of them have a border. In the interpreter a program
    costs the same whatever its size: the fewer the better.
    """
    images, height, width = size
    if device.interpreted:
        h, w = (min(power_of_two(length, least=4), 16) for length in (height, width))
        n, k = (min(power_of_two(length), 256) for length in (outputs, channels))
        return _convolution(h, w, n, k, warps=4, stages=1)
    candidates = upsample_conv_candidates(dtype)
    multiprocessors = find_target(device.target).multiprocessors
    for tiles in candidates:
        b = tiles.blocks
        blocks = images * cdiv(height, b["BLOCK_H"]) * cdiv(width, b["BLOCK_W"])
        if blocks * scale**2 * cdiv(outputs, b["BLOCK_N"]) >= multiprocessors:
            return tiles
    return candidates[-1]
