"""The builds in C simulation, compiled unless the cache has them."""

from __future__ import annotations

import pytest

from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.simulation import Simulation


@pytest.fixture(scope="package")
def headers() -> None:
    pytest.importorskip("hls4ml", reason="no arbitrary-precision headers here")


@pytest.fixture(scope="package")
def small(headers: None) -> Simulation:
    return Simulation(SMALL_BUILD)


@pytest.fixture(scope="package")
def board(headers: None) -> Simulation:
    return Simulation(ZCU104.build)


@pytest.fixture(scope="package")
def sanitized(headers: None) -> Simulation:
    """The small build under sanitizers."""
    return Simulation(SMALL_BUILD, sanitize=True)
