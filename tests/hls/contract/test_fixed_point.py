"""The accelerator's arithmetic against exact fractions and float64 formulas."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift_hls import fixed_point as fp
from gearshift_kernels import oracle
from gearshift_kernels.approximations import gelu_table

HALF = Fraction(1, 2)

VALUES = st.integers(-(1 << 61) + 1, (1 << 61) - 1)


@given(value=VALUES, shift=st.integers(0, 63))
def test_shift_right_takes_the_nearest_integer_and_the_upper_of_two(value: int, shift: int) -> None:
    wanted = math.floor(Fraction(value, 1 << shift) + HALF)
    assert int(fp.shift_right(value, shift)) == wanted


def test_shift_right_of_ties() -> None:
    values = np.array([-5, -3, -1, 1, 3, 5])
    assert fp.shift_right(values, 1).tolist() == [-2, -1, 0, 1, 2, 3]
    assert fp.shift_right(values << 40, 41).tolist() == [-2, -1, 0, 1, 2, 3]
    assert fp.shift_right(np.array([-(1 << 61) + 1, (1 << 61) - 1]), 63).tolist() == [0, 0]


@pytest.mark.parametrize("bits", [8, 16, 27, 32])
def test_saturation(bits: int) -> None:
    end = 1 << (bits - 1)
    values = np.array([-(1 << 60), -end - 1, -end, 0, end - 1, end, 1 << 60])
    assert fp.saturate(values, bits).tolist() == [-end, -end, -end, 0, end - 1, end - 1, end - 1]
    full = (1 << bits) - 1
    values = np.array([-(1 << 60), -1, 0, full, full + 1])
    assert fp.saturate(values, bits, unsigned=True).tolist() == [0, 0, 0, full, full]


INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@given(total=INT32, bias=INT32, multiplier=st.integers(0, 65535), shift=st.integers(0, 255))
def test_requantise(total: int, bias: int, multiplier: int, shift: int) -> None:
    """Of the shift the low six bits count, as hardware takes them."""
    given_ = (np.int64(each) for each in (total, bias, multiplier, shift))
    wanted = math.floor(Fraction((total + bias) * multiplier, 1 << shift % 64) + HALF)
    assert int(fp.requantise(*given_)) == wanted


EVERY_VALUE = np.arange(-(1 << 15), 1 << 15)


def test_gelu_is_near_the_exact_one() -> None:
    """A line over a step h is off by h^2 / 8 max |GELU''|, which is 2 / sqrt(2 pi) at 0; behind the
    table by |x| Phi(-|x|) at 5.5; an entry and the result are rounded by half a unit each, and
    entries were float32 before."""
    line = (1 / 32) ** 2 / 8 * 2 / math.sqrt(2 * math.pi)
    tolerance = line + 2 * 2.0**-17 + 2.0**-26
    error = fp.gelu(EVERY_VALUE) / 2**16 - oracle.gelu(EVERY_VALUE / 2**10)
    assert np.abs(error).max() <= tolerance


def test_gelu_is_the_table_that_all_accelerators_share() -> None:
    shared = gelu_table(EVERY_VALUE / 2**10)
    assert np.abs(fp.gelu(EVERY_VALUE) / 2**16 - shared).max() <= 2 * 2.0**-17 + 2.0**-26


def test_gelu_far_from_zero_is_relu() -> None:
    assert (fp.gelu(np.arange(5632, 1 << 15)) == np.arange(5632, 1 << 15) << 6).all()
    assert (fp.gelu(np.arange(-(1 << 15), -5631)) == 0).all()


def test_power_is_near_the_exact_one() -> None:
    """Line, table entry, result before and after the shift."""
    below = np.concatenate([np.arange(40 << 10), [1 << 20, (1 << 33) - 1]])
    tolerance = (math.log(2) / 64) ** 2 / 8 + 3 * 2.0**-17
    error = fp.power(below) / 2**16 - np.exp2(-below / 2**10)
    assert np.abs(error).max() <= tolerance
    assert fp.power(np.array([0, 1024, 2048])).tolist() == [65536, 32768, 16384]
    assert (np.diff(fp.power(below)) <= 0).all()


def test_reciprocal_root_is_near_the_exact_one() -> None:
    """Line, table entry and result, as shares of a root that is 2^16 at least."""
    rng = np.random.default_rng(1)
    total = np.concatenate(
        [
            np.arange(1, 5000),
            np.exp2(rng.uniform(0, 61.99, 50_000)).astype(np.int64),
            (1 << np.arange(1, 62)) - 1,
            1 << np.arange(62),
            [(1 << 62) - 1],
        ]
    )
    root, half = fp.reciprocal_root(total)
    assert root.min() >= 1 << 16
    assert root.max() <= 1 << 17
    # On [1, 4) the second derivative of x^-1/2 is at most 3/4 and the function at least 1/2.
    tolerance = (1 / 64) ** 2 / 8 * 3 / 4 + 2 * 2.0**-17 + 2.0**-22
    wanted = 1 / np.sqrt(total.astype(np.float64))
    found = root * np.exp2(-17.0 - half)
    error = np.abs(found - wanted) * np.exp2(half)
    assert error.max() <= tolerance


def test_exact_products_at_the_edge_of_float64() -> None:
    a = np.array([[(1 << 26) - 1, -(1 << 26)]])
    b = np.array([[(1 << 26) - 3], [(1 << 25) + 1]])
    wanted = ((1 << 26) - 1) * ((1 << 26) - 3) - (1 << 26) * ((1 << 25) + 1)
    assert int(fp.exact_product(a, b)[0, 0]) == wanted
