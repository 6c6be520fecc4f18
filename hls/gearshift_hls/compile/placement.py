"""Where every activation lives: on-chip memory for what is touched most, external for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gearshift.buffers import Block, settle
from gearshift_hls.build import Build
from gearshift_hls.compile.lower import reads, writes
from gearshift_hls.descriptor import SCRATCH, align
from gearshift_hls.operations import Linear, Operation, Quantised


@dataclass(frozen=True)
class Placement:
    """Of the activations of one task."""

    scratch: Mapping[str, int]
    """Addresses of tensors in on-chip memory."""
    external: Mapping[str, int]
    """Offsets of the other tensors from where external activations begin."""
    external_bytes: int
    scratch_bytes: int
    """What the tensors in on-chip memory occupy at most, gaps included."""


@dataclass
class _Activation(Block):
    """Held by one tensor or by a chain of residual streams that replace each other."""

    accesses: int = 0
    """How often it is read or written as a whole."""


def place(task: Quantised, build: Build) -> Placement:
    """On-chip memory is given away by accesses, the most accessed first; then by size.

    That is the residual stream first, which every norm reads and every block's half reads and
    writes. In either memory a block takes the smallest gap between those that are alive at the same
    time (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
    What the host writes or reads is in external memory: input, output, and the expert queues, from
    which it tells after a run how many tokens each expert had.
    """
    pinned = _pinned(task)
    chip: list[_Activation] = []
    outside: list[_Activation] = []
    for block in sorted(_blocks(task), key=lambda one: (-one.accesses, -one.nbytes, one.first)):
        settle(block, chip)
        fits = block.end <= build.scratch_bytes and pinned.isdisjoint(block.values)
        (chip if fits else outside).append(block)
    placed: list[_Activation] = []
    for block in sorted(outside, key=lambda one: (-one.nbytes, one.first)):
        settle(block, placed)
        placed.append(block)
    return Placement(
        {name: SCRATCH + block.offset for block in chip for name in block.values},
        {name: block.offset for block in placed for name in block.values},
        external_bytes=max(block.end for block in placed),
        scratch_bytes=max((block.end for block in chip), default=0),
    )


def _pinned(task: Quantised) -> set[str]:
    """Tensors that the host writes or reads."""
    queues = {name for name, tensor in task.tensors.items() if tensor.dtype == "queues"}
    return {task.input.tensor, task.output.tensor} | queues


def _blocks(task: Quantised) -> list[_Activation]:
    """Every tensor's lifetime. A residual stream takes the place of the one it is added to when
    nobody reads that one later."""
    touches = _touches(task)
    blocks: dict[str, _Activation] = {}
    for name, numbers in touches.items():
        writer = task.operations[numbers[0]] if numbers[0] >= 0 else None
        block = _replaced(writer, name, numbers[0], touches, blocks, task)
        if block is None:
            block = _Activation(align(task.tensors[name].nbytes), numbers[0], numbers[-1])
        block.last = numbers[-1]
        block.accesses += len(numbers)
        block.values.append(name)
        blocks[name] = block
    return list({id(block): block for block in blocks.values()}.values())


def _touches(task: Quantised) -> dict[str, list[int]]:
    """Numbers of the operations that write or read each tensor, an access each; in the order in
    which the tensors are first written."""
    touches: dict[str, list[int]] = {task.input.tensor: [-1]}
    for number, operation in enumerate(task.operations):
        for name in sorted(reads(operation) & task.tensors.keys()):
            assert name in touches, f"{task.names[number]} reads {name}, which nobody wrote"
            touches[name].append(number)
        for name in sorted(writes(operation)):
            touches.setdefault(name, []).append(number)
    for name in _pinned(task) - {task.input.tensor}:
        touches[name].append(len(task.operations))
    return touches


def _replaced(
    writer: Operation | None,
    name: str,
    number: int,
    touches: Mapping[str, list[int]],
    blocks: Mapping[str, _Activation],
    task: Quantised,
) -> _Activation | None:
    """The block of the residual stream that `writer` reads last, if `name` may stand in it."""
    old = writer.residual if isinstance(writer, Linear) else None
    if old is None or old not in blocks:
        return None
    dies_here = old != name and touches[old][-1] == number
    stays_outside = {old, name} & _pinned(task)
    if not dies_here or stays_outside or task.tensors[old].shape != task.tensors[name].shape:
        return None
    return blocks[old]
