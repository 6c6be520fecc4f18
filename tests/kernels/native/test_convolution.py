"""The decoder's convolution against the direct one in float64, at awkward sizes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from gearshift_kernels import oracle
from gearshift_kernels.native.pack import pack_matrix, pad_lanes
from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8, Convolution
from gearshift_kernels.native.team import Team
from gearshift_kernels.winograd import (
    OUTPUT_TRANSFORM,
    transform_input,
    transform_sums,
    transform_weight,
    winograd_weights,
)

from .calls import PRECISIONS, Kept, narrow_dtype, relative, rounded, run, wide
from .conftest import TeamOf

SHAPES = [(1, 1, 1), (3, 1, 5), (1, 3, 2), (1, 8, 16), (3, 7, 9)]
"""Images, height, width."""

CHANNELS = [(1, 33), (5, 1), (21, 5), (33, 256), (256, 21)]
"""Inputs, outputs: one panel, one too many, whole and ragged lines."""

BFLOAT16_ROUNDING = 2.0**-8
"""The largest error of a rounding, as a share of the value: eight bits are kept."""

FLOAT32_TOLERANCE = 1e-5
"""A sum of 256 products rounds 256 times at 6e-8, which err like their root: 1e-6. The matrices
enlarge that about fivefold where they cancel, as they do the roundings to bfloat16."""

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@cache
def make_case(shape: tuple[int, int, int], channels: tuple[int, int], scale: int) -> Case:
    """x of values that bfloat16 holds, weight, bias, and what comes out in float64."""
    (images, height, width), (inputs, outputs) = shape, channels
    random = np.random.default_rng(sum(shape) + sum(channels))
    x = random.normal(size=(images, inputs, height, width)).astype(np.float32)
    x = rounded(x, BFLOAT16)
    deviation = 1 / np.sqrt(9 * inputs)
    weight = random.normal(0, deviation, size=(outputs, inputs, 3, 3)).astype(np.float32)
    bias = random.normal(size=outputs).astype(np.float32)
    zero, one = np.zeros(outputs), np.ones(outputs)
    norm = (one, zero, zero, one)  # changes nothing
    wanted = oracle.upsample_conv(x, weight, bias, *norm, scale=scale, epsilon=0.0)
    return x, weight, bias, wanted


def convolve(team: Team, kind: int, x: Any, weight: Any, bias: Any, scale: int) -> np.ndarray:
    """What the kernel makes of them, channels before rows: (images, outputs, height, width)."""
    images, inputs, height, width = x.shape
    operands = FLOAT32 if kind == FLOAT32 else BFLOAT16
    kept = Kept()
    panels = [pack_matrix(point, operands).panels for point in winograd_weights(weight)]
    out = kept.output((images, height * scale, width * scale, len(weight)), narrow_dtype(kind))
    convolution = Convolution(
        kept.at(np.stack(panels)), kept.at(pad_lanes(bias)),
        kept.operand(x.transpose(0, 2, 3, 1), kind), out.ctypes.data,
        images, height, width, inputs, len(weight), scale,
    )  # fmt: skip
    run(team, kind, kept, convolution)
    return out.transpose(0, 3, 1, 2)


def rounding_deviation(x: np.ndarray, weight: np.ndarray, scale: int) -> np.ndarray:
    """The standard deviation of every output's error when operands are rounded to bfloat16.

    A rounding is off by at most 2^-8 of the value, evenly spread: a deviation of 2^-8 / sqrt 3 at
    most. Each of the products of an output has two rounded operands, and the deviations of all
    products add up as squares, weighted with the matrix A as the products themselves.
    """
    points, filters = transform_input(x, scale), transform_weight(weight)
    squares = np.einsum("pnijc,poc->pnijo", points**2, filters**2, optimize=True)
    height, width = x.shape[2] * scale, x.shape[3] * scale
    variance = transform_sums(squares, height, width, OUTPUT_TRANSFORM**2)
    return np.sqrt(2 * variance / 3) * BFLOAT16_ROUNDING


def check_bfloat16(found: np.ndarray, wanted: np.ndarray, deviation: np.ndarray) -> None:
    """Within five deviations of its sums; and then the output is rounded."""
    error = np.abs(wide(found) - wanted)
    assert (error <= 5 * deviation + BFLOAT16_ROUNDING * (wanted + 5 * deviation)).all()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32(
    team_of: TeamOf,
    level: str,
    shape: tuple[int, int, int],
    channels: tuple[int, int],
    scale: int,
) -> None:
    x, weight, bias, wanted = make_case(shape, channels, scale)
    found = convolve(team_of(level, 1), FLOAT32, x, weight, bias, scale)
    # Against at least one, the deviation of a sum: after ReLU, small maps may be all but zero.
    atol = FLOAT32_TOLERANCE * max(np.abs(wanted).max(), 1)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)
    other = convolve(team_of(level, 2), FLOAT32, x, weight, bias, scale)
    np.testing.assert_array_equal(found, other)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16(
    team_of: TeamOf,
    level: str,
    shape: tuple[int, int, int],
    channels: tuple[int, int],
    scale: int,
) -> None:
    x, weight, bias, wanted = make_case(shape, channels, scale)
    found = convolve(team_of(level, 1), BFLOAT16, x, weight, bias, scale)
    check_bfloat16(found, wanted, rounding_deviation(x, weight, scale))
    other = convolve(team_of(level, 2), BFLOAT16, x, weight, bias, scale)
    np.testing.assert_array_equal(found, other)


def test_int8_takes_bfloat16_here(team_of: TeamOf, level: str) -> None:
    x, weight, bias, _ = make_case((3, 7, 9), (21, 5), 2)
    team = team_of(level, 1)
    narrow, int8 = (convolve(team, kind, x, weight, bias, 2) for kind in (BFLOAT16, INT8))
    np.testing.assert_array_equal(narrow, int8)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [1, 2])
def test_many_blocks_of_tiles(team_of: TeamOf, level: str, precision: str, scale: int) -> None:
    """More tiles than fit one block of any precision, shared by threads across images."""
    kind = PRECISIONS[precision]
    x, weight, bias, wanted = make_case((2, 31, 42), (70, 3), scale)
    found = convolve(team_of(level, 3), kind, x, weight, bias, scale)
    if kind == FLOAT32:
        assert relative(found, wanted) < FLOAT32_TOLERANCE
    else:
        check_bfloat16(found, wanted, rounding_deviation(x, weight, scale))
