"""GELU: exact, and as relu minus a table."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def gelu_exact(x):
    """x/2 (1 + erf(x / sqrt 2)) of float32 x (Hendrycks and Gimpel, 2016)."""
    return 0.5 * x * (1.0 + tl.math.erf(x * 0.7071067811865476))


@triton.jit
def gelu_table(x, deltas):
    return x
