"""The whole accelerator, small, driven by cocotb through its AXI ports; see rtl_dut.py for what
else than hls/rtl can be driven."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift.errors import InputError

from .rtl_bench import run_bench
from .rtl_dut import Dut, dut_of_environment

try:
    DUT = dut_of_environment()
except InputError as problem:
    pytest.exit(str(problem), returncode=2)


def run(
    folder: Path, only: str | None = None, rounds: int = 1, seed: int = 1, dut: Dut = DUT
) -> None:
    """Args: folder: of this test alone."""
    pytest.importorskip("cocotbext.axi", reason="pip install 'gearshift[fpga]'")
    run_bench(
        "accelerator",
        "rtl_top_bench",
        None if dut.is_hls else dut.build,
        sources=dut.sources(folder),
        only=only,
        seed=seed,
        environment={"GEARSHIFT_BENCH_ROUNDS": str(rounds), **dut.environment()},
        tables=dut.tables(),
    )


@pytest.mark.parametrize("bench", DUT.benches())
def test_the_accelerator(bench: str, tmp_path: Path) -> None:
    run(tmp_path, bench)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("bench", DUT.benches())
def test_the_accelerator_in_many_rounds(bench: str, seed: int, tmp_path: Path) -> None:
    run(tmp_path, bench, rounds=10, seed=seed)
