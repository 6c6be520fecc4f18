"""Modules to cells: the passes of Yosys, and what its reports say.

Yosys packs registers and adders into the DSP slice of the 7 series alone, so logic is mapped for
that family, with one change: a slice multiplies 27 x 18 bits (`slice.v`), as that of UltraScale+
does. Block RAM and UltraRAM are those of memory mapping for UltraScale+.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from gearshift_hls.synthesis.yosys import run_passes

BLOCKS = {"RAMB18E1": 0.5, "RAMB36E1": 1.0, "RAMB18E2": 0.5, "RAMB36E2": 1.0}
"""Blocks of 36 Kib of a cell."""
ULTRA = "URAM288"
SLICE_CELL = "DSP48E1"
ENDS = ("FD*", "SRL*", "RAM*", "DSP*", "URAM*", "*$*")
"""Cells that end a path: registers, memories, multipliers, and instances of other modules."""

SLICE_FILE = Path(__file__).with_name("slice.v")
LIBRARY = [
    "read_verilog -lib -specify +/xilinx/cells_sim.v",
    "read_verilog -lib +/xilinx/cells_xtra.v",
]
MAPPED = "synth_xilinx -noiopad -noclkbuf"
SLICE = " ".join(
    f"-D DSP_{option}"
    for option in (
        "NAME=$__MUL27X18",
        "A_MAXWIDTH=27",
        "A_MAXWIDTH_PARTIAL=18",
        "A_MINWIDTH=2",
        "B_MAXWIDTH=18",
        "B_MINWIDTH=2",
        "Y_MINWIDTH=9",
        "SIGNEDONLY=1",
    )
)
"""For +/mul2dsp.v, as `synth_xilinx` has them for UltraScale+."""
PASSES = [
    *LIBRARY,
    f"{MAPPED} -family xc7 -run prepare:map_dsp",
    # `synth_xilinx -run map_dsp:coarse` with another slice.
    "memory_dff",
    "alumacc -macc-only",
    "maccmap -unmap",
    "opt_clean",
    f"techmap -map +/mul2dsp.v -map {SLICE_FILE} {SLICE}",
    "select a:mul2dsp",
    "setattr -unset mul2dsp",
    "opt_expr -fine",
    "wreduce",
    "select -clear",
    "xilinx_dsp -family xc7",
    "chtype -set $mul t:$__soft_mul",
    # Memories of the real family, the rest as before.
    f"{MAPPED} -family xcup -uram -run coarse:fine",
    f"{MAPPED} -family xc7 -run fine:check",
]
ULTRA_MEMORY = re.compile(
    r'attribute \\ram_style "ultra"\n(?: *attribute .*\n)* *memory width (\d+) size (\d+)'
)
ULTRA_BITS, ULTRA_WORDS = 72, 4096
"""Of a block (AMD, UG573)."""


@dataclass(frozen=True)
class Own:
    """A module without those in it."""

    cells: Counter[str]
    """By type, without instances of modules."""
    levels: int
    """Cells on the longest path between registers."""


def map_modules(texts: Mapping[str, str], stubs: Mapping[str, str]) -> dict[str, Own]:
    """Modules, none of which is inside another, in one run of Yosys.

    Args:
        texts: RTLIL by name.
        stubs: RTLIL of the ports of everything that is in them, by name.

    Raises:
        BackendError: Yosys is not installed, or cannot map them.
    """
    with tempfile.TemporaryDirectory() as folder:
        design, report, paths = (Path(folder, name) for name in ("design.il", "cells", "paths"))
        design.write_text("\n".join(("autoidx 1000000", *texts.values(), *stubs.values())))
        ends = " ".join(f"t:{end}" for end in ENDS)
        measured = [f"tee -q -o {report} stat -json", f"delete {ends}", f"tee -q -o {paths} ltp"]
        run_passes([f"read_rtlil {design}", *PASSES, *measured])
        modules = json.loads(report.read_text())["modules"]
        # Names without the backslash that RTLIL puts before them.
        inside = {stub[1:] for stub in stubs}
        lengths = dict(re.findall(r"path in (\S+) \(length=(\d+)\)", paths.read_text()))
    found = {}
    for name, text in texts.items():
        cells = modules[name].get("num_cells_by_type", {})
        own = {kind: count for kind, count in cells.items() if kind not in inside}
        found[name] = Own(_cells(own, text), int(lengths.get(name[1:], 0)))
    return found


def _cells(found: Mapping[str, int], text: str) -> Counter[str]:
    """Yosys packs odd widths more tightly into UltraRAM than their columns allow."""
    cells = Counter(found)
    if cells[ULTRA]:
        cells[ULTRA] = sum(
            ceil(int(width) / ULTRA_BITS) * ceil(int(words) / ULTRA_WORDS)
            for width, words in ULTRA_MEMORY.findall(text)
        )
    return cells
