"""A board that behaves as the register map and a cache say, and is as unkind as they allow.

Written from AMD's UG1399, "S_AXILITE Control Register Map", not from the driver or its tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import sleep

import numpy as np

from gearshift_hls.golden import Ending

LINE = 64
"""Bytes of a line of the processor's cache."""
CONTROL, GLOBAL_ENABLE, ENABLE, PENDING, RETURNED = 0x00, 0x04, 0x08, 0x0C, 0x10
POINTERS = (0x18, 0x24, 0x30, 0x3C, 0x48)
MEMORY_BYTES, WRITE_BASE, PROGRAM = 0x54, 0x5C, 0x64
ARGUMENTS = {*POINTERS, *(place + 4 for place in POINTERS), MEMORY_BYTES, WRITE_BASE, PROGRAM}


class FakeMemory:
    """The processor's cached view of memory, and what is really there, which the device sees."""

    def __init__(self, nbytes: int, address: int) -> None:
        random = np.random.default_rng(nbytes)
        self.array = random.integers(0, 256, nbytes, np.uint8)
        self.address = address
        self.real = random.integers(0, 256, nbytes, np.uint8)
        self.flushed: list[tuple[int, int]] = []
        self.is_closed = False
        # Nobody knows what the processor has written to this memory before: every line is dirty.
        self._loaded = self.array ^ 255

    def flush(self, start: int, nbytes: int) -> None:
        self.flushed.append((start, nbytes))
        whole = self._lines(start, nbytes)
        self._write_back(whole)

    def invalidate(self, start: int, nbytes: int) -> None:
        whole = self._lines(start, nbytes)
        self.array[whole] = self._loaded[whole] = self.real[whole]

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True

    def evict(self) -> None:
        """The cache needs room: every line that the processor has written goes to memory."""
        self._write_back(slice(0, len(self.array)))

    def _write_back(self, where: slice) -> None:
        dirty = (self.array != self._loaded)[where]
        lines = np.maximum.reduceat(dirty, range(0, len(dirty), LINE)) if len(dirty) else dirty
        mask = np.repeat(lines, LINE)[: len(dirty)].astype(bool)
        self.real[where][mask] = self.array[where][mask]
        self._loaded[where] = self.array[where]

    def _lines(self, start: int, nbytes: int) -> slice:
        assert start >= 0
        assert start + nbytes <= -(-len(self.array) // LINE) * LINE
        return slice(start // LINE * LINE, -(-(start + nbytes) // LINE) * LINE)


@dataclass
class FakeBoard:
    """Registers, one piece of memory, and a program that takes `ticks` looks at the registers."""

    core: Callable[[np.ndarray, int, int], Ending]
    ticks: int = 3
    address: int = 0x8_7654_3000
    interrupts: bool = True
    """Whether the line reaches the processor."""
    name: str = "fake board"
    memory: FakeMemory | None = None
    writes: list[tuple[int, int]] = field(default_factory=list)
    looks: int = 0
    """At CONTROL."""
    registers: dict[int, int] = field(default_factory=dict)
    done: bool = False
    left: int | None = None
    """Ticks until the running program ends; None: none runs."""

    def allocate(self, nbytes: int) -> FakeMemory:
        assert self.memory is None or self.memory.is_closed
        self.memory = FakeMemory(nbytes, self.address)
        return self.memory

    def read(self, offset: int) -> int:
        assert offset in {CONTROL, GLOBAL_ENABLE, ENABLE, PENDING, RETURNED} | ARGUMENTS
        if offset != CONTROL:
            return self.registers.get(offset, 0)
        self.looks += 1
        self.tick()
        busy = self.left is not None
        # ap_start until the program takes its arguments in, ap_done, ap_idle, ap_ready.
        value = busy | self.done << 1 | (not busy) << 2 | self.done << 3
        self.done = False
        return int(value)

    def write(self, offset: int, value: int) -> None:
        assert type(value) is int
        assert 0 <= value < 1 << 32
        assert offset in {CONTROL, GLOBAL_ENABLE, ENABLE, PENDING} | ARGUMENTS
        self.writes.append((offset, value))
        if offset == CONTROL:
            assert value == 1, "neither auto-restart nor a bit that cannot be written"
            assert self.left is None, "started while it runs"
            self.left = self.ticks
            self.tick(0)
        elif offset == PENDING:
            self.registers[PENDING] = self.registers.get(PENDING, 0) ^ value
        else:
            assert self.left is None, "an argument changed under a running program"
            self.registers[offset] = value

    def wait(self, seconds: float) -> None:
        if self.interrupts:
            while not self.line and self.left is not None and self.left < 1000:
                self.tick()
        if not self.line:
            sleep(min(seconds, 1e-3))

    @property
    def line(self) -> bool:
        return bool(self.registers.get(GLOBAL_ENABLE, 0) & (self.registers.get(PENDING, 0) > 0))

    def tick(self, number: int = 1) -> None:
        if self.left is None:
            return
        self.left -= number
        if self.left <= 0:
            self.left = None
            self._end()

    def _end(self) -> None:
        memory = self.memory
        assert memory is not None
        for place in POINTERS:
            pointer = self.registers[place] | self.registers[place + 4] << 32
            assert pointer == memory.address
        nbytes = self.registers[MEMORY_BYTES]
        assert nbytes == len(memory.real)
        ending = self.core(memory.real, self.registers[WRITE_BASE], self.registers[PROGRAM])
        memory.evict()
        self.registers[RETURNED] = ending.status | ending.descriptor << 8
        self.registers[PENDING] = self.registers.get(PENDING, 0) | self.registers.get(ENABLE, 0)
        self.done = True
