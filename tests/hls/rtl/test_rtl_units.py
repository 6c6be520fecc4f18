"""The RTL of norm, route, resize and softmax, and their arithmetic, bit for bit."""

from __future__ import annotations

import pytest

from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD

from .rtl_bench import run_bench

BUILDS = {"": RTL_BUILD, "wide": ZCU104.build}


def test_arithmetic() -> None:
    run_bench("rtl_arithmetic", "rtl_arithmetic_bench")


@pytest.mark.parametrize("build", BUILDS)
def test_softmax(build: str) -> None:
    run_bench("softmax", "rtl_softmax_bench", BUILDS[build], environment={"BUILD": build})


@pytest.mark.parametrize(
    ("unit", "build", "programs"),
    [
        ("norm", "", 40),
        ("norm", "wide", 10),
        ("route", "", 30),
        ("route", "wide", 5),
        ("resize", "", 2),
        ("resize", "wide", 2),
    ],
)
def test_unit(unit: str, build: str, programs: int) -> None:
    environment = {"UNIT": unit, "BUILD": build, "PROGRAMS": str(programs)}
    run_bench(unit, "rtl_unit_bench", BUILDS[build], environment=environment)
