"""softmax(Q K^T) V in one pass over the keys and values, without the matrix of scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.exponential import LOG2_E, exp2
from gearshift_kernels.triton.launch import (
    TRITON_DTYPE,
    Device,
    Launch,
    Tiles,
    cdiv,
    power_of_two,
    require,
)
from gearshift_kernels.triton.numerics import operand, rounded
from gearshift_kernels.triton.targets import find_target

LARGEST_HEAD_DIM = 128


@triton.jit
def attention_kernel(
    query,
    key,
    value,
    out,
    heads,
    tokens,
    query_image_stride,
    query_head_stride,
    query_token_stride,
    key_image_stride,
    key_head_stride,
    key_token_stride,
    value_image_stride,
    value_head_stride,
    value_token_stride,
    out_image_stride,
    out_head_stride,
    out_token_stride,
    scale,
    APPROXIMATE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # The blocks of queries of a head follow each other: its keys and values stay in the L2 cache.
    blocks = tl.cdiv(tokens, BLOCK_M)
    image = (tl.program_id(0) // blocks // heads).to(tl.int64)
    head = (tl.program_id(0) // blocks % heads).to(tl.int64)
    query += image * query_image_stride + head * query_head_stride
    key += image * key_image_stride + head * key_head_stride
    value += image * value_image_stride + head * value_head_stride
    out += image * out_image_stride + head * out_head_stride
    m = tl.program_id(0) % blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    is_element = d < HEAD_DIM
    is_inside = (m < tokens)[:, None] & is_element[None, :]
    q_place = query + m.to(tl.int64)[:, None] * query_token_stride + d[None, :]
    q = operand(tl.load(q_place, mask=is_inside, other=0.0))

    # Of the scores so far, times `scale`: the largest, the sum of the weights relative to it, and
    # the values summed with these weights.
    maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(0, tokens, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        is_key = n < tokens
        k_place = key + n.to(tl.int64)[None, :] * key_token_stride + d[:, None]
        k = tl.load(k_place, mask=is_element[:, None] & is_key[None, :], other=0.0)
        v_place = value + n.to(tl.int64)[:, None] * value_token_stride + d[None, :]
        v = tl.load(v_place, mask=is_key[:, None] & is_element[None, :], other=0.0)
        score = tl.dot(q, operand(k), input_precision=PRECISION)
        # Only the last tile can have keys that are not there.
        if start + BLOCK_N > tokens:
            score = tl.where(is_key[None, :], score, float("-inf"))
        larger = tl.maximum(maximum, tl.max(score, 1) * scale)
        weight = exp2(score * scale - larger[:, None], APPROXIMATE)
        # Exact in either form, lest its error grow from tile to tile.
        shrink = exp2(maximum - larger, False)
        total = total * shrink + tl.sum(weight, 1)
        weight = operand(rounded(weight, DTYPE))
        mixed = tl.dot(weight, operand(v), mixed * shrink[:, None], input_precision=PRECISION)
        maximum = larger

    mixed *= (1.0 / total)[:, None]
    out_place = out + m.to(tl.int64)[:, None] * out_token_stride + d[None, :]
    tl.store(out_place, rounded(mixed, out.dtype.element_ty), mask=is_inside)


def attention(
    device: Device,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    *,
    approximate: bool = False,
) -> Launch:
    """out = softmax(head_dim^-0.5 query key^T) value, head by head.

    A block of queries visits the keys and values tile by tile, each loaded once for the whole
    block, as in the reordered attention of Edge-MoE (Sarkar et al., ICCAD 2023). What has been
    summed so far shrinks when a larger score turns up (Milakov and Gimelshein, "Online normalizer
    calculation for softmax", 2018; Dao et al., "FlashAttention", 2022).

    Weights are rounded to the dtype of the products, their sum is not. With `approximate` each of
    them is off by at most EXP2_ERROR of `gearshift_kernels.approximations`, so that a result is off
    by 2.01 EXP2_ERROR, 7.7e-6, of the largest value in size at most.

    Args:
        query, key, value: (N, heads, T, head_dim) of one dtype, that of the products, whose sums
            are float32; head_dim up to 128. Images, heads and tokens may be any distance apart, as
            those of `out`: all three may be views of one matrix (N * T, 3 * heads * head_dim).
        out: (N, heads, T, head_dim) float.
        approximate: take powers from a polynomial.

    Raises:
        ValueError: shapes, strides or dtypes do not fit.
    """
    require(query.ndim == 4, f"query has shape {tuple(query.shape)}, not (N, heads, T, head_dim)")
    images, heads, tokens, head_dim = query.shape
    require(
        0 < head_dim <= LARGEST_HEAD_DIM,
        f"head_dim is {head_dim}, not from 1 to {LARGEST_HEAD_DIM}",
    )
    tensors = {"query": query, "key": key, "value": value, "out": out}
    for name, tensor in tensors.items():
        _require_like(name, tensor, query)
    form = "approximate" if approximate else "exact"
    identity = f"attention {images}x{heads}x{tokens}x{head_dim} {query.dtype} {out.dtype} {form}"
    strides = {
        f"{name}_{axis}_stride": tensor.stride(place)
        for name, tensor in tensors.items()
        for place, axis in enumerate(("image", "head", "token"))
    }
    return Launch(
        key=identity,
        kernel=attention_kernel,
        grid=lambda b: (images * heads * cdiv(tokens, b["BLOCK_M"]),),
        arguments={
            **tensors,
            **strides,
            "heads": heads,
            "tokens": tokens,
            "scale": head_dim**-0.5 * LOG2_E.value,
        },
        constants={
            "APPROXIMATE": approximate,
            "HEAD_DIM": head_dim,
            "BLOCK_D": power_of_two(head_dim),
            "DTYPE": TRITON_DTYPE[query.dtype],
            "PRECISION": device.product_precision,
        },
        tiles=device.tuned.get(identity)
        or _tiles(device, images * heads, tokens, head_dim, query.dtype),
    )


def _require_like(name: str, tensor: Tensor, query: Tensor) -> None:
    """Raises ValueError unless the tensor is of the query's shape, and its dtype but for `out`."""
    shape = tuple(query.shape)
    require(tensor.shape == query.shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}")
    require(
        tensor.stride(3) == 1 or tensor.shape[3] == 1 or tensor.numel() == 0,
        f"{name} has strides {tensor.stride()}: the elements of a head must be contiguous",
    )
    require(
        name == "out" or tensor.dtype == query.dtype,
        f"{name} is of {tensor.dtype}, query of {query.dtype}",
    )


def _block(queries: int, keys: int, warps: int, stages: int) -> Tiles:
    return Tiles({"BLOCK_M": queries, "BLOCK_N": keys}, warps, stages)


HALF: Mapping[int, tuple[Tiles, ...]] = {
    32: (_block(128, 64, 4, 3), _block(64, 64, 4, 3), _block(32, 64, 2, 3), _block(16, 64, 4, 3)),
    64: (_block(128, 64, 8, 3), _block(64, 64, 4, 3), _block(32, 64, 2, 3), _block(16, 64, 4, 3)),
    128: (_block(128, 64, 8, 2), _block(64, 64, 4, 2), _block(32, 64, 2, 2), _block(16, 64, 4, 2)),
}
"""For 16-bit operands, by the head_dim up to which they serve, the largest first."""

FLOAT32: Mapping[int, tuple[Tiles, ...]] = {
    32: (_block(64, 32, 4, 2), _block(32, 32, 2, 2), _block(16, 64, 4, 2)),
    64: (_block(64, 32, 4, 2), _block(32, 32, 4, 2), _block(16, 32, 4, 2)),
    128: (_block(32, 16, 4, 2), _block(16, 32, 8, 2)),
}
"""For float32, whose three-part products need more registers."""


def attention_candidates(dtype: torch.dtype, head_dim: int) -> tuple[Tiles, ...]:
    """What tuning tries for operands of `dtype`, the largest block of queries first."""
    table = FLOAT32 if dtype == torch.float32 else HALF
    return next(candidates for most, candidates in table.items() if head_dim <= most)


def _tiles(device: Device, heads: int, tokens: int, head_dim: int, dtype: torch.dtype) -> Tiles:
    """The largest block of queries that makes a program for every multiprocessor, and no more than
    half as many rows again as there are queries; the smallest if there is none."""
    if device.interpreted:
        block = min(power_of_two(tokens), 1024)
        return _block(block, block, warps=4, stages=1)
    candidates = attention_candidates(dtype, head_dim)
    multiprocessors = find_target(device.target).multiprocessors
    for tiles in candidates:
        block = tiles.blocks["BLOCK_M"]
        blocks = cdiv(tokens, block)
        if heads * blocks >= multiprocessors and 2 * blocks * block <= 3 * tokens:
            return tiles
    return candidates[-1]
