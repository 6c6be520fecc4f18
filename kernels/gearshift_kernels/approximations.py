"""What an accelerator may approximate: GELU from a table, 2^x from a polynomial or a table, and the
reciprocal square root from a table.

Tables and coefficients are made here and nowhere else, so that GPU, CPU and FPGA compute the same
function. Beside each stands the oracle of what it computes, in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

GELU_STEP = 2.0**-5
"""Distance between two entries of the table."""

GELU_RANGE = 5.5
"""From this |x| on, GELU is taken to be ReLU."""

GELU_ERROR = 9.76e-5
"""Bound of |gelu_table(x) - gelu(x)|: GELU_STEP^2 / 8 times the largest curvature, sqrt(2 / pi) at
0, is 9.74e-5, and the entries are rounded by up to 2^-23."""

EXP2_DEGREE = 4

EXP2_ERROR = 2.0**-18
"""Bound of |exp2_polynomial(x) / 2^x - 1| where the result is not 0; holds in float32 as well."""

EXP2_LEAST = -126.5
"""Below, exp2_polynomial is 0: the exponents of float32's normal numbers end there."""


def gelu_deltas() -> NDArray[np.float32]:
    """What GELU takes off ReLU: entry i is relu(x) - gelu(x) at |x| = i * GELU_STEP, (177).

    The difference is even, |x| Phi(-|x|), so that one table serves both signs. Entries are rounded
    to multiples of 2^-22, as fixed-point hardware holds them. The last one, at GELU_RANGE, is 0:
    interpolation ends where ReLU begins, without a step.

    Source: Sarkar et al., "Edge-MoE" (ICCAD 2023), the section on GELU, and its published code.
    """
    places = GELU_STEP * np.arange(round(GELU_RANGE / GELU_STEP) + 1)
    exact = [x / 2 * math.erfc(x / math.sqrt(2)) for x in places]
    return (np.round(np.array(exact) * 2**22) / 2**22).astype(np.float32)


def gelu_table(x: NDArray[Any]) -> NDArray[np.float64]:
    """relu(x) - delta(|x|), with delta between two entries of `gelu_deltas` on a straight line.

    Within GELU_ERROR of GELU on the whole line. Infinity stays, minus infinity becomes 0, NaN stays
    NaN and a zero keeps its sign.
    """
    x = np.asarray(x, dtype=np.float64)
    deltas = gelu_deltas()
    places = GELU_STEP * np.arange(len(deltas))
    return np.where(x < 0, 0.0, x) - np.interp(np.abs(x), places, deltas)


def exp2_coefficients() -> NDArray[np.float32]:
    """The polynomial that stands for 2^f, -1/2 <= f <= 1/2: coefficients (5), lowest power first.

    It meets 2^f at the Chebyshev nodes of the interval, which spreads the error almost evenly. The
    middle node is 0, so that 2^0 is exactly 1.
    """
    count = EXP2_DEGREE + 1
    nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count) / 2
    powers = np.vander(nodes, increasing=True)
    return np.linalg.solve(powers, np.exp2(nodes)).astype(np.float32)


def exp2_polynomial(x: NDArray[Any]) -> NDArray[np.float64]:
    """2^x for x up to 128: x = i + f with i the nearest integer, 2^i the polynomial of f.

    The relative error is below EXP2_ERROR. Below EXP2_LEAST, minus infinity included, the result is
    0; NaN stays NaN.
    """
    x = np.asarray(x, dtype=np.float64)
    normal = np.where(x < EXP2_LEAST, 0.0, x)
    integer = np.rint(normal)
    power = np.polynomial.polynomial.polyval(normal - integer, exp2_coefficients())
    return np.where(x < EXP2_LEAST, 0.0, power * np.exp2(integer))


POWER_STEPS = 64
"""Entries of `power_table` for a factor of two."""

ROOT_STEPS = 64
"""Entries of `root_table` for a step of one."""


def power_table() -> NDArray[np.int64]:
    """2^-f for 0 <= f <= 1: entry i is round(2^16 2^(-i / POWER_STEPS)), (65).

    A straight line between two entries is off by less than (ln 2 / POWER_STEPS)^2 / 8 = 1.5e-5.
    """
    return np.rint(2.0 ** (16 - np.arange(POWER_STEPS + 1) / POWER_STEPS)).astype(np.int64)


def root_table() -> NDArray[np.int64]:
    """x^-1/2 for 1 <= x <= 4: entry i is round(2^17 (1 + i / ROOT_STEPS)^-1/2), (193).

    A straight line between two entries is off by less than 3 / 32 / ROOT_STEPS^2 = 2.3e-5.
    """
    places = 1 + np.arange(3 * ROOT_STEPS + 1) / ROOT_STEPS
    return np.rint(2.0**17 / np.sqrt(places)).astype(np.int64)
