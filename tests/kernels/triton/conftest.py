"""Random tensors that hold the same numbers in every dtype, and launches on poisoned outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gearshift_kernels.triton.launch import Device, Launch, current_target

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(scope="session")
def device() -> Device:
    """The GPU, or the interpreter."""
    return Device(current_target())


@pytest.fixture(scope="session")
def place(device: Device) -> str:
    """Where tensors must be for a launch to reach them."""
    return "cpu" if device.interpreted else "cuda"


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Of the matrix products."""
    return request.param


@pytest.fixture
def normal(place: str) -> Callable[..., Tensor]:
    """`normal(*shape, dtype=..., scale=1, mean=0)`: numbers that bfloat16 holds exactly."""
    random = np.random.default_rng(5)

    def draw(
        *shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0, mean: float = 0.0
    ) -> Tensor:
        numbers = torch.tensor(random.normal(mean, scale, shape)).bfloat16()
        return numbers.to(place, dtype)

    return draw


@pytest.fixture
def poisoned(place: str) -> Callable[..., Tensor]:
    """`poisoned(*shape, dtype=...)`: an output full of NaN, or of -77 if it is of integers."""

    def make(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        value = float("nan") if dtype.is_floating_point else -77
        return torch.full(shape, value, dtype=dtype, device=place)

    return make


@pytest.fixture
def run_twice() -> Callable[[Launch, Tensor], Tensor]:
    """Run a launch, poison its output and run it again: the bits must be the same."""

    def run(launch: Launch, out: Tensor) -> Tensor:
        launch.run()
        first = out.clone()
        out.fill_(float("nan") if out.is_floating_point() else -77)
        launch.run()
        assert torch.equal(first, out)
        return out

    return run


def relative_error(found: Tensor, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    if wanted.size == 0:
        assert found.numel() == 0
        return 0.0
    difference = np.abs(found.detach().cpu().double().numpy() - wanted).max()
    return float(difference / max(np.abs(wanted).max(), 1e-30))


ROUNDING = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8}
"""Half a unit in the last place, relative: what one rounding to the dtype may cost."""
