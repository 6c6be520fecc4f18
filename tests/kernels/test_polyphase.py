"""The phases of an enlarging convolution against enlarging first and convolving then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift_kernels import oracle
from gearshift_kernels.polyphase import phase_weights, plain_weights

Array = NDArray[Any]


def _source(phase: int, tap: int, place: int, size: int) -> int | None:
    """What a tap reads for output `2 * place + phase`, as the table of `polyphase` has it."""
    if tap == 3:
        border = 0 if phase == 0 else size - 1
        return place if place == border else None
    masked_tap = 0 if phase == 0 else 2
    read = place + tap - 1
    if tap == masked_tap and not 0 <= read < size:
        return None
    return min(max(read, 0), size - 1)


def _enlarged(x: Array, phases: Array) -> Array:
    """The convolution of x (C,h,w) by phases, one output pixel at a time: (C',2h,2w)."""
    channels, height, width = x.shape
    taps = phases.astype(np.float64).reshape(2, 2, -1, 4, 4, channels)
    y = np.zeros((taps.shape[2], 2 * height, 2 * width))
    for row, column in np.ndindex(2 * height, 2 * width):
        for down, across in np.ndindex(4, 4):
            i = _source(row % 2, down, row // 2, height)
            j = _source(column % 2, across, column // 2, width)
            if i is not None and j is not None:
                y[:, row, column] += taps[row % 2, column % 2, :, down, across] @ x[:, i, j]
    return y


def _wanted(x: Array, weight: Array, scale: int) -> Array:
    """Through the oracle, whose ReLU cannot be left out: y = relu(y) - relu(-y)."""
    zero, one = np.zeros(weight.shape[0]), np.ones(weight.shape[0])

    def relu(w: Array) -> Array:
        norm = (one, zero, zero, one)
        return oracle.upsample_conv(x[None], w, zero, *norm, scale=scale, epsilon=0.0)[0]

    return relu(weight) - relu(-weight)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (2, 2), (3, 6)])
def test_phases_are_the_convolution_of_the_enlarged_map(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    # Eighths: the sixteenths that phases add stay exact in float32, so that all is exact but the
    # oracle's float64 sums.
    weight = random.integers(-64, 64, (3, 2, 3, 3)) / 8
    x = random.normal(size=(2, *size))
    found = _enlarged(x, phase_weights(weight))
    np.testing.assert_allclose(found, _wanted(x, weight, 2), rtol=0, atol=1e-12)


def test_phases_keep_the_sum_of_the_weights() -> None:
    """A constant map stays constant inside: the nine inner taps of a phase add up to the filter."""
    weight = np.random.default_rng(4).integers(-64, 64, (3, 5, 3, 3)) / 8
    inner = phase_weights(weight).reshape(4, 3, 4, 4, 5)[:, :, :3, :3].sum((2, 3))
    np.testing.assert_array_equal(inner, np.broadcast_to(weight.sum((2, 3)), (4, 3, 5)))


def test_phases_are_rounded_once() -> None:
    weight = np.random.default_rng(5).normal(size=(2, 3, 3, 3)).astype(np.float32)
    found = phase_weights(weight)
    assert found.dtype == np.float32
    assert found.shape == (4, 2, 48)
    corner = 0.75 * weight[..., 0].astype(np.float64) + 0.25 * weight[..., 1]
    corner = (0.75 * corner[:, :, 0] + 0.25 * corner[:, :, 1]).astype(np.float32)
    np.testing.assert_array_equal(found[0, :, :3], corner)


def test_plain_weights_put_the_channels_of_a_tap_together() -> None:
    weight = np.arange(2 * 5 * 9, dtype=np.float32).reshape(2, 5, 3, 3)
    found = plain_weights(weight)
    assert found.dtype == np.float32
    for down, across in np.ndindex(3, 3):
        tap = 3 * down + across
        np.testing.assert_array_equal(
            found[0, :, 5 * tap : 5 * tap + 5], weight[:, :, down, across]
        )


@pytest.mark.parametrize("rewrite", [phase_weights, plain_weights])
@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 27)])
def test_other_filters_are_refused(rewrite: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not \(C', C, 3, 3\)"):
        rewrite(np.zeros(shape))
