"""GELU over the whole range of float32, alone and behind a matrix product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels import approximations, oracle
from gearshift_kernels.approximations import GELU_ERROR, gelu_deltas
from gearshift_kernels.triton.gelu import gelu
from gearshift_kernels.triton.launch import Device, Tiles
from gearshift_kernels.triton.linear import linear

from .conftest import ROUNDING, relative_error

Normal = Callable[..., Tensor]
Run = Callable[..., Tensor]
SMALL = Tiles({"BLOCK_M": 4, "BLOCK_N": 16})
LEAST = 2.0**-149
"""The smallest float32: rounding there is absolute."""


@pytest.fixture
def deltas(place: str) -> Tensor:
    return torch.from_numpy(gelu_deltas()).to(place)


@pytest.fixture
def numbers(place: str) -> Tensor:
    """(512, 32) float32: both signs and all exponents, denormals to infinity and NaN."""
    random = np.random.default_rng(7)
    mantissas = random.integers(0, 2**23, (512, 32), dtype=np.uint32)
    mantissas[:, :3] = 0, 1, 2**23 - 1
    # Quiet NaN: numpy, on which the interpreter stands, warns of the others.
    mantissas[255::256, 1:] |= 1 << 22
    heads = np.arange(512, dtype=np.uint32)[:, None] << 23
    return torch.from_numpy((heads | mantissas).view(np.float32)).to(place)


def run(device: Device, x: Tensor, deltas: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """What is finite of x, and GELU of it; the rest is checked here."""
    out = torch.full_like(x, 77)
    gelu(device, x, out, deltas=deltas).run()
    a, y = x.cpu().double().numpy(), out.cpu().double().numpy()
    assert np.isnan(y[np.isnan(a)]).all()
    assert (y[a == np.inf] == np.inf).all()
    assert (y[a == -np.inf] == 0).all()
    return a[np.isfinite(a)], y[np.isfinite(a)]


def test_the_exact_form_everywhere(device: Device, numbers: Tensor) -> None:
    x, found = run(device, numbers, None)
    wanted = oracle.gelu(x)
    error = np.abs(found - wanted)
    bound = 2.0**-20 * np.where(x >= -1, np.abs(wanted), 1.0) + LEAST
    assert (error <= bound).all()
    assert (found[x < -10] == 0).all()


def test_where_the_exact_form_cancels(device: Device, place: str) -> None:
    x = torch.linspace(-12, 2, 2**14, device=place).view(64, 256)
    a, found = run(device, x, None)
    wanted = oracle.gelu(a)
    assert (np.abs(found - wanted) <= 2.0**-20 * np.where(a >= -1, np.abs(wanted), 1.0)).all()


def test_the_table_everywhere(device: Device, numbers: Tensor, deltas: Tensor) -> None:
    x, found = run(device, numbers, deltas)
    rounding = 2.0**-23 * np.abs(x) + LEAST
    assert (np.abs(found - approximations.gelu_table(x)) <= rounding).all()
    assert (np.abs(found - oracle.gelu(x)) <= GELU_ERROR + rounding).all()


def test_the_table_between_its_entries(device: Device, place: str, deltas: Tensor) -> None:
    x = torch.linspace(-6, 6, 2**14, device=place).view(64, 256)
    a, found = run(device, x, deltas)
    rounding = 2.0**-23 * np.abs(a)
    assert (np.abs(found - approximations.gelu_table(a)) <= rounding).all()
    assert 9e-5 < np.abs(found - oracle.gelu(a)).max() <= GELU_ERROR + 2.0**-23 * 6


def test_zeros_and_minus_infinity_have_a_sign(device: Device, place: str, deltas: Tensor) -> None:
    x = torch.tensor([[0.0, -0.0, -float("inf")]], device=place)
    out = torch.full_like(x, float("nan"))
    gelu(device, x, out).run()
    assert torch.equal(out.signbit().cpu(), torch.tensor([[False, True, True]]))
    gelu(device, x, out, deltas=deltas).run()
    assert torch.equal(out.signbit().cpu(), torch.tensor([[False, True, False]]))


@pytest.mark.parametrize("table", [False, True])
def test_rows_any_distance_apart(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, deltas: Tensor,
    dtype: torch.dtype, table: bool,
) -> None:  # fmt: skip
    x, whole = normal(9, 41, dtype=dtype)[:, 2:39], poisoned(9, 45, dtype=dtype)
    launch = gelu(device, x, whole[:, 3:40], deltas=deltas if table else None)
    run_twice(launch.with_tiles(SMALL), whole[:, 3:40])
    a = x.cpu().double().numpy()
    wanted = approximations.gelu_table(a) if table else oracle.gelu(a)
    # Rounded to the dtype; before that in float32.
    assert relative_error(whole[:, 3:40], wanted) <= ROUNDING[dtype] + 2**-21
    assert whole[:, :3].isnan().all()
    assert whole[:, 40:].isnan().all()


def test_the_result_may_stand_in_the_input_s_place(device: Device, normal: Normal) -> None:
    x = normal(3, 300)
    wanted = oracle.gelu(x.cpu().double().numpy())
    gelu(device, x, x).run()
    assert relative_error(x, wanted) <= 2**-20


def test_no_elements_no_work(device: Device, normal: Normal, poisoned: Normal) -> None:
    gelu(device, normal(0, 8), poisoned(0, 8)).run()
    gelu(device, normal(8, 0), poisoned(8, 0)).run()


@pytest.mark.parametrize("bias", [False, True])
def test_the_table_behind_a_product(
    device: Device, normal: Normal, poisoned: Normal, run_twice: Run, deltas: Tensor,
    dtype: torch.dtype, bias: bool,
) -> None:  # fmt: skip
    x, weight = normal(21, 30, dtype=dtype), normal(18, 30, dtype=dtype, scale=0.3)
    shift, out = normal(18) if bias else None, poisoned(21, 18)
    launch = linear(device, x, weight, out, bias=shift, gelu=True, gelu_deltas=deltas)
    tiles = Tiles({"BLOCK_M": 16, "BLOCK_N": 16, "BLOCK_K": 16})
    found = run_twice(launch.with_tiles(tiles), out).cpu().double().numpy()
    a, w = x.cpu().double().numpy(), weight.cpu().double().numpy()
    z = a @ w.T + (shift.cpu().double().numpy() if shift is not None else 0)
    # The slope is nowhere above 1.2; sums of 30 products in float32.
    tolerance = 1.2 * np.abs(z).max() * (2**-22 + 4 * 30**0.5 * 2**-24)
    assert np.abs(found - approximations.gelu_table(z)).max() < tolerance
    assert np.abs(found - oracle.gelu(z)).max() > tolerance


def test_what_does_not_fit(device: Device, normal: Normal) -> None:
    with pytest.raises(ValueError, match=r"out has shape \(3, 5\), not \(3, 4\)"):
        gelu(device, normal(3, 4), normal(3, 5))
    with pytest.raises(ValueError, match=r"x has strides .* must be contiguous"):
        gelu(device, normal(4, 3).t(), normal(3, 4))
    with pytest.raises(ValueError, match=r"deltas are not \(177,\)"):
        gelu(device, normal(3, 4), normal(3, 4), deltas=normal(176))


def test_launches_are_told_apart() -> None:
    """Planned for a GPU, without data."""
    x, deltas = torch.empty(129, 768, device="meta"), torch.empty(177, device="meta")
    exact, table = (gelu(Device("sm_90"), x, x, deltas=d) for d in (None, deltas))
    assert exact.key != table.key
    assert exact.name == table.name == "gelu"
    blocks = exact.tiles.blocks
    assert blocks["BLOCK_M"] * blocks["BLOCK_N"] == 2048
