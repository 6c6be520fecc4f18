"""The accelerator's registers around a function that executes programs: a board without a board."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gearshift_hls import registers
from gearshift_hls.driver.accelerator import PAGE
from gearshift_hls.golden import Ending

Core: TypeAlias = Callable[[NDArray[np.uint8], int, int], Ending]
"""Memory, changed in place; the end of constant memory; the program's address -> how it ended."""


class SimulatedMemory:
    """A `Memory` without a cache. Its address is what `SimulatedDevice` knows it by."""

    def __init__(self, nbytes: int) -> None:
        whole = np.zeros(nbytes + PAGE, np.uint8)
        before = -whole.ctypes.data % PAGE
        self.array: NDArray[np.uint8] = whole[before : before + nbytes]
        self.address: int = self.array.ctypes.data

    def flush(self, start: int, nbytes: int) -> None:
        """Nothing stands between."""

    def invalidate(self, start: int, nbytes: int) -> None:
        """Nothing stands between."""

    def close(self) -> None:
        """Nobody else is waiting for it."""


class SimulatedDevice:
    """A `Device` whose program is done when the write of the start bit returns."""

    def __init__(self, name: str, core: Core) -> None:
        self.name = name
        self._core = core
        self._memory = SimulatedMemory(0)
        self._offsets = registers.offsets()
        self._registers = {registers.CONTROL: registers.IDLE}

    def read(self, offset: int) -> int:
        value = self._registers.get(offset, 0)
        if offset == registers.CONTROL:
            self._registers[offset] = registers.IDLE
        return value

    def write(self, offset: int, value: int) -> None:
        if offset == registers.CONTROL:
            if value & registers.START:
                self._run()
        elif offset == registers.INTERRUPT_STATUS:
            self._registers[offset] = self._registers.get(offset, 0) ^ value
        else:
            self._registers[offset] = value

    def allocate(self, nbytes: int) -> SimulatedMemory:
        """The memory that programs run in from now on."""
        self._memory = SimulatedMemory(nbytes)
        return self._memory

    def wait(self, seconds: float) -> None:
        """Every program has ended already."""

    def _run(self) -> None:
        memory = self._memory.array
        for argument in registers.ARGUMENTS:
            if argument.bits == 64:
                assert self._argument(argument.name, 64) == self._memory.address, argument.name
        assert self._argument("memory_bytes") == len(memory)
        ending = self._core(memory, self._argument("write_base"), self._argument("program"))
        self._registers[registers.RETURN] = ending.status | ending.descriptor << 8
        self._registers[registers.CONTROL] = registers.DONE | registers.IDLE | registers.READY
        enabled = self._registers.get(registers.INTERRUPT_ENABLE, 0)
        self._registers[registers.INTERRUPT_STATUS] = enabled

    def _argument(self, name: str, bits: int = 32) -> int:
        place = self._offsets[name]
        low = self._registers.get(place, 0)
        return low | self._registers.get(place + 4, 0) << 32 if bits == 64 else low
