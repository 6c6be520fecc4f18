"""2^x of float32 x, exact and as a polynomial."""

from __future__ import annotations

import triton
import triton.language as tl

from gearshift_kernels.approximations import exp2_coefficients

LOG2_E = tl.constexpr(1.4426950408889634)
"""e^x = 2^(LOG2_E x)."""

C0, C1, C2, C3, C4 = (tl.constexpr(float(c)) for c in exp2_coefficients())

TO_INTEGER = tl.constexpr(1.5 * 2**23)
"""Added to a float32 below 2^22 in size, it leaves the nearest integer in the lowest bits."""


@triton.jit
def exp2(x, APPROXIMATE: tl.constexpr):
    """2^x in the form asked for."""
    if APPROXIMATE:
        return exp2_polynomial(x)
    else:
        return exp2_exact(x)


@triton.jit
def exp2_exact(x):
    """2^x from the special-function unit: a relative error of 2^-22 on NVIDIA's (PTX ISA, ex2)."""
    return tl.math.exp2(x)


@triton.jit
def exp2_polynomial(x):
    """2^x for x up to 128, as `approximations.exp2_polynomial`, within its error.

    Eleven additions, products and shifts: they leave the special-function unit alone, which pays
    where that unit is the bottleneck and the others have time left.
    """
    # Minus infinity must not reach the subtraction; a NaN must.
    x = tl.maximum(x, -127.0, propagate_nan=tl.PropagateNan.ALL)
    shifted = x + TO_INTEGER
    f = x - (shifted - TO_INTEGER)
    power = (((C4 * f + C3) * f + C2) * f + C1) * f + C0
    # The bits of TO_INTEGER itself are shifted out; i + 127 is the exponent of 2^i, and its bits
    # are those of 0 at i = -127.
    scale = (shifted.to(tl.int32, bitcast=True) << 23) + 0x3F800000
    return power * scale.to(tl.float32, bitcast=True)
