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
