"""Where each value of a program lives: offsets in one arena, shared by values of other times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gearshift.program import Step

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

IN_PLACE = frozenset({"add", "linear_add", "combine_add"})
"""Kernels whose output may overwrite their first input when nobody reads that input later."""


@dataclass
class _Block:
    """A place in the arena, held by one value or by a chain of in-place updates."""

    nbytes: int
    first: int
    """The step that writes it; -1 for the program's input."""
    last: int
    """The last step that reads it."""
    values: list[str] = field(default_factory=list)
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.nbytes

    def meets(self, other: _Block) -> bool:
        """Both are alive during some step."""
        return self.first <= other.last and other.first <= self.last


def plan_buffers(
    sizes: Mapping[str, int], steps: Sequence[Step], program_input: str, program_output: str
) -> tuple[dict[str, int], int]:
    """Offsets in bytes by value, and the arena's size: greedy by size, best fit.

    The largest block goes first, each into the smallest gap that holds it between the blocks
    already placed that are alive at the same time (the "greedy by size" of Pisarchyk and Lee,
    "Efficient memory management for deep neural net inference", 2020).

    Args:
        sizes: bytes of every value.
        steps: in the order in which they run; each value is written by one step.
        program_input: the value that is filled before the first step.
        program_output: the value that is read after the last step.
    """
    blocks = _blocks(sizes, steps, program_input, program_output)
    placed: list[_Block] = []
    for block in sorted(blocks, key=lambda block: (-block.nbytes, block.first)):
        block.offset = _best_gap(block, [other for other in placed if other.meets(block)])
        placed.append(block)
    offsets = {value: block.offset for block in placed for value in block.values}
    return offsets, max(block.end for block in placed)


def _blocks(
    sizes: Mapping[str, int], steps: Sequence[Step], program_input: str, program_output: str
) -> list[_Block]:
    last_read = {name: number for number, step in enumerate(steps) for name in step.inputs}
    last_read[program_output] = len(steps)
    block_of: dict[str, _Block] = {}
    blocks: list[_Block] = []

    def hold(name: str, written: int, block: _Block | None = None) -> None:
        last = last_read.get(name, written)
        if block is None:
            block = _Block(_aligned(sizes[name]), written, last)
            blocks.append(block)
        block.last = last
        block.values.append(name)
        block_of[name] = block

    hold(program_input, -1)
    for number, step in enumerate(steps):
        for output in step.outputs:
            over = step.inputs[0]
            dies_here = last_read[over] == number
            in_place = step.kernel in IN_PLACE and dies_here and sizes[over] == sizes[output]
            hold(output, number, block_of[over] if in_place else None)
    return blocks


def _best_gap(block: _Block, neighbours: list[_Block]) -> int:
    """The start of the smallest gap between `neighbours` that holds `block`, or their end."""
    best: tuple[int, int] | None = None
    start = 0
    for other in sorted(neighbours, key=lambda other: other.offset):
        gap = other.offset - start
        if gap >= block.nbytes and (best is None or gap < best[0]):
            best = gap, start
        start = max(start, other.end)
    return start if best is None else best[1]


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
