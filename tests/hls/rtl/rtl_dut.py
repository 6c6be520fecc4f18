"""The design that the benches of the whole accelerator drive: `DUT=rtl` (the default) or
`DUT=vitis VITIS_RTL=FOLDER`.

FOLDER holds the Verilog that Vitis HLS exports of the C++ in hls/src (in its project
`.../syn/verilog`, or `hdl/verilog` of the IP), with the top `gearshift_top`. The adapter gives it
the ports of hls/rtl/accelerator.sv: the names of AMD's UG1399, chapter on the interfaces of the
top function, in lower case. Nothing that Vitis exported has been at hand: the adapter is tested
with a stand-in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gearshift.errors import InputError
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD, Build
from gearshift_hls.project.rtl_wrapper import BUS, PORT, TOP
from gearshift_hls.verilator import rtl_folders

EXPORTED_TOP = "gearshift_top"
PINS = {"ap_clk": "clock", "ap_rst_n": "!reset", "interrupt": "interrupt_request"}
"""Of the export, by what they are connected to; all others are AXI."""
OPTIONAL = re.compile(r"_(ar|aw|r|b)(id|cache|prot)$")
"""AXI signals that nobody looks at."""
DECLARATION = re.compile(
    r"^\s*(input|output)\s+(?:wire\s+|reg\s+|logic\s+)?(?:\[[^\]]*\]\s*)?(\w+)\s*[;,]?\s*$",
    re.MULTILINE,
)
BENCHES = (
    "random_programs",
    "a_block_of_a_transformer",
    "hostile_programs",
    "broken_memory",
    "reset_in_mid_run",
    "the_register_handshake",
    "a_switch_costs_nothing",
    "protocol",
)
RTL_ONLY = {
    "broken_memory": "C++ is not told of bus errors",
    "a_switch_costs_nothing": "HLS takes no start while a program runs",
    "protocol": "HLS has no performance counters",
}
"""Benches that hold for hls/rtl alone, and why."""


@dataclass(frozen=True)
class Dut:
    """A design with the ports of accelerator.sv."""

    build: Build
    exported: Path | None = None
    """The folder of an export; None: hls/rtl."""

    def benches(self) -> list[str]:
        return [each for each in BENCHES if self.exported is None or each not in RTL_ONLY]

    def environment(self) -> Mapping[str, str]:
        """What the benches know of it."""
        numbers = ",".join(map(str, asdict(self.build).values()))
        return {"GEARSHIFT_BENCH_BUILD": numbers, "GEARSHIFT_BENCH_HLS": str(int(self.is_hls))}

    @property
    def is_hls(self) -> bool:
        return self.exported is not None

    def sources(self, folder: Path) -> list[Path] | None:
        """Files to compile, the adapter written into `folder`; None: those of hls/rtl."""
        if self.exported is None:
            return None
        files = verilog_of(self.exported)
        adapter = folder / f"{TOP}.sv"
        adapter.write_text(adapter_of(self.exported, files))
        return [*files, adapter]

    def tables(self) -> list[Path]:
        """Contents of memories, which the Verilog of an export reads from the working folder."""
        return sorted(self.exported.glob("*.dat")) if self.exported else []


def dut_of_environment() -> Dut:
    """As DUT and VITIS_RTL say.

    Raises:
        InputError: an unknown DUT, or no export where VITIS_RTL says.
    """
    kind, folder = os.environ.get("DUT", "rtl"), os.environ.get("VITIS_RTL", "")
    if kind == "rtl":
        # On-chip memory is copied around every program: little of it.
        return Dut(replace(RTL_BUILD, scratch_bytes=4 << 10))
    if kind != "vitis":
        raise InputError(f"DUT={kind}: choose rtl or vitis")
    if not folder:
        raise InputError(
            "DUT=vitis needs VITIS_RTL=FOLDER, the Verilog that Vitis HLS exported of hls/src"
        )
    dut = Dut(ZCU104.build, Path(folder))
    adapter_of(Path(folder), verilog_of(Path(folder)))
    return dut


def verilog_of(folder: Path) -> list[Path]:
    """All Verilog of an export. Raises InputError: there is no such folder, or nothing in it."""
    files = sorted([*folder.glob("*.v"), *folder.glob("*.sv")])
    if not files:
        problem = "holds no Verilog (*.v)" if folder.is_dir() else "is no folder"
        raise InputError(f"VITIS_RTL={folder} {problem}: export hls/src with Vitis HLS first")
    return files


def adapter_of(folder: Path, files: Sequence[Path]) -> str:
    """A module with the name and ports of hls/rtl's top around the export's.

    Raises:
        InputError: no file has the export's top, or it lacks a port.
    """
    header = (rtl_folders()[0] / f"{TOP}.sv").read_text(encoding="utf-8").partition(");\n")[0]
    ours = {name: (way, bits) for way, bits, name in PORT.findall(header)}
    theirs = _exported_ports(folder, files)
    connected = {name: PINS.get(name, name.lower()) for name in theirs}
    missing = [
        name
        for name in ours
        if name.startswith(BUS) and name not in connected.values() and not OPTIONAL.search(name)
    ]
    missing += [name for name in PINS if name not in theirs]
    if missing:
        raise InputError(
            f"VITIS_RTL={folder}: {EXPORTED_TOP} has no port for {', '.join(sorted(missing))}: "
            "export the component that hls/src describes"
        )
    pins = [f"    {way} wire {bits} {name}" for name, (way, bits) in ours.items()]
    inside = []
    for name, way in theirs.items():
        known = connected[name] if connected[name].lstrip("!") in ours else ""
        nothing = "'0" if way == "input" else ""
        inside.append(f"      .{name}({known or nothing})")
    driven = {connected[name] for name, way in theirs.items() if way == "output"}
    idle = [
        f"  assign {name} = '0;"
        for name, (way, _) in ours.items()
        if way == "output" and name not in driven
    ]
    return "\n".join(
        (
            f"module {TOP} (",
            ",\n".join(pins),
            ");",
            f"  {EXPORTED_TOP} exported (",
            ",\n".join(inside),
            "  );",
            "  // Of what runs inside, HLS shows nothing.",
            *idle,
            "endmodule",
            "",
        )
    )


def _exported_ports(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """Direction by name, of the export's top."""
    module = re.compile(rf"^\s*module\s+{EXPORTED_TOP}\b(.*?)^\s*endmodule\b", re.M | re.S)
    for file in files:
        text = re.sub(r"//[^\n]*|/\*.*?\*/|\(\*.*?\*\)", "", _text(file), flags=re.DOTALL)
        if found := module.search(text):
            return {name: way for way, name in DECLARATION.findall(found[1])}
    raise InputError(f"VITIS_RTL={folder} has no module {EXPORTED_TOP}: it is no export of hls/src")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
