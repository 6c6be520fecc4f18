"""The numbers in the C++ headers are those that Python derives."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gearshift_kernels.approximations import exp2_coefficients

from .compiling import SOURCES


def constants(name: str) -> np.ndarray:
    """The floats of a C++ array."""
    text = (SOURCES / "functions.h").read_text()
    found = re.search(rf"{name}\[\] = {{([^}}]*)}}", text)
    assert found is not None
    return np.array([float(number.strip("f \n")) for number in found[1].split(",")], np.float32)


def test_the_shared_polynomial() -> None:
    np.testing.assert_array_equal(constants("EXP2_DEGREE_4"), exp2_coefficients())


@pytest.mark.parametrize(("name", "bound"), [("EXP2_DEGREE_4", 2.0**-18), ("EXP2_DEGREE_5", 2e-7)])
def test_bounds(name: str, bound: float) -> None:
    """What functions.h says of each polynomial's relative error."""
    x = np.linspace(-0.5, 0.5, 100_001)
    power = np.polynomial.polynomial.polyval(x, constants(name).astype(np.float64))
    assert np.abs(power / np.exp2(x) - 1).max() < bound
