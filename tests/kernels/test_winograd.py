"""Winograd's algorithm against the direct convolution, and its numbers in the native kernels."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift_kernels import oracle
from gearshift_kernels.winograd import (
    INPUT_TRANSFORM,
    OUTPUT_TRANSFORM,
    POINTS,
    WEIGHT_TRANSFORM,
    tile_matrices,
    winograd_convolution,
    winograd_weights,
)

Array = NDArray[Any]
HEADER = Path(__file__).parents[2] / "kernels" / "native" / "convolution.h"


def _wanted(x: Array, weight: Array, scale: int) -> Array:
    """Through the oracle, whose ReLU cannot be left out: y = relu(y) - relu(-y)."""
    zero, one = np.zeros(weight.shape[0]), np.ones(weight.shape[0])

    def relu(w: Array) -> Array:
        norm = (one, zero, zero, one)
        return oracle.upsample_conv(x, w, zero, *norm, scale=scale, epsilon=0.0)

    return relu(weight) - relu(-weight)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("height", range(1, 10))
def test_the_algebra_is_the_direct_convolution(height: int, scale: int) -> None:
    random = np.random.default_rng(height)
    for width in range(1, 10):
        x, weight = random.normal(size=(2, 3, height, width)), random.normal(size=(4, 3, 3, 3))
        found = winograd_convolution(x, weight, scale=scale)
        np.testing.assert_allclose(found, _wanted(x, weight, scale), rtol=0, atol=1e-12)


def test_every_basis_filter_of_one_axis_is_exact() -> None:
    """A [(G g) * (B d)] is y[k] = d[k + j] for the filter that is one at tap j only."""
    for tap, place in product(range(3), range(6)):
        filtered, data = WEIGHT_TRANSFORM[:, tap], INPUT_TRANSFORM[:, place]
        wanted = [float(k + tap == place) for k in range(4)]
        np.testing.assert_allclose(OUTPUT_TRANSFORM @ (filtered * data), wanted, atol=1e-14)


def test_input_and_output_matrices_are_exact_in_float32() -> None:
    for matrix in (INPUT_TRANSFORM, OUTPUT_TRANSFORM):
        np.testing.assert_array_equal(matrix.astype(np.float32), matrix)
    norms = np.linalg.norm(INPUT_TRANSFORM, axis=1)
    assert (np.abs(np.log2(norms)) <= 0.5).all()


def test_an_enlarged_tile_reads_four_pixels() -> None:
    matrices = tile_matrices(9, 2)
    for tile, matrix in enumerate(matrices):
        columns = np.flatnonzero(np.abs(matrix).max(axis=0))
        assert columns.min() >= max(2 * tile - 1, 0)
        assert columns.max() <= min(2 * tile + 2, 8)


def test_weights_are_rounded_once() -> None:
    """Against exact fractions of the interpolation's own formula."""
    weight = np.random.default_rng(5).normal(size=(2, 3, 3, 3)).astype(np.float32)
    found = winograd_weights(weight)
    assert found.dtype == np.float32
    assert found.shape == (36, 2, 3)
    points = [Fraction(point) for point in POINTS]

    def row(p: int) -> list[Fraction]:
        scale = _power_of_row(p)
        if p == 5:
            return [Fraction(0), Fraction(0), scale]
        below = Fraction(1)
        for other in points[:p] + points[p + 1 :]:
            below *= points[p] - other
        return [points[p] ** j / below * scale for j in range(3)]

    for p, q in product(range(6), repeat=2):
        exact = sum(
            row(p)[y] * row(q)[x] * Fraction(float(weight[1, 2, y, x]))
            for y, x in product(range(3), repeat=2)
        )
        np.testing.assert_allclose(found[6 * p + q, 1, 2], float(exact), rtol=2**-23)


def _power_of_row(p: int) -> Fraction:
    """What a row of B was divided by: its polynomial's leading coefficient is one."""
    return 1 / Fraction(float(INPUT_TRANSFORM[p][np.flatnonzero(INPUT_TRANSFORM[p])[-1]]))


def test_the_native_kernels_have_the_same_numbers() -> None:
    source = HEADER.read_text()
    table = re.search(r"INPUT_TRANSFORM\[POINTS_SIDE\]\[POINTS_SIDE\] = \{(.*?)\};", source, re.S)
    points = re.search(r"POINT_1 = (\S+)f, POINT_2 = (\S+)f;", source)
    assert table
    assert points
    numbers = [float(number) for number in re.findall(r"(-?\d+\.\d+)f", table[1])]
    np.testing.assert_array_equal(np.reshape(numbers, (6, 6)), INPUT_TRANSFORM)
    first, second = (float(point) for point in points.groups())
    assert (0.0, first, -first, second, -second) == POINTS


@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 27)])
def test_other_filters_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not \(C', C, 3, 3\)"):
        winograd_weights(np.zeros(shape))
