"""Tile sizes of matrix products by target and shape, and the candidates that tuning tries."""

from __future__ import annotations

import torch

from gearshift_kernels.triton.launch import Device, Tiles, cdiv, power_of_two
from gearshift_kernels.triton.targets import find_target


def _product(m: int, n: int, k: int, warps: int, stages: int) -> Tiles:
    return Tiles({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)


HALF = (
    _product(128, 128, 32, 8, 3),
    _product(64, 128, 32, 4, 3),
    _product(64, 64, 64, 4, 3),
    _product(32, 64, 64, 4, 3),
    _product(16, 64, 64, 4, 3),
    _product(16, 32, 64, 2, 3),
)
"""For 16-bit operands, the largest first: 99 KiB of shared memory hold each of them."""

FLOAT32 = (
    _product(64, 64, 16, 4, 2),
    _product(32, 64, 16, 4, 2),
    _product(16, 64, 32, 4, 2),
    _product(16, 32, 32, 2, 2),
)
"""For float32, whose three-part products need more registers."""


def product_candidates(dtype: torch.dtype) -> tuple[Tiles, ...]:
    """What tuning tries for a matrix product with operands of `dtype`."""
    return FLOAT32 if dtype == torch.float32 else HALF


def product_tiles(device: Device, rows: int, columns: int, inner: int, dtype: torch.dtype) -> Tiles:
    """Tiles of a product (rows, inner) x (inner, columns) whose operands have `dtype`.

    The largest tile that still makes a program for every multiprocessor; a small product takes
    the smallest. In the interpreter a program costs the same whatever its size: the fewer the
    better.
    """
    if device.interpreted:
        m, n, k = (min(power_of_two(size), 256) for size in (rows, columns, inner))
        return _product(m, n, k, warps=4, stages=1)
    candidates = product_candidates(dtype)
    multiprocessors = find_target(device.target).multiprocessors
    for tiles in candidates:
        blocks = tiles.blocks
        programs = cdiv(rows, blocks["BLOCK_M"]) * cdiv(columns, blocks["BLOCK_N"])
        if programs >= multiprocessors:
            return tiles
    return candidates[-1]


def expert_tiles(
    device: Device, choices: int, experts: int, columns: int, inner: int, dtype: torch.dtype
) -> Tiles:
    """Tiles of `choices` rows that are dealt out to experts, each (inner) x (inner, columns).

    The largest tile that still makes a program for every multiprocessor, of those that waste
    little: the last tile of a queue is half empty on average, an eighth of the work when a queue of
    average length has four tiles. If there is none, the smallest. It is the same tile whatever part
    of the experts a launch covers: a lone expert waits for the bus, not for the multiprocessors.
    """
    queue = cdiv(choices, experts)
    if device.interpreted:
        return product_tiles(device, queue, columns, inner, dtype)
    candidates = product_candidates(dtype)
    multiprocessors = find_target(device.target).multiprocessors
    for tiles in candidates:
        m, n = tiles.blocks["BLOCK_M"], tiles.blocks["BLOCK_N"]
        if 4 * m <= queue and experts * cdiv(queue, m) * cdiv(columns, n) >= multiprocessors:
            return tiles
    return candidates[-1]
