"""The Tcl of a project, run in a plain Tcl shell whose vendor commands only note their calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .projects import make_project

TCLSH = shutil.which("tclsh")
pytestmark = pytest.mark.skipif(TCLSH is None, reason="no tclsh on PATH")

VENDOR = r"""
# Every unknown command is written down, arguments between bars, and answers its last argument.
set calls [open [lindex $argv 1] w]
proc unknown {args} {
    puts $::calls [join $args |]
    return [lindex $args end]
}
proc get_ipdefs {args} { return $::ipdefs }
proc get_property {name object} {
    if {$name eq "PROGRESS"} { return $::progress }
    return "$name of $object"
}
# Files that only a real run leaves.
rename glob real_glob
proc glob {pattern} { return [list $pattern] }
rename file real_file
proc file {command args} {
    if {$command eq "copy"} { return [unknown file copy {*}$args] }
    return [real_file $command {*}$args]
}
set ipdefs [lindex $argv 2]
set progress [lindex $argv 3]
set script [lindex $argv 0]
set argv {}
proc exit {args} {}
info script $script
source $script
"""


def run_tcl(script: Path, tmp_path: Path, ipdefs: str = "core", progress: str = "100%"):
    """The finished process, and the vendor's commands that it called."""
    harness, calls = tmp_path / "harness.tcl", tmp_path / "calls"
    harness.write_text(VENDOR)
    command = [str(TCLSH), str(harness), str(script), str(calls), ipdefs, progress]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, [line.split("|") for line in calls.read_text().splitlines()]


def test_block_design_joins_every_port(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    done, calls = run_tcl(project / "tcl" / "block_design.tcl", tmp_path)
    assert done.returncode == 0, done.stderr
    joined = [call[1:] for call in calls if call[0] == "connect_bd_intf_net"]
    ways = dict(pair for pair in joined)
    # Through the SmartConnect that stands between, from S00_AXI to M00_AXI.
    reached = {
        start: ways[middle.replace("/S00_AXI", "/M00_AXI")]
        for start, middle in joined
        if middle.endswith("/S00_AXI")
    }
    assert reached == {
        "ps/M_AXI_HPM0_FPD": "gearshift_0/s_axi_control",
        "gearshift_0/m_axi_memory": "ps/S_AXI_HPC0_FPD",
        **{f"gearshift_0/m_axi_weights_{i}": f"ps/S_AXI_HP{i}_FPD" for i in range(4)},
    }


def test_block_design_clocks_and_resets_all_that_it_uses(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    _, calls = run_tcl(project / "tcl" / "block_design.tcl", tmp_path)
    nets = [call[1:] for call in calls if call[0] == "connect_bd_net"]
    clocked = {pin for net in nets if net[0] == "ps/pl_clk0" for pin in net[1:]}
    connects = {call[-1] for call in calls if "xilinx.com:ip:smartconnect" in call}
    ports = {f"ps/saxihp{port}_fpd_aclk" for port in range(4)}
    assert clocked == {
        "reset/slowest_sync_clk",
        "gearshift_0/ap_clk",
        "ps/maxihpm0_fpd_aclk",
        "ps/saxihpc0_fpd_aclk",
        *ports,
        *(f"{name}/aclk" for name in connects),
    }
    assert ["reset/peripheral_aresetn", "gearshift_0/ap_rst_n"] in nets
    assert ["gearshift_0/interrupt", "ps/pl_ps_irq0"] in nets
    for name in connects:
        assert ["reset/interconnect_aresetn", f"{name}/aresetn"] in nets


def test_block_design_turns_on_what_it_connects(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    _, calls = run_tcl(project / "tcl" / "block_design.tcl", tmp_path)
    assert ["set_property", "board_part", "xilinx.com:zcu104:part0:1.1", "current_project"] in calls
    (settings,) = (call[2] for call in calls if call[0] == "set_property" and "PSU__" in call[2])
    words = settings.split()
    chosen = dict(zip(words[::2], (word.strip("{}") for word in words[1::2]), strict=True))
    assert chosen["CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"] == "300"
    # HPC0 is S_AXI_GP0, HP0..3 are S_AXI_GP2..5.
    for group in (0, 2, 3, 4, 5):
        assert chosen[f"CONFIG.PSU__USE__S_AXI_GP{group}"] == "1"
        assert chosen[f"CONFIG.PSU__SAXIGP{group}__DATA_WIDTH"] == "128"
    assert chosen["CONFIG.PSU__USE__M_AXI_GP0"] == chosen["CONFIG.PSU__USE__IRQ0"] == "1"


def test_block_design_without_the_core_says_what_to_do(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    done, _ = run_tcl(project / "tcl" / "block_design.tcl", tmp_path, ipdefs="")
    assert done.returncode != 0
    assert "run make ip first" in done.stderr


def test_bitstream_leaves_one_stem_and_three_reports(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    done, calls = run_tcl(project / "tcl" / "bitstream.tcl", tmp_path)
    assert done.returncode == 0, done.stderr
    copies = [Path(call[-1]) for call in calls if call[:2] == ["file", "copy"]]
    assert copies == [project / "overlay" / f"gearshift.{end}" for end in ("bit", "hwh")]
    reports = {Path(call[-1]).name: call[0] for call in calls if call[0].startswith("report_")}
    assert reports == {
        "utilization.rpt": "report_utilization",
        "hierarchy.rpt": "report_utilization",
        "timing.rpt": "report_timing_summary",
    }


def test_bitstream_stops_at_a_run_that_did_not_finish(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    done, calls = run_tcl(project / "tcl" / "bitstream.tcl", tmp_path, progress="40%")
    assert done.returncode != 0
    assert "synth_1 did not finish" in done.stderr
    assert not any(call[0] == "open_run" for call in calls)


def test_hls_script_runs_all_steps_on_files_that_exist(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    done, calls = run_tcl(project / "tcl" / "hls.tcl", tmp_path)
    assert done.returncode == 0, done.stderr
    files = [word for call in calls if call[0] == "add_files" for word in call if ".cpp" in word]
    assert len(files) == 2
    assert all(Path(file).is_file() for file in files)
    steps = [call[0] for call in calls if call[0].endswith("_design")]
    assert steps == ["csim_design", "csynth_design", "cosim_design", "export_design"]
    assert ["set_part", "xczu7ev-ffvc1156-2-e"] in calls
