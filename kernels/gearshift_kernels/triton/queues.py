"""Expert queues: every expert's tokens in token order, and the tiles of work they are cut into.

An expert computes all its tokens at once, so that its weights are read once however the router
deals the tokens out: the expert-by-expert order of Edge-MoE (Sarkar et al., ICCAD 2023).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gearshift_kernels.triton.launch import Device, Launch, Tiles, cdiv, power_of_two, require


@triton.jit
def expert_queues_kernel(
    index,
    counts,
    order,
    offsets,
    rows,
    blocks,
    experts,
    top_k,
    BLOCK_M: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    block = tl.program_id(0)
    e = tl.arange(0, BLOCK_E)[None, :]
    is_expert = e < experts
    in_all = tl.zeros([BLOCK_E], tl.int32)
    in_earlier = tl.zeros([BLOCK_E], tl.int32)
    for start in range(0, blocks, BLOCK_B):
        b = start + tl.arange(0, BLOCK_B)[:, None]
        count = tl.load(counts + b * experts + e, mask=(b < blocks) & is_expert, other=0)
        in_all += tl.sum(count, 0)
        in_earlier += tl.sum(tl.where(b < block, count, 0), 0)
    begin = (tl.cumsum(in_all, 0) - in_all)[None, :]
    if block == 0:
        tl.store(offsets + e, begin, mask=is_expert)
        tl.store(offsets + experts, rows * top_k)

    m = (block * BLOCK_M + tl.arange(0, BLOCK_M))[:, None]
    is_row = m < rows
    chosen = tl.zeros([BLOCK_M, BLOCK_E], tl.int32)
    for k in range(top_k):
        expert = tl.load(index + m * top_k + k, mask=is_row, other=BLOCK_E)
        chosen += (e == expert).to(tl.int32)
    # A token chooses an expert once at most, so that the tokens before it are the places before it.
    place = begin + in_earlier[None, :] + tl.cumsum(chosen, 0) - chosen
    for k in range(top_k):
        expert = tl.load(index + m * top_k + k, mask=is_row, other=BLOCK_E)
        own = tl.sum(tl.where(e == expert, place, 0), 1)[:, None]
        tl.store(order + own, m * top_k + k, mask=is_row)


def expert_queues(
    device: Device, index: Tensor, counts: Tensor, order: Tensor, offsets: Tensor, block: int
) -> Launch:
    """Sort the choices of all tokens by expert: a counting sort, and so a stable one.

    Args:
        index: int32 (M, K), the experts of every token, each at most once a token.
        counts: int32 (blocks, E), how often each block of tokens chose each expert.
        order: int32 (M * K), written: the queues one after another. A place of a queue holds the
            number of a choice, token * K + k.
        offsets: int32 (E + 1), written: expert e's queue is order[offsets[e] : offsets[e + 1]].
        block: tokens of a block.

    Raises:
        ValueError: shapes, strides or dtypes do not fit.
    """
    (rows, top_k), experts = index.shape, counts.shape[1]
    blocks = cdiv(rows, block)
    require_dense("index", index, (rows, top_k), torch.int32)
    require_dense("counts", counts, (blocks, experts), torch.int32)
    require_dense("order", order, (rows * top_k,), torch.int32)
    require_dense("offsets", offsets, (experts + 1,), torch.int32)
    require(rows * top_k < 2**31, f"{rows} tokens x {top_k} experts: too many for int32")
    key = f"expert_queues {rows}x{experts} top {top_k}"
    return Launch(
        key=key,
        kernel=expert_queues_kernel,
        # Without tokens there still are queues, all of them empty.
        grid=lambda _: (max(blocks, 1),),
        arguments={
            "index": index,
            "counts": counts,
            "order": order,
            "offsets": offsets,
            "rows": rows,
            "blocks": blocks,
            "experts": experts,
            "top_k": top_k,
        },
        constants={"BLOCK_M": block, "BLOCK_E": power_of_two(experts)},
        tiles=device.tuned.get(key) or QUEUE_CANDIDATES[block >= 64],
    )


QUEUE_CANDIDATES = (Tiles({"BLOCK_B": 32}, warps=4), Tiles({"BLOCK_B": 32}, warps=8))
"""For tuning: blocks whose counts are read at a time. The second is for large blocks of tokens."""


@triton.jit
def find_tile(
    offsets,
    first,
    count,
    columns,
    BLOCK_E: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """A program's expert, the first place of its tile, the end of its queue, its block of columns.

    The tiles of an expert are next to each other, and among them those that read the same part of
    its weights, so that the weights stay in the L2 cache. A surplus program gets an expert that is
    not one of the `count` experts from `first` on.
    """
    program = tl.program_id(0)
    across = tl.cdiv(columns, BLOCK_N)
    e = tl.arange(0, BLOCK_E)
    begins = tl.load(offsets + first + e, mask=e < count, other=0)
    ends = tl.load(offsets + first + e + 1, mask=e < count, other=0)
    tiles = (ends - begins + BLOCK_M - 1) // BLOCK_M
    own = tl.sum((tl.cumsum(tiles, 0) * across <= program).to(tl.int32), 0)
    earlier = tl.sum(tl.where(e < own, tiles, 0), 0)
    inside = program - earlier * across
    # A surplus program has no tiles of its own to divide by.
    height = tl.maximum(tl.sum(tl.where(e == own, tiles, 0), 0), 1)
    begin = tl.sum(tl.where(e == own, begins, 0), 0)
    end = tl.sum(tl.where(e == own, ends, 0), 0)
    return first + own, begin + inside % height * BLOCK_M, end, inside // height


def most_tiles(rows: int, top_k: int, experts: int, block: int) -> int:
    """The most tiles of `block` places that the queues of some `experts` experts are cut into.

    Of `rows` tokens each chooses an expert once at most, and chooses `top_k` in all. A queue ends
    in one tile that is not full, unless it is empty.
    """
    choices = rows * min(top_k, experts)
    ragged = (choices + min(experts, choices) * (block - 1)) // block
    return min(ragged, experts * cdiv(rows, block))


def require_dense(name: str, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Shape and dtype as wanted, and no gaps.

    Raises:
        ValueError: it is not so.
    """
    require(tuple(x.shape) == shape, f"{name} has shape {tuple(x.shape)}, not {shape}")
    require(x.dtype == dtype, f"{name} is {x.dtype}, not {dtype}")
    require(x.is_contiguous(), f"{name} has strides {x.stride()}: it must be contiguous")
