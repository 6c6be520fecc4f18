"""LayerNorm on its own: where a matrix product cannot take it in."""

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.launch import Device, Launch, Tiles, cdiv, power_of_two, require
from gearshift_kernels.triton.numerics import normalised_chunk, rounded, row_statistics


@dataclass(frozen=True)
class Norm:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, biased variance."""

    scale: Tensor
    """float32 (D)."""
    bias: Tensor
    """float32 (D)."""
    epsilon: float


@triton.jit
def layer_norm_kernel(
    x,
    norm_scale,
    norm_bias,
    out,
    rows,
    tokens,
    width,
    x_image_stride,
    x_token_stride,
    out_image_stride,
    out_token_stride,
    epsilon,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    is_row = m < rows
    image, token = (m // tokens).to(tl.int64), (m % tokens).to(tl.int64)
    x_row = x + image * x_image_stride + token * x_token_stride
    out_row = out + image * out_image_stride + token * out_token_stride
    mean, deviation = row_statistics(x_row, is_row, width, epsilon, BLOCK_K)
    for start in range(0, width, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_column = k < width
        is_inside = is_row & is_column[None, :]
        chunk = tl.load(x_row + k[None, :], mask=is_inside, other=0.0).to(tl.float32)
        normal = normalised_chunk(chunk, mean, deviation, norm_scale, norm_bias, k, is_column)
        place = out_row + k[None, :]
        tl.store(place, rounded(normal, out.dtype.element_ty), mask=is_inside)


def layer_norm(device: Device, x: Tensor, norm: Norm, out: Tensor) -> Launch:
    """out = (x - mean) / sqrt(variance + epsilon) * scale + bias, in float32, token by token.

    Args:
        x: (N,T,D) float; images and tokens may be any distance apart, as those of `out`: the
            tokens without the class token are `tokens[:, 1:]`.
        norm: scale and bias of width D.
        out: (N,T,D) float; may be `x`.

    Raises:
        ValueError: shapes or strides do not fit.
    """
    require(x.ndim == 3, f"x has shape {tuple(x.shape)}, not (N, T, D)")
    images, tokens, width = x.shape
    require(out.shape == x.shape, f"out has shape {tuple(out.shape)}, not {tuple(x.shape)}")
    for name, tensor in (("x", x), ("out", out)):
        require(
            tensor.stride(2) == 1 or width <= 1,
            f"{name} has strides {tensor.stride()}: the elements of a token must be contiguous",
        )
    require(norm.scale.shape == norm.bias.shape == (width,), f"norm is not of width {width}")
    key = f"layer_norm {images}x{tokens}x{width} {x.dtype} {out.dtype}"
    return Launch(
        key=key,
        kernel=layer_norm_kernel,
        grid=lambda b: (cdiv(images * tokens, b["BLOCK_M"]) if width else 0,),
        arguments={
            "x": x,
            "norm_scale": norm.scale,
            "norm_bias": norm.bias,
            "out": out,
            "rows": images * tokens,
            "tokens": tokens,
            "width": width,
            "x_image_stride": x.stride(0),
            "x_token_stride": x.stride(1),
            "out_image_stride": out.stride(0),
            "out_token_stride": out.stride(1),
            "epsilon": norm.epsilon,
        },
        constants={},
        tiles=device.tuned.get(key) or _tiles(device, images * tokens, width),
    )


def _tiles(device: Device, rows: int, width: int) -> Tiles:
    """A token a warp, all of it at once if it is not wider than 1,024."""
    block = min(power_of_two(width), 1024)
    height = min(power_of_two(rows), 256) if device.interpreted else 4
    return Tiles({"BLOCK_M": height, "BLOCK_K": block})
