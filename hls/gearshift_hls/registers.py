"""The control registers, at the offsets that Vitis HLS gives the top function's arguments.

Sources: AMD, "Vitis High-Level Synthesis User Guide" (UG1399), the chapter on the s_axilite
register map. The HLS header `xgearshift_top_hw.h` is held against this table when a project is
built.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTROL = 0x00
START, DONE, IDLE, READY = 1, 2, 4, 8
"""Bits of CONTROL; DONE and READY are cleared by reading."""
GLOBAL_INTERRUPT = 0x04
"""Bit 0: the interrupt line may rise."""
INTERRUPT_ENABLE = 0x08
"""Bit 0: when a program is done; bit 1: when the next may start."""
INTERRUPT_STATUS = 0x0C
"""As INTERRUPT_ENABLE; a bit written as 1 toggles."""
RETURN = 0x10
"""Status in bits 0-7, the number of the descriptor that ended the program in bits 8-31."""
COUNTERS = 0x100
"""The RTL's performance counters begin here, 32 bits each, in the order of `COUNTER_NAMES`: of the
program that ended last. HLS has none."""
COUNTER_NAMES = {
    "cycles": "clock cycles from the start to the end",
    "norm": "cycles of norms",
    "linear": "cycles of products",
    "attention": "cycles of attention",
    "route": "cycles of routing",
    "experts": "cycles of experts",
    "convolution": "cycles of convolutions",
    "resize": "cycles of enlarging",
    "array_busy": "cycles in which a row entered the array",
    "array_waits_for_weights": "cycles in which the next tile's weights had not arrived",
    "array_waits_for_data": "cycles in which rows had not arrived or results found no room",
    "memory_waits": "cycles in which a read of activations waited for external memory",
    "memory_read": "bytes read by the memory port, descriptors included",
    "memory_written": "bytes written by the memory port",
    **{f"weights_{port}_read": f"bytes read by weight port {port}" for port in range(4)},
    "scratch_read": "bytes read from on-chip memory",
    "scratch_written": "bytes written to on-chip memory",
}
"""What each counts. Cycles that no command has are those of fetching and checking."""


@dataclass(frozen=True)
class Argument:
    """An argument of the top function."""

    name: str
    bits: int
    """64: low word, high word; then one word is left free. 32: one word is left free."""
    text: str


ARGUMENTS: tuple[Argument, ...] = (
    *(
        Argument(f"weights_{port}", 64, f"physical address of memory, for weight port {port}")
        for port in range(4)
    ),
    Argument("memory", 64, "physical address of memory, a multiple of 4096"),
    Argument("memory_bytes", 32, "end of memory"),
    Argument("write_base", 32, "end of constant memory"),
    Argument("program", 32, "address of the first descriptor, relative to memory"),
)


def counter_offsets() -> dict[str, int]:
    """The byte offset of every performance counter."""
    return {name: COUNTERS + 4 * place for place, name in enumerate(COUNTER_NAMES)}


def offsets() -> dict[str, int]:
    """The byte offset of every argument (of its low word)."""
    place, found = RETURN + 8, {}
    for argument in ARGUMENTS:
        found[argument.name] = place
        place += argument.bits // 8 + 4
    return found
