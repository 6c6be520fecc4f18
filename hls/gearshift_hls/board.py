"""Boards: the part, the clock, the memory ports, and what the programmable logic offers."""

from __future__ import annotations

from dataclasses import dataclass

from gearshift.errors import InputError
from gearshift_hls.build import Build


@dataclass(frozen=True)
class Resources:
    """Of programmable logic."""

    lut: int
    ff: int
    dsp: int
    bram: int
    """Blocks of 36 Kib."""
    uram: int
    """Blocks of 288 Kib."""


@dataclass(frozen=True)
class Board:
    """A board that a bitstream is made for."""

    name: str
    part: str
    board_part: str
    clock_mhz: float
    resources: Resources
    build: Build
    memory_bytes: int
    """External memory that the accelerator may be given at most."""
    memory_bytes_per_second: float
    """Peak of the external memory; no design reaches it."""


ZCU104 = Board(
    name="zcu104",
    part="xczu7ev-ffvc1156-2-e",
    board_part="xilinx.com:zcu104:part0:1.1",
    clock_mhz=300.0,
    resources=Resources(lut=230_400, ff=460_800, dsp=1_728, bram=312, uram=96),
    build=Build(),
    memory_bytes=1 << 30,
    memory_bytes_per_second=2133e6 * 8,
)
"""AMD ZCU104, Zynq UltraScale+ XCZU7EV; 2 GiB of DDR4-2133, 64 bits wide, behind the processor."""

BOARDS = {board.name: board for board in (ZCU104,)}


def find_board(name: str) -> Board:
    """A board by its name. Raises InputError for an unknown one."""
    if name not in BOARDS:
        raise InputError(f"unknown board {name!r}: choose from {', '.join(BOARDS)}")
    return BOARDS[name]
