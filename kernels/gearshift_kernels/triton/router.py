"""The router: which experts a token goes to, how much each of them counts, and the expert queues.

As in M3ViT (Fan et al., 2022): a gate product, a softmax over all experts, the largest scores kept
as they are. All in float32, since a score rounded to 16 bits sends tokens to other experts.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.launch import (
    Device,
    Launch,
    Tiles,
    cdiv,
    power_of_two,
    require,
    require_rows,
)
from gearshift_kernels.triton.norm import Norm
from gearshift_kernels.triton.numerics import normalised_chunk, rounded, row_statistics
from gearshift_kernels.triton.queues import expert_queues, require_dense
from gearshift_kernels.triton.targets import find_target

NOT_A_NUMBER = tl.constexpr(-1.0)
"""Ranks behind every score."""
TAKEN = tl.constexpr(-2.0)
"""Ranks last: an expert that the token has already, or none at all."""


@triton.jit
def router_kernel(
    x,
    weight,
    bias,
    norm_scale,
    norm_bias,
    normalised,
    index,
    score,
    counts,
    rows,
    experts,
    inner,
    top_k,
    x_stride,
    weight_stride,
    normalised_stride,
    epsilon,
    prune_scores,
    BLOCK_M: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    block = tl.program_id(0)
    m = (block * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    e = tl.arange(0, BLOCK_E)[None, :]
    is_row, is_expert = m < rows, e < experts
    x_row = x + m.to(tl.int64) * x_stride
    if norm_scale is not None:
        mean, deviation = row_statistics(x_row, is_row, inner, epsilon, BLOCK_K)
    logits = tl.zeros([BLOCK_M, BLOCK_E], tl.float32)
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        is_inner = k < inner
        is_inside = is_row & is_inner[None, :]
        a = tl.load(x_row + k[None, :], mask=is_inside, other=0.0).to(tl.float32)
        if norm_scale is not None:
            a = normalised_chunk(a, mean, deviation, norm_scale, norm_bias, k, is_inner)
        if normalised is not None:
            place = normalised + m.to(tl.int64) * normalised_stride + k[None, :]
            tl.store(place, rounded(a, normalised.dtype.element_ty), mask=is_inside)
        place = weight + k[:, None] * weight_stride + e
        b = tl.load(place, mask=is_inner[:, None] & is_expert, other=0.0)
        logits = tl.dot(a, b, logits, input_precision="ieee")
    if bias is not None:
        logits += tl.load(bias + e, mask=is_expert, other=0.0)
    logits = tl.where(is_expert, logits, float("-inf"))
    powers = tl.exp(logits - tl.max(logits, 1)[:, None])
    scores = powers / tl.sum(powers, 1)[:, None]

    rank = tl.where(scores == scores, scores, NOT_A_NUMBER)
    rank = tl.where(is_expert, rank, TAKEN)
    for k in range(top_k):
        best = tl.max(rank, 1)[:, None]
        expert = tl.min(tl.where(rank == best, e, BLOCK_E), 1)[:, None]
        rank = tl.where(e == expert, TAKEN, rank)
        kept = tl.where(best > prune_scores, tl.maximum(best, 0.0), 0.0)
        tl.store(index + m * top_k + k, expert, mask=is_row)
        tl.store(score + m * top_k + k, kept, mask=is_row)
    chosen = ((rank == TAKEN) & is_row).to(tl.int32)
    tl.store(counts + block * experts + e, tl.sum(chosen, 0)[None, :], mask=is_expert)


def router(
    device: Device,
    x: Tensor,
    weight: Tensor,
    *,
    top_k: int,
    prune_scores: float,
    index: Tensor,
    score: Tensor,
    order: Tensor,
    offsets: Tensor,
    counts: Tensor,
    bias: Tensor | None = None,
    norm: Norm | None = None,
    normalised: Tensor | None = None,
) -> list[Launch]:
    """The top_k experts of every token with their gate scores, then the expert queues.

    Scores are softmax(norm(x) weight + bias) over all E experts. Each token keeps its top_k largest
    in falling order, not renormalised; equal scores go to the lower expert, and one at or below
    prune_scores becomes 0. A score that is not a number comes last and becomes 0 as well.

    Args:
        x: (M, D) float; its rows may be any distance apart, as those of `normalised`.
        weight: float32 (D, E), its rows any distance apart.
        top_k: K, from 1 to E.
        index: int32 (M, K), written: experts.
        score: float32 (M, K), written: their gate scores.
        order: int32 (M * K), written: the expert queues, see `expert_queues`.
        offsets: int32 (E + 1), written: where in `order` each queue begins and ends.
        counts: int32 (`router_blocks(device, M)`, E), scratch.
        bias: float32 (E), minus infinity for experts outside the task's window.
        norm: the LayerNorm of x before everything, width D.
        normalised: (M, D) float, written: norm(x) rounded to its dtype, for the experts to read.

    Raises:
        ValueError: shapes, strides or dtypes do not fit, or top_k is not from 1 to E.
    """
    (rows, inner), experts = x.shape, weight.shape[1]
    require_rows("x", x, None, None)
    require_rows("weight", weight, inner, experts)
    require(1 <= top_k <= experts, f"top_k is {top_k}, not from 1 to {experts}")
    require_dense("index", index, (rows, top_k), torch.int32)
    require_dense("score", score, (rows, top_k), torch.float32)
    require(bias is None or bias.shape == (experts,), f"bias is not ({experts},)")
    require(norm is None or norm.scale.shape == (inner,), f"norm is not of width {inner}")
    if normalised is not None:
        require_rows("normalised", normalised, rows, inner)
    block = _tokens_of_block(device, rows)
    blocks = router_blocks(device, rows)
    require_dense("counts", counts, (blocks, experts), torch.int32)
    kind = "norm" if norm else "plain"
    key = f"router {rows}x{experts}x{inner} top {top_k} {x.dtype} {kind}"
    gate = Launch(
        key=key,
        kernel=router_kernel,
        grid=lambda _: (blocks,),
        arguments={
            "x": x,
            "weight": weight,
            "bias": bias,
            "norm_scale": norm.scale if norm else None,
            "norm_bias": norm.bias if norm else None,
            "normalised": normalised,
            "index": index,
            "score": score,
            "counts": counts,
            "rows": rows,
            "experts": experts,
            "inner": inner,
            "top_k": top_k,
            "x_stride": x.stride(0),
            "weight_stride": weight.stride(0),
            "normalised_stride": normalised.stride(0) if normalised is not None else 0,
            "epsilon": norm.epsilon if norm else 0.0,
            "prune_scores": prune_scores,
        },
        constants={"BLOCK_M": block, "BLOCK_E": power_of_two(experts)},
        tiles=device.tuned.get(key) or _tiles(device, block, inner),
    )
    return [gate, expert_queues(device, index, counts, order, offsets, block)]


def router_blocks(device: Device, rows: int) -> int:
    """How many blocks of tokens the router counts on its own: the rows of its `counts`."""
    return cdiv(rows, _tokens_of_block(device, rows))


def _tokens_of_block(device: Device, rows: int) -> int:
    """The largest block that still makes a program for every multiprocessor, or the smallest.

    Not tuned: the caller's memory and both launches depend on it.
    """
    if device.interpreted:
        return min(power_of_two(rows), 256)
    multiprocessors = find_target(device.target).multiprocessors
    for block in (128, 64, 32):
        if cdiv(rows, block) >= multiprocessors:
            return block
    return 16


ROUTER_CANDIDATES = (
    Tiles({"BLOCK_K": 32}, warps=4),
    Tiles({"BLOCK_K": 32}, warps=8),
    Tiles({"BLOCK_K": 16}, warps=4),
    Tiles({"BLOCK_K": 16}, warps=8),
)
"""For tuning. The second is for large blocks of tokens."""


def _tiles(device: Device, block: int, inner: int) -> Tiles:
    if device.interpreted:
        return Tiles({"BLOCK_K": min(power_of_two(inner), 512)})
    return ROUTER_CANDIDATES[block >= 64]
