"""External memory behind the AXI ports of the RTL, by cocotbext-axi, which checks the bursts.

Every channel pauses at random. What lies outside the memory, or in a broken piece of it, answers
with an error.
"""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
from cocotbext.axi import AxiBus, AxiReadBus, AxiSlave, AxiSlaveRead
from numpy.typing import NDArray

from .rtl_streams import Stalls, bursty_stalls, no_stalls, random_stalls

Bytes = NDArray[np.uint8]


class External:
    """Bytes from physical address `base` on."""

    def __init__(self, data: Bytes, base: int) -> None:
        self.data = data
        self.base = base
        self.broken: range | None = None
        """Addresses relative to `base` that answer with an error."""
        self.outside: list[int] = []
        """Addresses outside of the memory that were touched."""
        self.writes: list[tuple[int, int]] = []
        """Relative address and bytes of every write."""
        self.reads = 0
        """Beats read."""

    async def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        return self._bytes(address, length).tobytes()

    async def write(self, address: int, data: bytes) -> None:
        place = self._bytes(address, len(data))
        self.writes.append((address - self.base, len(data)))
        place[:] = np.frombuffer(data, np.uint8)

    def _bytes(self, address: int, length: int) -> Bytes:
        start = address - self.base
        if start < 0 or start + length > len(self.data):
            self.outside.append(start)
            raise IndexError(f"address {start:#x} is outside of memory")
        if self.broken and self.broken.start < start + length and start < self.broken.stop:
            raise OSError(f"address {start:#x} is broken")
        return self.data[start : start + length]


def attach(dut: Any, memory: External, both: str, *reading: str) -> list[Any]:
    """Put the memory behind the port with prefix `both` and behind those that only read."""
    logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
    slaves: list[Any] = [
        AxiSlave(AxiBus.from_prefix(dut, both), dut.clock, dut.reset, target=memory)
    ]
    slaves += [
        AxiSlaveRead(AxiReadBus.from_prefix(dut, each), dut.clock, dut.reset, target=memory)
        for each in reading
    ]
    return slaves


def stall(slaves: list[Any]) -> None:
    """Let all channels pause, each in its own way."""
    for channel in channels(slaves):
        channel.set_pause_generator(pauses())


def pauses() -> Stalls:
    kinds = [no_stalls, lambda: random_stalls(0.2), lambda: random_stalls(0.5), bursty_stalls]
    return random.choice(kinds)()


def run_freely(slaves: list[Any]) -> None:
    for channel in channels(slaves):
        channel.clear_pause_generator()
        channel.pause = False


def channels(slaves: list[Any]) -> list[Any]:
    found = []
    for slave in slaves:
        readers = [slave.read_if, slave.write_if] if hasattr(slave, "read_if") else [slave]
        names = ("ar_channel", "r_channel", "aw_channel", "w_channel", "b_channel")
        found += [getattr(each, name) for each in readers for name in names if hasattr(each, name)]
    return found


def random_bytes(nbytes: int, seed: int | None = None) -> Bytes:
    seed = random.getrandbits(32) if seed is None else seed
    return np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
