"""The resource model: exact where it was fitted, and its memories are those that Yosys makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gearshift_hls.board import ZCU104, Resources
from gearshift_hls.build import RTL_BUILD, Build
from gearshift_hls.project.usage import KINDS, Usage
from gearshift_hls.synthesis.estimate import Module, Synthesis, synthesise
from gearshift_hls.synthesis.resources import (
    beyond,
    block_ram,
    fit_resources,
    memory_blocks,
    tightest,
)


def estimate(build: Build) -> Synthesis:
    """A design whose array has 14 LUTs a multiplier and whose rest grows with its side."""
    side, memories = build.input_lanes, memory_blocks(build)
    array = Usage("array", lut=14 * side**2, ff=3 * side**2, dsp=side**2, bram=0, uram=0)
    total = Usage(
        "accelerator",
        lut=array.lut + 3000 * side + 5000,
        ff=array.ff + 100 * side + 7,
        dsp=array.dsp + 14 * side + 3,
        bram=memories["bram"] + 2 * side + 0.5,
        uram=memories["uram"],
    )
    return Synthesis(
        build, [Module("accelerator", "", 0, 1, total, 9), Module("array", "a", 1, 1, array, 2)]
    )


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_model_follows_a_design_that_grows_as_it_says(side: int) -> None:
    model = fit_resources(ZCU104.build, estimate)
    buffers = {"input_bytes": 96 << 10, "scratch_bytes": 3 << 19, "max_tokens": 512}
    build = replace(ZCU104.build, input_lanes=side, output_lanes=side, **buffers)
    wanted = estimate(build).total
    found = model.usage(build)
    assert {kind: getattr(found, kind) for kind in KINDS} == pytest.approx(
        {kind: getattr(wanted, kind) for kind in KINDS}
    )


@pytest.mark.parametrize(
    ("bits", "words", "blocks"),
    [(72, 512, 1), (73, 512, 2), (36, 1024, 1), (1024, 2048, 57), (1, 40_000, 2), (512, 128, 8)],
)
def test_blocks_of_a_memory(bits: int, words: int, blocks: int) -> None:
    assert block_ram(bits, words) == blocks


@pytest.mark.parametrize("side", [16, 32])
def test_the_memories_are_those_that_yosys_makes(
    side: int, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of the modules that hold them, the two line buffers' sizes being their own parameters."""
    pytest.importorskip("pyosys", reason="pip install 'gearshift[fpga]'")
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
    sizes = {"scratch_bytes": 192 << 10, "max_tokens": 1024}
    build = replace(RTL_BUILD, input_lanes=side, output_lanes=side, **sizes)
    none = {"input_bytes": 0, "hidden_bytes": 0}
    wanted = memory_blocks(replace(build, **none))
    scratch = synthesise(build, "scratch").total
    assert (scratch.uram, scratch.bram) == (wanted["uram"], 0)
    sums = synthesise(build, "accumulators").total
    assert sums.uram == 0
    assert sums.bram == pytest.approx(wanted["bram"], abs=2), "a block of 18 Kib at each end"


def test_what_is_beyond_a_share() -> None:
    usage = Usage("model", lut=80, ff=10, dsp=71, bram=0.5, uram=7)
    budget = Resources(lut=100, ff=100, dsp=100, bram=1, uram=10)
    assert beyond(usage, budget, 0.7) == ["LUT 80 of 100", "DSP 71 of 100"]
    assert tightest(usage, budget) == ("lut", 0.8)
