"""Real factors as the accelerator multiplies by them: a 16-bit multiplier and a right shift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gearshift.errors import BackendError
from gearshift_hls.descriptor import MAX_SHIFT

Float64 = NDArray[np.float64]

MULTIPLIER_BITS = 16


def multiplier_and_shift(
    factors: Float64, layer: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """factor = multiplier / 2^shift, multiplier in [2^15, 2^16): off by 2^-16 of it at most.

    A factor below 2^15 / 2^MAX_SHIFT becomes 0: no 32-bit sum times it reaches one half.

    Args:
        factors: real factors, none negative, of any shape.
        layer: named in an error.

    Raises:
        BackendError: a factor of 2^16 or more, or one that is not a number.
    """
    factors = np.asarray(factors, np.float64)
    limit = 1 << MULTIPLIER_BITS
    if not (factors >= 0).all() or (factors >= limit - 0.5).any():
        worst = factors.reshape(-1)[np.argmax(np.nan_to_num(factors, nan=np.inf))]
        raise BackendError(
            f"{layer}: its results would be multiplied by {worst:.4g}, and the accelerator "
            f"multiplies by 0 to {limit - 1}: check the layer's weights"
        )
    fraction, exponent = np.frexp(factors)
    multiplier = np.rint(fraction * limit).astype(np.int64)
    carry = multiplier == limit
    multiplier = np.where(carry, limit // 2, multiplier)
    shift = MULTIPLIER_BITS - exponent.astype(np.int64) - carry
    alive = (shift <= MAX_SHIFT) & (multiplier > 0)
    return np.where(alive, multiplier, 0), np.where(alive, shift, 0)


def one_multiplier(factor: float, layer: str) -> tuple[int, int]:
    """The same for a single factor."""
    multiplier, shift = multiplier_and_shift(np.array(factor), layer)
    return int(multiplier), int(shift)
