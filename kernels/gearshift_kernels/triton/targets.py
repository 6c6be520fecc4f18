"""The GPUs that kernels are compiled for: what a multiprocessor holds, and how much a kernel fills.

NVIDIA's limits are those of the table "Technical Specifications per Compute Capability" in the CUDA
C++ Programming Guide; multiprocessors are counted in the data sheets of the cards. AMD's are from
the "AMD Instinct MI300 Instruction Set Architecture" guide (registers, local data share) and the
"AMD CDNA 3" white paper (compute units); LLVM's "User Guide for AMDGPU Backend" gives its units of
allocation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True)
class Target:
    """A GPU architecture, and the card that stands for it.

    A multiprocessor, warp and block are AMD's compute unit, wavefront and workgroup; its registers
    are the vector registers.
    """

    name: str
    card: str
    backend: str
    """Triton's: `cuda` or `hip`."""
    arch: int | str
    """Triton's name of the architecture."""
    warp_size: int
    multiprocessors: int
    """Of the card."""
    shared_of_block: int
    """Bytes of shared memory that one block may have."""
    shared: int
    """Bytes of shared memory of a multiprocessor."""
    shared_reserved: int
    """Bytes of it that every block takes besides its own."""
    shared_unit: int
    """Shared memory is given out in multiples of so many bytes."""
    registers: int
    """32-bit registers of a multiprocessor; each of its four schedulers owns a quarter."""
    registers_of_thread: int
    """The most that a thread may have."""
    register_unit: int
    """A warp gets a multiple of so many registers."""
    warps: int
    """The most that a multiprocessor holds at a time, as `blocks`."""
    blocks: int
    tensor_columns: int
    """Columns of tensor memory of a multiprocessor; 0 where there is none."""
    has_float8: bool
    """Whether Triton loads float8_e4m3fn there."""


SCHEDULERS = 4
"""Of a multiprocessor, on every target here."""


def _nvidia(
    capability: int,
    card: str,
    multiprocessors: int,
    shared_kib: int,
    warps: int,
    blocks: int,
    tensor_columns: int = 0,
) -> Target:
    """Units of allocation as in `cuda_occupancy.h` of the CUDA toolkit for capability 8.0 and up.

    A block may have all shared memory but the KiB that the system keeps for each block.
    """
    return Target(
        name=f"sm_{capability}",
        card=card,
        backend="cuda",
        arch=capability,
        warp_size=32,
        multiprocessors=multiprocessors,
        shared_of_block=(shared_kib - 1) * KIB,
        shared=shared_kib * KIB,
        shared_reserved=KIB,
        shared_unit=128,
        registers=64 * KIB,
        registers_of_thread=255,
        register_unit=256,
        warps=warps,
        blocks=blocks,
        tensor_columns=tensor_columns,
        has_float8=capability >= 89,
    )


_MI300X = Target(
    name="gfx942",
    card="MI300X",
    backend="hip",
    arch="gfx942",
    warp_size=64,
    multiprocessors=304,
    shared_of_block=64 * KIB,
    shared=64 * KIB,
    shared_reserved=0,
    shared_unit=512,
    # 512 a lane in each of four units of 64 lanes, plain and accumulation registers together.
    registers=4 * 64 * 512,
    registers_of_thread=512,
    # 8 a lane.
    register_unit=8 * 64,
    warps=32,
    blocks=32,
    tensor_columns=0,
    has_float8=True,
)

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _nvidia(80, "A100", 108, shared_kib=164, warps=64, blocks=32),
        _nvidia(86, "RTX A6000", 84, shared_kib=100, warps=48, blocks=16),
        _nvidia(87, "Jetson AGX Orin", 16, shared_kib=164, warps=48, blocks=16),
        _nvidia(89, "RTX 6000 Ada", 142, shared_kib=100, warps=48, blocks=24),
        _nvidia(90, "H100", 132, shared_kib=228, warps=64, blocks=32),
        _nvidia(100, "B200", 148, shared_kib=228, warps=64, blocks=32, tensor_columns=512),
        _MI300X,
    )
}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    if name not in TARGETS:
        raise ValueError(f"unknown target {name!r}: choose from {', '.join(TARGETS)}")
    return TARGETS[name]


def occupancy(
    target: Target, registers: int, shared: int, warps: int, tensor_columns: int = 0
) -> float:
    """Resident warps as a share of the most that a multiprocessor holds; 0: the block cannot run.

    Args:
        registers: of a thread.
        shared: bytes of a block.
        warps: of a block.
        tensor_columns: columns of tensor memory of a block.

    As `cuda_occupancy.h` counts: a scheduler holds as many warps as have room for their rounded-up
    registers in its quarter; a block's shared memory is its own and the reserved part, rounded up.
    """
    if shared > target.shared_of_block or registers > target.registers_of_thread:
        return 0.0
    if tensor_columns > target.tensor_columns:
        return 0.0
    registers_of_warp = _round_up(max(registers, 1) * target.warp_size, target.register_unit)
    warps_by_registers = target.registers // SCHEDULERS // registers_of_warp * SCHEDULERS
    blocks = min(target.blocks, min(warps_by_registers, target.warps) // warps)
    shared_of_block = _round_up(shared + target.shared_reserved, target.shared_unit)
    if shared_of_block:
        blocks = min(blocks, target.shared // shared_of_block)
    if tensor_columns:
        blocks = min(blocks, target.tensor_columns // tensor_columns)
    return blocks * warps / target.warps


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
