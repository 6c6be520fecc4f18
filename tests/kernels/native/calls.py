"""What the tests of native kernels share: memory with guards, weights by address, one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from gearshift_kernels.native.pack import (
    Packed,
    aligned,
    aligned_copy,
    from_bfloat16,
    pack_matrix,
    to_bfloat16,
)
from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8, Arguments, Norm, Weight
from gearshift_kernels.native.team import CallList, Team

PRECISIONS = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8}
GUARD = 64
POISON = {np.dtype(np.float32): np.nan, np.dtype(np.uint16): 0x7FC0, np.dtype(np.int32): -1}

# float32 rounds at 6e-8; the longest sums here have 2,000 terms, which err like their root.
FLOAT32_ERROR = 3e-6
BFLOAT16_ERROR = 2.0**-8
"""Of a number rounded to bfloat16, at most: it keeps 8 significant bits."""
ERRORS = {FLOAT32: FLOAT32_ERROR, BFLOAT16: 2 * BFLOAT16_ERROR, INT8: 0.03}
"""Of one product, as a share of the largest value. In bfloat16 both operands are rounded; errors of
many terms add up like their root, and leave room for a result that is rounded too. An int8 operand
is off by up to 1/254 of its row's largest value, and those errors add up like their root."""


class Kept:
    """Arrays that kernels read and write: kept alive, outputs poisoned and guarded."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []
        self._guards: list[np.ndarray] = []

    def at(self, array: np.ndarray, dtype: Any = None) -> int:
        """The address of an aligned copy."""
        copy = aligned_copy(np.ascontiguousarray(array), dtype)
        self._arrays.append(copy)
        return int(copy.ctypes.data)

    def operand(self, array: np.ndarray, precision: int) -> int:
        """The address of a copy as operands."""
        narrow = array if precision == FLOAT32 else to_bfloat16(array)
        return self.at(narrow, np.float32 if precision == FLOAT32 else np.uint16)

    def output(self, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """Poisoned memory with a guard behind it."""
        size = int(np.prod(shape))
        whole = aligned(size + GUARD, dtype)
        whole[:] = POISON[whole.dtype]
        self._guards.append(whole[size:])
        return whole[:size].reshape(shape)

    def weight(self, weight: np.ndarray, precision: int) -> Weight:
        packed: Packed = pack_matrix(weight, precision)
        self._arrays.append(packed)
        scales = [
            None if part is None else part.ctypes.data for part in (packed.scale, packed.correction)
        ]
        return Weight(packed.panels.ctypes.data, *scales, packed.outputs, packed.inputs)

    def norm(self, scale: np.ndarray, bias: np.ndarray, epsilon: float) -> Norm:
        return Norm(self.at(scale), self.at(bias), epsilon)

    def check_guards(self) -> None:
        for guard in self._guards:
            poison = POISON[guard.dtype]
            assert (np.isnan(guard) if guard.dtype == np.float32 else guard == poison).all()


def narrow_dtype(precision: int) -> Any:
    return np.float32 if precision == FLOAT32 else np.uint16


def wide(array: np.ndarray) -> np.ndarray:
    """The values of operands as float32."""
    return from_bfloat16(array) if array.dtype == np.uint16 else array


def rounded(array: np.ndarray, precision: int) -> np.ndarray:
    """What an array of operands holds of these values."""
    return array if precision == FLOAT32 else from_bfloat16(to_bfloat16(array))


def run(team: Team, precision: int, kept: Kept, *arguments: Arguments) -> None:
    """Run kernels one after the other and check that nothing was written past an output."""
    calls = CallList([(one, precision) for one in arguments])
    team.reserve(calls)
    team.run(calls)
    kept.check_guards()
    assert (calls.seconds >= 0).all()


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(wide(found) - wanted).max() / max(np.abs(wanted).max(), 1e-30))
