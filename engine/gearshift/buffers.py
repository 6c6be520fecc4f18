"""Where each value of a program lives: offsets in one arena, shared by values of other times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gearshift.program import Step

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

IN_PLACE = frozenset({"add", "linear_add", "combine_add"})
"""Kernels whose output may overwrite their first input when nobody reads that input later."""


@dataclass
class Block:
    """A place in memory, held by one value or by a chain of in-place updates."""

    nbytes: int
    first: int
    """The step that writes it first; -1: written before the program runs."""
    last: int
    """The last step that reads it; the number of steps: read after the program."""
    values: list[str] = field(default_factory=list)
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.nbytes

    def meets(self, other: Block) -> bool:
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
    placed: list[Block] = []
    for block in sorted(blocks, key=lambda block: (-block.nbytes, block.first)):
        settle(block, placed)
        placed.append(block)
    offsets = {value: block.offset for block in placed for value in block.values}
    return offsets, max(block.end for block in placed)


def settle(block: Block, placed: Iterable[Block]) -> None:
    """Move `block` into the smallest gap that holds it between those of `placed` that are alive
    with it, else behind them."""
    best: tuple[int, int] | None = None
    start = 0
    neighbours = [other for other in placed if other.meets(block)]
    for other in sorted(neighbours, key=lambda other: other.offset):
        gap = other.offset - start
        if gap >= block.nbytes and (best is None or gap < best[0]):
            best = gap, start
        start = max(start, other.end)
    block.offset = start if best is None else best[1]


def _blocks(
    sizes: Mapping[str, int], steps: Sequence[Step], program_input: str, program_output: str
) -> list[Block]:
    last_read = {name: number for number, step in enumerate(steps) for name in step.inputs}
    last_read[program_output] = len(steps)
    block_of: dict[str, Block] = {}
    blocks: list[Block] = []

    def hold(name: str, written: int, block: Block | None = None) -> None:
        last = last_read.get(name, written)
        if block is None:
            block = Block(_aligned(sizes[name]), written, last)
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


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
