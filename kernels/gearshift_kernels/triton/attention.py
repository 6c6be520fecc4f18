"""softmax(Q K^T) V in one pass over the keys and values, without the matrix of scores."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.attention_tiles import attention_tiles
from gearshift_kernels.triton.exponential import exp2
from gearshift_kernels.triton.launch import TRITON_DTYPE, Device, Launch, cdiv, power_of_two, require
from gearshift_kernels.triton.numerics import operand, rounded

LOG2_E = 1.4426950408889634


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
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    APPROXIMATE: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    # The blocks of queries of a head follow each other: its keys and values stay in the L2 cache.
    blocks = tl.cdiv(tokens, BLOCK_M)
    image = (tl.program_id(0) // blocks // heads).to(tl.int64)
    head = (tl.program_id(0) // blocks % heads).to(tl.int64)
    m = tl.program_id(0) % blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    query += image * query_image_stride + head * query_head_stride
    key += image * key_image_stride + head * key_head_stride
    value += image * value_image_stride + head * value_head_stride
    out += image * out_image_stride + head * out_head_stride

    is_dim = d < HEAD_DIM
    is_inside = (m < tokens)[:, None] & is_dim[None, :]
    place = m.to(tl.int64)[:, None] * query_token_stride + d[None, :]
    q = operand(tl.load(query + place, mask=is_inside, other=0.0))
    maximum = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(0, tokens, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        is_key = n < tokens
        k_place = d[:, None] + n.to(tl.int64)[None, :] * key_token_stride
        k = tl.load(key + k_place, mask=is_dim[:, None] & is_key[None, :], other=0.0)
        v_place = n.to(tl.int64)[:, None] * value_token_stride + d[None, :]
        v = tl.load(value + v_place, mask=is_key[:, None] & is_dim[None, :], other=0.0)
        score = tl.dot(q, operand(k), input_precision=PRECISION)
        if start + BLOCK_N > tokens:
            score = tl.where(is_key[None, :], score, float("-inf"))
        larger = tl.maximum(maximum, tl.max(score, 1) * scale)
        weight = exp2(score * scale - larger[:, None], APPROXIMATE)
        # Exact in either form, so that errors do not add up from tile to tile.
        shrink = exp2(maximum - larger, False)
        total = total * shrink + tl.sum(weight, 1)
        mixed *= shrink[:, None]
        weight = operand(rounded(weight, DTYPE))
        mixed = tl.dot(weight, operand(v), mixed, input_precision=PRECISION)
        maximum = larger
    place = m.to(tl.int64)[:, None] * out_token_stride + d[None, :]
    mixed *= (1.0 / total)[:, None]
    tl.store(out + place, rounded(mixed, out.dtype.element_ty), mask=is_inside)


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
    block, as in the reordered attention of Edge-MoE (Sarkar et al., ICCAD 2023); the softmax of
    what has been seen so far is corrected when a larger score turns up (Milakov and Gimelshein,
    2018; Dao et al., "FlashAttention", 2022).

    With `approximate` each weight is off by at most EXP2_ERROR of
    `gearshift_kernels.approximations`, so that a result is off by 2.01 EXP2_ERROR of the largest
    value in size at most: 7.7e-6.

    Args:
        query, key, value: (N, heads, T, head_dim), head_dim up to 128, of one dtype, that of the
            products, whose sums are float32. Images, heads and tokens may be any distance apart,
            as those of `out`: they may be views of one packed matrix (N * T, 3 * D).
        out: (N, heads, T, head_dim) float.
        approximate: take powers from a polynomial.

    Raises:
        ValueError: shapes, strides or dtypes do not fit.
    """
    require(query.ndim == 4, f"query has shape {tuple(query.shape)}, not (N, heads, T, head_dim)")
    images, heads, tokens, head_dim = query.shape
    require(0 < head_dim <= 128, f"head_dim is {head_dim}, not from 1 to 128")
    tensors = {"query": query, "key": key, "value": value, "out": out}
    for name, tensor in tensors.items():
        require(
            tensor.shape == query.shape,
            f"{name} has shape {tuple(tensor.shape)}, not {tuple(query.shape)}",
        )
        require(
            tensor.stride(3) == 1 or head_dim == 1,
            f"{name} has strides {tensor.stride()}: the elements of a head must be contiguous",
        )
        require(
            name == "out" or tensor.dtype == query.dtype,
            f"{name} is of {tensor.dtype}, not {query.dtype} as query",
        )
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
        arguments={**tensors, "heads": heads, "tokens": tokens, **strides, "scale": head_dim**-0.5 * LOG2_E},
        constants={
            "HEAD_DIM": head_dim,
            "BLOCK_D": power_of_two(head_dim),
            "APPROXIMATE": approximate,
            "DTYPE": TRITON_DTYPE[query.dtype],
            "PRECISION": device.product_precision,
        },
        tiles=device.tuned.get(identity)
        or attention_tiles(device, images * heads, tokens, head_dim, query.dtype),
    )
