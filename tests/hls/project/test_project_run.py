"""The order of the vendor's tools, seen by stand-ins on PATH that note how they were called."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gearshift.errors import BackendError
from gearshift_hls.project.register_map import HEADER, expected
from gearshift_hls.project.run import TOOLS, missing_tools, run_project

from .projects import make_project

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")

TOOL = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "{calls}"
case "$*" in *"{failing}"*) echo "ERROR: [XFORM 203-123] no"; exit 1;; esac
case "$*" in *--package*) cp "{header}" build/;; esac
"""

CALLS = [
    "vitis-run --mode hls --config hls_config.cfg --work_dir build/hls --csim",
    "v++ -c --mode hls --config hls_config.cfg --work_dir build/hls",
    "vitis-run --mode hls --config hls_config.cfg --work_dir build/hls --cosim",
    "vitis-run --mode hls --config hls_config.cfg --work_dir build/hls --package",
    "vivado -mode batch -nojournal -nolog -source tcl/block_design.tcl",
    "vivado -mode batch -nojournal -nolog -source tcl/bitstream.tcl",
]

Tools = Callable[..., Callable[[], list[str]]]


def header_text(values: dict[str, int]) -> str:
    return "".join(
        f"#define XGEARSHIFT_TOP_CONTROL_{name} {value:#x}\n" for name, value in values.items()
    )


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Puts stand-ins on PATH; returns a function that tells their calls."""

    def install(failing: str = "nothing fails", registers: dict[str, int] | None = None):
        folder, calls, header = tmp_path / "bin", tmp_path / "calls", tmp_path / HEADER
        folder.mkdir()
        header.write_text(header_text(registers or expected()))
        for name in TOOLS[:-1]:
            (folder / name).write_text(TOOL.format(calls=calls, failing=failing, header=header))
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return lambda: calls.read_text().splitlines()

    return install


def test_all_steps_in_order(tmp_path: Path, tools: Tools) -> None:
    calls = tools()
    assert missing_tools() == []
    run_project(make_project(tmp_path / "fpga"))
    assert calls() == CALLS


@pytest.mark.parametrize(
    ("failing", "step", "done"),
    [("--csim", "csim", 1), ("-c --mode", "hls", 2), ("block_design", "block-design", 5)],
)
def test_a_failure_stops_and_names_the_log(
    tmp_path: Path, tools: Tools, capfd: pytest.CaptureFixture[str],
    failing: str, step: str, done: int,
) -> None:  # fmt: skip
    calls = tools(failing)
    project = make_project(tmp_path / "fpga")
    log = project / "build" / "logs" / f"{step}.log"
    with pytest.raises(BackendError, match=f"{step} failed: see {log}"):
        run_project(project)
    assert calls() == CALLS[:done]
    assert "XFORM 203-123" in log.read_text()
    # The last lines of the log, and where it is, are shown at once too.
    errors = capfd.readouterr().err
    assert "XFORM 203-123" in errors
    assert f"see {log}" in errors


def test_steps_that_are_done_are_not_run_again(tmp_path: Path, tools: Tools) -> None:
    calls = tools()
    project = make_project(tmp_path / "fpga")
    run_project(project)
    run_project(project)
    assert calls() == CALLS
    (project / "src" / "gearshift.cpp").touch()
    run_project(project)
    assert calls() == CALLS + CALLS


def test_another_register_map_stops_before_the_long_steps(tmp_path: Path, tools: Tools) -> None:
    calls = tools(registers={**expected(), "ADDR_PROGRAM_DATA": 0x70})
    with pytest.raises(BackendError, match=r"ADDR_PROGRAM_DATA: 0x70 in hardware, 0x64"):
        run_project(make_project(tmp_path / "fpga"))
    assert calls() == CALLS[:4]


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_tools() == list(TOOLS)
