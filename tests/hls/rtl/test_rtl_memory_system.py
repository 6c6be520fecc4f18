"""The RTL's memory system, driven by cocotb, its AXI ports by cocotbext-axi."""

from __future__ import annotations

import pytest

from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD, Build

from .rtl_bench import run_bench


@pytest.mark.parametrize("build", [RTL_BUILD, ZCU104.build], ids=["16", "32"])
def test_the_memory_system(build: Build) -> None:
    pytest.importorskip("cocotbext.axi", reason="pip install 'gearshift[fpga]'")
    lanes = {"GEARSHIFT_BENCH_LANES": str(build.input_lanes)}
    run_bench("rtl_memory", "rtl_memory_bench", build, seed=build.input_lanes, environment=lanes)
