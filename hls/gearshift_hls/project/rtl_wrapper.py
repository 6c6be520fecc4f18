"""A Verilog module around the RTL's top, with the pins that Vitis HLS gives the C++.

Vivado's IP packager wants a top without types of SystemVerilog; with the pins of HLS, block design
and driver are the same for both sources.
"""

from __future__ import annotations

import re
from pathlib import Path

NAME = "gearshift"
TOP = "accelerator"
PORT = re.compile(r"^\s*(input|output)\s+logic\s*(\[[^\]]+\])?\s*(\w+),?\s*$", re.MULTILINE)
OWN = {"clock": "ap_clk", "reset": "!ap_rst_n", "interrupt_request": "interrupt"}
"""Of the top's ports, those that are called otherwise outside."""
BUS = ("s_axi_", "m_axi_")


def rtl_wrapper(top: Path) -> str:
    """The text of gearshift.v.

    Args:
        top: accelerator.sv; its AXI ports appear outside, those for watching do not.
    """
    header = top.read_text(encoding="utf-8").partition(");\n")[0]
    ports = PORT.findall(header)
    buses = [port for port in ports if port[2].startswith(BUS)]
    outside = [f"    {way} wire {bits + ' ' if bits else ''}{name}" for way, bits, name in buses]
    pins = ["    input wire ap_clk", "    input wire ap_rst_n", "    output wire interrupt"]
    inside = [f"      .{name}({_outside(name)})" for _, _, name in ports]
    return "\n".join(
        (
            "// Written with the project: the RTL's top with the pins that Vitis HLS gives it.",
            f"module {NAME} (",
            ",\n".join([*pins, *outside]),
            ");",
            "",
            f"  {TOP} core (",
            ",\n".join(inside),
            "  );",
            "",
            "endmodule",
            "",
        )
    )


def _outside(name: str) -> str:
    """What a port of the top is connected to."""
    return name if name.startswith(BUS) else OWN.get(name, "")
