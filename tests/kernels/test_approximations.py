"""The approximations against what they approximate: their bounds hold, and are no larger than need
be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gearshift_kernels import oracle
from gearshift_kernels.approximations import (
    EXP2_ERROR,
    EXP2_LEAST,
    GELU_ERROR,
    GELU_RANGE,
    GELU_STEP,
    exp2_coefficients,
    exp2_polynomial,
    gelu_deltas,
    gelu_table,
)


def test_the_table_of_edge_moe() -> None:
    deltas = gelu_deltas()
    assert deltas.dtype == np.float32
    assert deltas.shape == (177,)
    assert_array_equal(deltas * 2**22, np.rint(deltas * 2.0**22))
    places = np.arange(177) * GELU_STEP
    assert places[-1] == GELU_RANGE
    for sign in (1, -1):
        x = sign * places
        exact = np.maximum(x, 0) - oracle.gelu(x)
        # Half of 2^-22, and what the oracle's 1 + erf rounds.
        assert np.abs(deltas - exact).max() <= 2.0**-23 + 1e-15


def test_interpolation_ends_in_relu() -> None:
    assert gelu_deltas()[0] == gelu_deltas()[-1] == 0
    x = np.array([5.5, 7, 1e30, -5.5, -7, -1e30])
    assert_array_equal(gelu_table(x), np.maximum(x, 0))


def test_the_published_error_of_the_table() -> None:
    x = np.linspace(-8, 8, 2**17 + 1)
    error = np.abs(gelu_table(x) - oracle.gelu(x))
    assert 9.7e-5 < error.max() < GELU_ERROR
    assert abs(x[error.argmax()]) == pytest.approx(0.0156, abs=2e-4)


def test_the_table_takes_every_number() -> None:
    found = gelu_table(np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32))
    assert_array_equal(found, [np.inf, 0, np.nan, 0, 0])
    assert_array_equal(np.signbit(found[3:]), [False, True])


def test_the_polynomial_s_error() -> None:
    x = np.linspace(-3, 3, 2**17 + 1)
    error = np.abs(exp2_polynomial(x) / np.exp2(x) - 1).max()
    assert EXP2_ERROR * 0.9 < error < EXP2_ERROR


def test_powers_of_integers_are_exact() -> None:
    assert exp2_coefficients().dtype == np.float32
    assert exp2_coefficients()[0] == 1
    x = np.arange(-126.0, 129)
    assert_array_equal(exp2_polynomial(x), np.ldexp(1.0, x.astype(int)))


def test_powers_of_every_number() -> None:
    below = np.nextafter(EXP2_LEAST, -np.inf)
    found = exp2_polynomial(np.array([-np.inf, -1e30, below, np.nan]))
    assert_array_equal(found, [0, 0, 0, np.nan])
    assert exp2_polynomial(np.array(EXP2_LEAST)) > 0
