"""Weights in the layout that the native kernels stream, and aligned memory.

A weight (outputs, inputs) becomes panels of 16 outputs; in a panel the inputs come in groups of
four bytes (one float32, two bfloat16, four int8), each group as 16 outputs side by side, one cache
line: (panels, groups, 16, inputs of a group). Outputs are padded to a multiple of 16, inputs to a
multiple of 64 bytes, both with zeros. It is also the layout of the right operand of AMX tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8

LANES = 16
LINE = 64
"""Bytes of a cache line."""

DTYPES: dict[int, type[np.generic]] = {FLOAT32: np.float32, BFLOAT16: np.uint16, INT8: np.int8}
"""By precision, what a weight is kept in; numpy has no bfloat16, so its bits stand in uint16."""


def aligned(shape: int | Sequence[int], dtype: Any) -> NDArray[Any]:
    """Uninitialised C-ordered memory that begins at a multiple of 64 bytes."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.empty(nbytes + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def aligned_copy(array: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """A copy in aligned memory."""
    copy = aligned(array.shape, array.dtype if dtype is None else dtype)
    copy[...] = array
    return copy


def to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def pad_lanes(array: NDArray[Any], value: float = 0.0) -> NDArray[np.float32]:
    """An array in float32 with its last axis padded to a multiple of 16 with `value`."""
    spare = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % LANES)]
    return np.pad(np.asarray(array, np.float32), spare, constant_values=value)


@dataclass(frozen=True)
class Packed:
    """A weight in panels; int8 has a scale and a correction for every (padded) output."""

    panels: NDArray[Any]
    scale: NDArray[np.float32] | None
    correction: NDArray[np.float32] | None
    outputs: int
    inputs: int


def pack_matrix(weight: NDArray[np.float32], precision: int) -> Packed:
    """The panels of a weight (outputs, inputs), in FLOAT32, BFLOAT16 or INT8.

    int8 is symmetric, with the largest magnitude of each output at 127. Since the other operand
    comes as bytes that stand 128 too high, each output's sum of integers times 128 is its
    correction.
    """
    outputs, inputs = weight.shape
    group = 4 // np.dtype(DTYPES[precision]).itemsize
    unit = LANES * group
    full = np.zeros((-(-outputs // LANES) * LANES, -(-inputs // unit) * unit), np.float32)
    full[:outputs, :inputs] = weight
    scale = correction = None
    if precision == INT8:
        scale = np.abs(full).max(axis=1) / np.float32(127)
        full = np.rint(full / np.where(scale == 0, 1, scale)[:, None])
        correction = 128 * full.sum(axis=1, dtype=np.float64).astype(np.float32)
    values = to_bfloat16(full) if precision == BFLOAT16 else full.astype(DTYPES[precision])
    panels = values.reshape(len(full) // LANES, LANES, -1, group).transpose(0, 2, 1, 3)
    return Packed(
        aligned_copy(panels),
        None if scale is None else aligned_copy(scale),
        None if correction is None else aligned_copy(correction),
        outputs,
        inputs,
    )
