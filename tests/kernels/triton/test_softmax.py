"""Softmax of rows against float64: in one chunk and in many, exact and approximate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels import oracle
from gearshift_kernels.approximations import EXP2_ERROR
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.softmax import softmax

from .conftest import ROUNDING

Normal = Callable[..., Tensor]
Run = Callable[..., Tensor]
CHUNKS = Tiles({"BLOCK_M": 4, "BLOCK_N": 16})


def softmax_of(x: Tensor) -> np.ndarray:
    return oracle.softmax(x.cpu().double().numpy())


def row_error(found: Tensor, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest value of its row."""
    difference = np.abs(found.cpu().double().numpy() - wanted)
    return float((difference / wanted.max(1, keepdims=True)).max())


def float32_error(columns: int, chunk: int) -> float:
    """As a share of a row's largest value, in units of 2^-24.

    An exponent d is rounded three times, which costs a weight e^d at most 3 |d| e^d / max = 2, and
    their sum 3 log(columns), the most that |d| can be on average over the weights. A power costs 4
    (ex2 of the GPU), for weight and sum; the sum is a tree in a chunk; each chunk adds 6; division
    and product 3.
    """
    units = 2 + 3 * math.log(columns) + 2 * 4 + math.log2(columns) + 6 * columns / chunk + 3
    return units * 2**-24


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (6, 16), (5, 17), (3, 130)])
def test_one_chunk_and_many(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, dtype: torch.dtype,
    rows: int, columns: int, approximate: bool,
) -> None:  # fmt: skip
    x, out = normal(rows, columns, dtype=dtype, scale=3), poisoned(rows, columns, dtype=dtype)
    launch = softmax(device, x, out, approximate=approximate)
    # float16 has no normal numbers below 2^-14: rounding is absolute there.
    bound = float32_error(columns, 16) + ROUNDING[dtype] + 2**-24
    bound += 2.01 * EXP2_ERROR * approximate
    for tiles in (launch.tiles, CHUNKS):
        run_twice(launch.with_tiles(tiles), out)
        assert row_error(out, softmax_of(x)) < bound


def test_a_long_row(device: Device, normal: Normal, poisoned: Normal) -> None:
    """Longer than the longest block."""
    x, out = normal(2, 2**16 + 5, scale=2), poisoned(2, 2**16 + 5)
    launch = softmax(device, x, out)
    assert launch.tiles.blocks["BLOCK_N"] < x.shape[1]
    launch.run()
    assert row_error(out, softmax_of(x)) < float32_error(2**16 + 5, 2**16)


def test_approximate_and_exact_differ_as_stated(
    device: Device, normal: Normal, poisoned: Normal
) -> None:
    x, exact, found = normal(8, 200, scale=2), poisoned(8, 200), poisoned(8, 200)
    softmax(device, x, exact).run()
    softmax(device, x, found, approximate=True).run()
    share = (found.double() / exact.double() - 1).abs().max()
    # Division rounds twice; both take powers of the same numbers.
    assert 0.1 * EXP2_ERROR < share < 2.01 * EXP2_ERROR + 8 * 2**-24


@pytest.mark.parametrize("approximate", [False, True])
def test_minus_infinity_has_no_weight(
    device: Device, normal: Normal, poisoned: Normal, approximate: bool
) -> None:
    x, out = normal(6, 50), poisoned(6, 50)
    x[0, :20] = -float("inf")  # a whole chunk, before anything else
    x[1, 30:] = -float("inf")
    x[2, 1::2] = -float("inf")
    x[3, :49] = -float("inf")
    launch = softmax(device, x, out, approximate=approximate)
    bound = float32_error(50, 16) + 2.01 * EXP2_ERROR * approximate
    for tiles in (launch.tiles, CHUNKS):
        out.fill_(float("nan"))
        launch.with_tiles(tiles).run()
        assert (out[x == -float("inf")] == 0).all()
        assert row_error(out, softmax_of(x)) < bound
        assert out[3, 49] == 1


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("approximate", [False, True])
def test_rows_without_a_softmax_are_nan(
    device: Device, normal: Normal, poisoned: Normal, approximate: bool
) -> None:
    x, out = normal(5, 40), poisoned(5, 40)
    x[0] = -float("inf")
    x[1, 35] = float("nan")
    x[2, 3] = float("inf")
    launch = softmax(device, x, out, approximate=approximate)
    for tiles in (launch.tiles, CHUNKS):
        out.fill_(0)
        launch.with_tiles(tiles).run()
        assert out[:3].isnan().all()
        assert row_error(out[3:], softmax_of(x[3:])) < 2**-18 + float32_error(40, 16)


def test_numbers_far_from_zero(device: Device, normal: Normal, poisoned: Normal) -> None:
    """Exponents do not overflow; a common offset, whose differences are exact, changes nothing."""
    x, out = normal(4, 40), poisoned(4, 40)
    x = (x * 4).round() / 4
    x[0] += 2.0**20
    x[1] -= 2.0**20
    x[2] *= 2.0**100
    x[3] = torch.linspace(-300, 300, 40)
    launch = softmax(device, x, out)
    for tiles in (launch.tiles, CHUNKS):
        launch.with_tiles(tiles).run()
        assert row_error(out, softmax_of(x)) < float32_error(40, 16)


def test_rows_any_distance_apart(device: Device, normal: Normal, poisoned: Normal) -> None:
    x, whole = normal(9, 41)[:, 2:39], poisoned(9, 45)
    softmax(device, x, whole[:, 3:40]).with_tiles(CHUNKS).run()
    assert row_error(whole[:, 3:40], softmax_of(x)) < float32_error(37, 16)
    assert whole[:, :3].isnan().all()
    assert whole[:, 40:].isnan().all()


def test_the_result_may_stand_in_the_input_s_place(device: Device, normal: Normal) -> None:
    x = normal(5, 70)
    wanted = softmax_of(x)
    softmax(device, x, x).with_tiles(CHUNKS).run()
    assert row_error(x, wanted) < float32_error(70, 16)


def test_no_elements_no_work(device: Device, normal: Normal, poisoned: Normal) -> None:
    softmax(device, normal(0, 8), poisoned(0, 8)).run()
    softmax(device, normal(8, 0), poisoned(8, 0)).run()


def test_what_does_not_fit(device: Device, normal: Normal) -> None:
    with pytest.raises(ValueError, match=r"out has shape \(3, 5\), not \(3, 4\)"):
        softmax(device, normal(3, 4), normal(3, 5))
    with pytest.raises(ValueError, match=r"x has strides .* must be contiguous"):
        softmax(device, normal(4, 3).t(), normal(3, 4))
    endless = torch.empty(1, 2**31, device="meta")
    with pytest.raises(ValueError, match="longer than 32 bits can count"):
        softmax(device, endless, endless)


def test_launches_are_told_apart() -> None:
    """Planned for a GPU, without data."""
    x = torch.empty(1201, 16, device="meta")
    exact, approximate = (softmax(Device("sm_90"), x, x, approximate=a) for a in (False, True))
    assert exact.key != approximate.key
    assert exact.tiles.blocks == {"BLOCK_M": 128, "BLOCK_N": 16}
