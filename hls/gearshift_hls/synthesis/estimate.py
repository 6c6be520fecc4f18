"""Resources of the RTL, module by module, from Yosys: an estimate, nothing was placed or routed.

What is mapped to what stands in `passes.py`. Every module is synthesised by itself: nothing is
optimised across their borders.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gearshift.errors import BackendError
from gearshift_hls.build import Build
from gearshift_hls.project.usage import Usage
from gearshift_hls.synthesis.design import kind_of, map_design
from gearshift_hls.synthesis.hierarchy import Hierarchy, unify
from gearshift_hls.synthesis.passes import BLOCKS, SLICE_CELL, ULTRA, Own
from gearshift_hls.synthesis.yosys import read_passes, run_passes
from gearshift_hls.verilator import build_literal, rtl_folders, sources_of

ESTIMATED = "estimated by Yosys, not placed and routed"
TOP = "accelerator"

LUTS = {
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
    **{"INV": 1, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1},
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4},
    **{"RAM256X1S": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8},
}
"""LUTs of a cell (AMD, UG953 and UG974: the libraries' guides)."""
REGISTERS = ("FDRE", "FDSE", "FDCE", "FDPE")
FREE = ("CARRY4", "MUXF7", "MUXF8")
"""In the slices beside their LUTs."""
KNOWN = {*LUTS, *REGISTERS, *FREE, *BLOCKS, ULTRA, SLICE_CELL}


@dataclass(frozen=True)
class Module:
    """One module of the design, with everything below it."""

    name: str
    path: str
    """Of its first instance."""
    depth: int
    """0: the top."""
    instances: int
    """In the module above."""
    usage: Usage
    """Of one instance."""
    levels: int
    """Cells on the longest path between registers, of the module and those below it."""


@dataclass(frozen=True)
class Synthesis:
    """All modules, each before those that it holds."""

    build: Build
    modules: Sequence[Module]

    @property
    def total(self) -> Usage:
        return self.modules[0].usage


def synthesise(build: Build, top: str = TOP) -> Synthesis:
    """Estimate a build; modules that were done before are in the cache.

    Raises:
        BackendError: Yosys is not installed, or cannot read the RTL.
    """
    sources = sources_of(top, rtl_folders())
    parameters = [f"BUILD={build_literal(build)}"] if _has_build(sources[-1]) else []
    with tempfile.TemporaryDirectory() as folder:
        design = Path(folder, "design.il")
        run_passes([*read_passes(top, sources, parameters), f"write_rtlil {design}"])
        hierarchy = unify(design.read_text(), top)
    found = map_design(hierarchy)
    return Synthesis(build, _below(hierarchy, found, hierarchy.top, 1, 0))


def _has_build(file: Path) -> bool:
    return re.search(r"parameter\s+(\w+::)?build_t\s+BUILD\b", file.read_text()) is not None


def _below(
    hierarchy: Hierarchy, found: Mapping[str, Own], name: str, instances: int, depth: int
) -> list[Module]:
    """A module, then those in it, the greatest first.

    Raises:
        BackendError: cells that are in no table here.
    """
    below = [
        _below(hierarchy, found, child, count, depth + 1)
        for child, count in hierarchy.children[name].items()
    ]
    below.sort(key=lambda modules: -modules[0].usage.lut * modules[0].instances)
    kind, own = kind_of(name), found[name].cells
    if unknown := own.keys() - KNOWN:
        raise BackendError(f"{kind}: Yosys made cells that no table has: {', '.join(unknown)}")
    parts = [(modules[0].usage, modules[0].instances) for modules in below]
    usage = Usage(
        kind,
        lut=_sum(own, LUTS) + sum(part.lut * count for part, count in parts),
        ff=sum(own[each] for each in REGISTERS) + sum(p.ff * count for p, count in parts),
        dsp=own[SLICE_CELL] + sum(part.dsp * count for part, count in parts),
        bram=sum(own[each] * blocks for each, blocks in BLOCKS.items())
        + sum(part.bram * count for part, count in parts),
        uram=own[ULTRA] + sum(part.uram * count for part, count in parts),
    )
    longest = max([found[name].levels, *(modules[0].levels for modules in below)])
    path = hierarchy.paths[name]
    mine = Module(kind, path, depth, instances, usage, longest)
    return [mine, *(module for modules in below for module in modules)]


def _sum(cells: Counter[str], luts: Mapping[str, int]) -> int:
    return sum(cells[kind] * count for kind, count in luts.items())
