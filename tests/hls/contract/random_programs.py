"""Random descriptor programs: legal ones, and legal ones made illegal.

A seed and a list of commands give one program with all its memory, for any build: what runs it is
held against the golden model. Sizes are often one or the limit; tensors lie in constant, external
and on-chip memory, and often where an earlier command left its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    COMMANDS,
    DESCRIPTOR_BYTES,
    SCRATCH,
    WORDS,
    Command,
    End,
    Experts,
    Region,
    Status,
    align,
    check,
    encode,
)

from .random_commands import KINDS, Bytes, Commands, Kind, texture

__all__ = ["KINDS", "Program", "make_hostile", "make_program"]

ACTIVATIONS = 32 << 10
"""Bytes of external memory that commands share; who does not fit is given room of its own."""


@dataclass
class Program:
    """A descriptor list and the memory it runs on."""

    build: Build
    memory: Bytes
    scratch: Bytes
    write_base: int
    address: int
    commands: list[Command]
    """As they were made, `End` included; a hostile program's memory says otherwise."""


def make_program(build: Build, kinds: Sequence[Kind], seed: int) -> Program:
    """A legal program of these commands and `End`."""
    rng = np.random.default_rng(seed)
    commands = Commands(build, rng, DESCRIPTOR_BYTES * (len(kinds) + 1))
    for kind in kinds:
        commands.add(kind)
    base, placer = commands.end, _Placer(build, rng, commands.end)
    placed = [*map(placer.place, commands.made), End()]
    memory = np.concatenate(
        [
            np.frombuffer(b"".join(map(encode, placed)), np.uint8),
            *commands.constants,
            *(texture(rng, 4096) for _ in range(-(-(placer.end - base) // 4096))),
        ]
    )
    scratch = texture(rng, build.scratch_bytes)
    return Program(build, memory[: placer.end], scratch, base, 0, placed)


def make_hostile(program: Program, seed: int) -> Program:
    """Some words of some descriptors replaced, or the whole list; mostly illegal."""
    rng = np.random.default_rng(seed)
    memory = program.memory.copy()
    end = program.address + DESCRIPTOR_BYTES * len(program.commands)
    words = memory[program.address : end].view("<u4")
    if rng.random() < 0.2:
        words[:] = rng.integers(0, 1 << 32, len(words))
        words[::WORDS] = rng.integers(0, len(COMMANDS) + 1, len(program.commands))
    for _ in range(int(rng.integers(1, 4))):
        number = int(rng.integers(len(program.commands)))
        used = 1 + len(fields(program.commands[number]))
        word = WORDS * number + int(rng.integers(used))
        values = [words[word], rng.choice(words)]
        words[word] = _hostile_word(rng, program, int(rng.choice(values)))
    program = replace(program, memory=memory)
    return _hostile_limits(rng, program) if rng.random() < 0.2 else program


def _hostile_limits(rng: np.random.Generator, program: Program) -> Program:
    """Memory that ends early, constant memory that ends anywhere, a program that begins there."""
    kind = int(rng.integers(3))
    if kind == 0:
        end = len(program.memory) - int(rng.integers(200))
        return replace(program, memory=program.memory[:end].copy())
    base, near = program.write_base, int(rng.integers(-200, 200))
    if kind == 1:
        return replace(program, write_base=max(0, int(rng.choice([base + near, 1 << 31, 0]))))
    addresses = [64, 128, 1, base + near, (1 << 32) - 64, (1 << 32) - 128]
    return replace(program, address=max(0, int(rng.choice(addresses))))


def _hostile_word(rng: np.random.Generator, program: Program, value: int) -> int:
    memory, base = len(program.memory), program.write_base
    near = [
        value + int(rng.integers(-2, 3)),
        value + 64 * int(rng.integers(-2, 3)),
        value + 16 * int(rng.integers(-2, 3)),
        value ^ 1 << int(rng.integers(32)),
        int(rng.choice([0, 1, 1 << 31, (1 << 31) - 64, (1 << 32) - 1, (1 << 32) - 64])),
        base + 64 * int(rng.integers(-4, 5)),
        memory + 64 * int(rng.integers(-4, 5)),
        SCRATCH + program.build.scratch_bytes + 64 * int(rng.integers(-4, 5)),
        int(rng.integers(1 << 32)),
    ]
    return int(rng.choice(near)) & 0xFFFFFFFF


class _Placer:
    """Gives the tensors of one command after the other their addresses."""

    def __init__(self, build: Build, rng: np.random.Generator, write_base: int) -> None:
        self.build, self.rng, self.write_base = build, rng, write_base
        self.end = write_base + ACTIVATIONS
        """Of memory so far."""
        self.written: list[Region] = []
        self.last = 0
        """The address that was drawn last."""

    def place(self, command: Command) -> Command:
        """By chance where that is legal, else behind all that is there."""
        names = [each.field for each in command.regions(self.build) if each.access != "constant"]
        if isinstance(command, Experts) and command.queues:
            names.remove("queues")  # they were made as constants
        for _ in range(30):
            drawn = {name: self._draw(command, name) for name in names}
            trial = replace(command, **drawn)
            if self._status(trial) == Status.DONE:
                break
        else:
            trial = self._place_behind(command, names)
        assert self._status(trial) == Status.DONE, trial
        self.written += [each for each in trial.regions(self.build) if each.access == "write"]
        return trial

    def _status(self, command: Command) -> Status:
        return check(command, self.build, self.end, self.write_base)

    def _place_behind(self, command: Command, names: list[str]) -> Command:
        for region in command.regions(self.build):
            if region.field in names:
                place = align(self.end)
                command = replace(command, **{region.field: place})
                self.end = place + region.nbytes
        return command

    def _draw(self, command: Command, name: str) -> int:
        (region,) = [each for each in command.regions(self.build) if each.field == name]
        nbytes, kind = align(region.nbytes), self.rng.random()
        fitting = [
            each.address
            for each in self.written
            if each.nbytes >= region.nbytes and (name != "queues" or each.field == "queues")
        ]
        if name == "residual" and kind < 0.5:
            return self.last  # of y
        if fitting and name == "queues":
            self.last = fitting[-1]
        elif fitting and region.access == "read" and kind < 0.7:
            self.last = int(self.rng.choice(fitting[-3:]))
        elif nbytes <= self.build.scratch_bytes and kind < 0.85:
            self.last = self._between(SCRATCH, SCRATCH + self.build.scratch_bytes - nbytes)
        else:
            constant = region.access == "read" and self.rng.random() < 0.5
            low = 0 if constant else align(self.write_base)
            self.last = self._between(low, max(low, self.end - nbytes))
        return self.last

    def _between(self, low: int, high: int) -> int:
        return low + 64 * int(self.rng.integers(0, (high - low) // 64 + 1))
