"""Memory as commands see it: regions, and which of them are legal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gearshift_hls.build import Build

ALIGNMENT = 64
"""Every region starts at a multiple of this."""
SCRATCH = 1 << 31
"""Address of on-chip memory; external memory ends before it."""

Access: TypeAlias = Literal["constant", "read", "write"]


@dataclass(frozen=True)
class Region:
    """A range of bytes that a command touches."""

    field: str
    address: int
    nbytes: int
    access: Access
    """`constant`: read, in constant memory; `read`: anywhere; `write`: not in constant memory."""


def align(nbytes: int) -> int:
    """`nbytes`, rounded up to a multiple of `ALIGNMENT`."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def is_inside(region: Region, build: Build, memory_bytes: int, write_base: int) -> bool:
    """Whether it is aligned and lies in memory that it may touch."""
    if region.address % ALIGNMENT:
        return False
    end = region.address + region.nbytes
    if region.access == "constant":
        return end <= write_base
    if region.address >= SCRATCH:
        return end <= SCRATCH + build.scratch_bytes
    least = write_base if region.access == "write" else 0
    return region.address >= least and end <= memory_bytes


def clashes(written: Region, other: Region) -> bool:
    """Whether what is written changes what is read. A residual may be replaced in place."""
    if other is written or (other.field == "residual" and other.address == written.address):
        return False
    apart = (
        written.address + written.nbytes <= other.address
        or other.address + other.nbytes <= written.address
    )
    return not apart
