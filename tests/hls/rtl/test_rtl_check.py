"""The RTL's check of descriptors: the answer of `descriptor.check`, driven by cocotb."""

from __future__ import annotations

import pytest

from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD, Build

from .rtl_bench import run_bench


@pytest.mark.parametrize("build", [RTL_BUILD, ZCU104.build], ids=["16", "32"])
def test_the_check_of_descriptors(build: Build) -> None:
    lanes = {"GEARSHIFT_BENCH_LANES": str(build.input_lanes)}
    run_bench("check", "rtl_check_bench", build, seed=build.input_lanes, environment=lanes)
