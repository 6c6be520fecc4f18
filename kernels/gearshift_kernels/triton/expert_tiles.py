"""Tile sizes of the products that are grouped by expert, and the candidates that tuning tries."""

from __future__ import annotations

import torch

from gearshift_kernels.triton.launch import Device, Tiles, cdiv, power_of_two
from gearshift_kernels.triton.targets import find_target
from gearshift_kernels.triton.tiles import product_candidates

TABLE_SUMS = 32
"""Of a thread that reads GELU from the table: each sum needs the addresses of two entries."""


def expert_candidates(dtype: torch.dtype, *, table: bool = False) -> tuple[Tiles, ...]:
    """What tuning tries for operands of `dtype`; `table`: with GELU from the table."""
    return tuple(
        tiles
        for tiles in product_candidates(dtype)
        if not table
        or tiles.blocks["BLOCK_M"] * tiles.blocks["BLOCK_N"] <= TABLE_SUMS * 32 * tiles.warps
    )


def expert_tiles(
    device: Device,
    choices: int,
    experts: int,
    columns: int,
    inner: int,
    dtype: torch.dtype,
    *,
    table: bool,
) -> Tiles:
    """Tiles of `choices` rows that are dealt out to experts, each (inner) x (inner, columns).

    The largest tile that still makes a program for every multiprocessor, of those that waste
    little: the last tile of a queue is half empty on average, an eighth of the work when a queue of
    average length has four tiles. If there is none, the smallest. It is the same tile whatever part
    of the experts a launch covers: a lone expert waits for the bus, not for the multiprocessors.
    """
    queue = cdiv(choices, experts)
    if device.interpreted:
        m, n, k = (min(power_of_two(size), 256) for size in (queue, columns, inner))
        return Tiles({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k})
    candidates = expert_candidates(dtype, table=table)
    multiprocessors = find_target(device.target).multiprocessors
    for tiles in candidates:
        m, n = tiles.blocks["BLOCK_M"], tiles.blocks["BLOCK_N"]
        if 4 * m <= queue and experts * cdiv(queue, m) * cdiv(columns, n) >= multiprocessors:
            return tiles
    return candidates[-1]
