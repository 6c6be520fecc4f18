"""Bilinear resizing of a map, from any layout to channels first."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.launch import Device, Launch, Tiles, cdiv, power_of_two, require


@triton.jit
def resize_bilinear_kernel(
    x,
    out,
    old_height,
    old_width,
    height,
    width,
    channels,
    image_stride,
    row_stride,
    column_stride,
    channel_stride,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pixel_blocks = tl.cdiv(height * width, BLOCK_P)
    channel_blocks = tl.cdiv(channels, BLOCK_C)
    pixel_block = tl.program_id(0) % pixel_blocks
    channel_block = tl.program_id(0) // pixel_blocks % channel_blocks
    image = (tl.program_id(0) // (pixel_blocks * channel_blocks)).to(tl.int64)
    c = (channel_block * BLOCK_C + tl.arange(0, BLOCK_C))[:, None]
    pixel = (pixel_block * BLOCK_P + tl.arange(0, BLOCK_P))[None, :]
    is_inside = (c < channels) & (pixel < height * width)
    above, below, down = _neighbours(pixel // width, old_height, height)
    left, right, across = _neighbours(pixel % width, old_width, width)
    source = x + image * image_stride + c.to(tl.int64) * channel_stride
    above, below = above.to(tl.int64) * row_stride, below.to(tl.int64) * row_stride
    left, right = left.to(tl.int64) * column_stride, right.to(tl.int64) * column_stride
    top = _between(source + above + left, source + above + right, across, is_inside)
    bottom = _between(source + below + left, source + below + right, across, is_inside)
    mixed = (1.0 - down) * top + down * bottom
    place = out + (image * channels + c) * (height * width) + pixel
    tl.store(place, mixed, mask=is_inside)


@triton.jit
def _neighbours(i, old, new):
    """The two old pixels around new pixel i of an axis, and the share of the second.

    The place is (i + 1/2) * old / new - 1/2. As a fraction over 2 * new it is a whole number, so
    that no rounding can move it past a pixel; edges are repeated.
    """
    place = tl.maximum((2 * i + 1) * old - new, 0)
    first = place // (2 * new)
    second = tl.minimum(first + 1, old - 1)
    share = (place % (2 * new)).to(tl.float32) / (2 * new)
    return first, second, share


@triton.jit
def _between(first, second, share, is_inside):
    a = tl.load(first, mask=is_inside, other=0.0).to(tl.float32)
    b = tl.load(second, mask=is_inside, other=0.0).to(tl.float32)
    return (1.0 - share) * a + share * b


def resize_bilinear(device: Device, x: Tensor, out: Tensor) -> Launch:
    """A map at another size: half-pixel centres, edges repeated, no anti-aliasing.

    In PyTorch: `interpolate(mode="bilinear", align_corners=False)`.

    Args:
        x: (N,h,w,C) float with any strides; a map with its channels first is passed permuted.
        out: (N,C,H,W) float32, contiguous.

    Raises:
        ValueError: shapes or strides do not fit, or an axis would have 2^31 or more places.
    """
    require(x.ndim == 4, f"x has shape {tuple(x.shape)}, not (N, h, w, C)")
    images, old_height, old_width, channels = x.shape
    require(
        out.ndim == 4 and out.shape[:2] == (images, channels),
        f"out has shape {tuple(out.shape)}, not ({images}, {channels}, H, W)",
    )
    require(out.is_contiguous(), f"out has strides {out.stride()}: it must be contiguous")
    height, width = out.shape[2:]
    require(
        old_height * old_width > 0 or out.numel() == 0, f"x of {old_height} x {old_width} is empty"
    )
    for old, new in ((old_height, height), (old_width, width)):
        require(2 * old * new < 2**31, f"an axis of {old} pixels cannot become one of {new}")
    require(height * width < 2**31, f"out of {height} x {width} has 2^31 pixels or more")
    key = f"resize_bilinear {images}x{old_height}x{old_width}x{channels} {height}x{width} {x.dtype}"
    return Launch(
        key=key,
        kernel=resize_bilinear_kernel,
        grid=lambda b: (
            images * cdiv(channels, b["BLOCK_C"]) * cdiv(height * width, b["BLOCK_P"]),
        ),
        arguments={
            "x": x,
            "out": out,
            "old_height": old_height,
            "old_width": old_width,
            "height": height,
            "width": width,
            "channels": channels,
            "image_stride": x.stride(0),
            "row_stride": x.stride(1),
            "column_stride": x.stride(2),
            "channel_stride": x.stride(3),
        },
        constants={},
        tiles=device.tuned.get(key) or _tiles(device, height * width, channels),
    )


def _tiles(device: Device, pixels: int, channels: int) -> Tiles:
    """A row of a program's pixels is written together; its channels share what they read."""
    block = min(power_of_two(channels, least=1), 8)
    length = min(power_of_two(pixels), 4096) if device.interpreted else 128
    return Tiles({"BLOCK_C": block, "BLOCK_P": length})
