"""The accelerator's arithmetic on integers: every rounding and every saturation, defined once.

Plain numpy on int64, which holds every intermediate exactly. Shifts to the right round to the
nearest integer, halves up; nothing wraps around.

| name | width | fraction bits | holds |
|---|---|---|---|
| operand | int8 or uint8 | scale chosen by calibration | inputs of the array |
| weight | int8 | a scale an output channel | |
| sum | int32 | | products, exact |
| value | int16 | 10 (`VALUE_BITS`) | normalised tokens, GELU's input |
| power | int32 | 10 | logits to base 2 |
| residual | int32 | 16 (`RESIDUAL_BITS`) | the residual stream |
| score | uint16 | 16 (`SCORE_BITS`) | gate scores |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_kernels.approximations import gelu_deltas, power_table, root_table

Int = NDArray[np.int64]

VALUE_BITS = 10
RESIDUAL_BITS = 16
SCORE_BITS = 16

GELU_TABLE: Int = np.rint(gelu_deltas().astype(np.float64) * 2**16).astype(np.int64)
"""ReLU minus GELU at |x| = i / 32, 16 fraction bits, (177)."""
POWER_TABLE: Int = power_table()
"""2^-(i / 64), 16 fraction bits, (65)."""
ROOT_TABLE: Int = root_table()
"""(1 + i / 64)^-1/2, 17 fraction bits, (193)."""


def shift_right(value: Any, shift: Any) -> Int:
    """value / 2^shift, rounded to the nearest integer, halves up. |value| < 2^61, shift 0..63.

    A shift of 63 gives 0.
    """
    value, shift = np.asarray(value, np.int64), np.asarray(shift, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return (value + half) >> shift


def saturate(value: Int, bits: int, unsigned: bool = False) -> Int:
    """The nearest integer that `bits` bits hold."""
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return np.clip(value, low, high)


def requantise(total: Int, bias: Int, multiplier: Int, shift: Int) -> Int:
    """(sum + bias) x multiplier / 2^shift: int32, int32, uint16 and the low 6 bits of uint8."""
    return shift_right((total + bias) * multiplier, shift & 63)


def gelu(value: Int) -> Int:
    """GELU of a value: int16 with 10 fraction bits -> int23 with 16.

    ReLU minus a table of |x| with a straight line between its entries (Edge-MoE, section on GELU).
    """
    size = np.abs(value)
    place, part = np.minimum(size >> 5, len(GELU_TABLE) - 2), size & 31
    between = GELU_TABLE[place] * (32 - part) + GELU_TABLE[place + 1] * part
    delta = np.where(size >> 5 >= len(GELU_TABLE) - 1, 0, shift_right(between, 5))
    return (np.maximum(value, 0) << 6) - delta


def power(below: Int) -> Int:
    """2^-(below / 1024) for below >= 0: uint17 with 16 fraction bits."""
    whole, place, part = below >> 10, below >> 4 & 63, below & 15
    between = POWER_TABLE[place] * (16 - part) + POWER_TABLE[place + 1] * part
    return shift_right(shift_right(between, 4), np.minimum(whole, 31))


def reciprocal_root(total: Int) -> tuple[Int, Int]:
    """1 / sqrt(total) for 1 <= total < 2^62, as (root, half) with value root x 2^(-17 - half).

    The number is moved to [2^60, 2^62) by an even shift; its top bits choose an entry of a table,
    the next 16 a place on the straight line to the next one. root is in [2^16, 2^17].
    """
    up = _leading_zeros(total) & ~1
    moved = total << up
    place, part = (moved >> 54) - 64, moved >> 38 & 0xFFFF
    between = ROOT_TABLE[place] * (65536 - part) + ROOT_TABLE[place + 1] * part
    return shift_right(between, 16), (60 - up) >> 1


def _leading_zeros(total: Int) -> Int:
    """How far the highest bit of `total` is from bit 61."""
    zeros = np.zeros_like(total)
    for step in (32, 16, 8, 4, 2, 1):
        low = (total << zeros) >> (62 - step) == 0
        zeros = np.where(low, zeros + step, zeros)
    return zeros


def exact_product(a: Int, b: Int) -> Int:
    """a @ b of integers whose sums stay below 2^53: float64 holds each of them exactly."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
