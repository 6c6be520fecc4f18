"""The memory of one unit: its reader and its writer, with random stalls and latencies."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from gearshift_hls.build import Build
from gearshift_hls.descriptor import SCRATCH

from ..contract.random_commands import Bytes
from .rtl_streams import Stalls

REQUESTS = 4
"""Requests that queue at either."""
LINES_SHIFT = 24
LONGEST = 1_000_000
"""Cycles of a command in a bench."""


class UnitMemory:
    """Answers the requests of `dut` out of external and on-chip memory, and takes its writes.

    The upper half of an odd last line is anything. Fails when the unit withdraws or changes what it
    offers, writes outside of memory, or gives data that it did not request.
    """

    def __init__(self, dut: Any, build: Build, memory: Bytes, scratch: Bytes) -> None:
        self.dut, self.build = dut, build
        self.memory, self.scratch = memory, scratch
        self.reads: deque[tuple[int, int]] = deque()
        """Words still to be read: an address and how many lines."""
        self.writes: deque[tuple[int, int]] = deque()
        self.words_read = self.words_written = 0
        self.offered: dict[str, int] = {}
        dut.read_request_ready.value = 0
        dut.read_valid.value = 0
        dut.write_request_ready.value = 0
        dut.write_ready.value = 0
        dut.write_idle.value = 1

    async def serve_until_done(self, stalls: list[Stalls]) -> int:
        """Until the unit is done; returns the cycles.

        `stalls`: of read requests, of what was read, of write requests, of what is written.
        """
        dut, line = self.dut, self.build.input_lanes
        read_request, read_data, write_request, write_data = stalls
        word: int | None = None
        cycles = 0
        while True:
            read_ready = len(self.reads) < REQUESTS * 64 and not next(read_request)
            write_ready = len(self.writes) < REQUESTS and not next(write_request)
            take = bool(self.writes) and not next(write_data)
            if word is None and self.reads and not next(read_data):
                word = self._word(*self.reads.popleft())
            dut.read_request_ready.value = read_ready
            dut.write_request_ready.value = write_ready
            dut.write_ready.value = take
            dut.read_valid.value = word is not None
            dut.read_data.value = random.getrandbits(16 * line) if word is None else word
            await FallingEdge(dut.clock)
            cycles += 1
            assert cycles < LONGEST, "hangs"
            if self._moves("read_request", read_ready):
                self._queue(int(dut.read_request.value))
            if self._moves("write_request", write_ready):
                request = int(dut.write_request.value)
                self.writes.append((request >> LINES_SHIFT, request & (1 << LINES_SHIFT) - 1))
                assert self.writes[-1][1] > 0
                assert self.writes[-1][0] % line == 0
            if word is not None and dut.read_ready.value:
                word = None
                self.words_read += 1
            if self._moves("write", take, "write_data"):
                self._store(int(dut.write_data.value))
            done = bool(dut.done.value)
            await RisingEdge(dut.clock)
            if done:
                break
        left = len(self.reads) + (word is not None)
        assert not left, "done before everything it asked for was read"
        assert not self.writes, "done before everything was written"
        return cycles

    def _moves(self, name: str, ready: bool, payload: str = "") -> bool:
        """Whether a transfer happens; what is offered must stay until it does."""
        valid = bool(getattr(self.dut, f"{name}_valid").value)
        value = int(getattr(self.dut, payload or name).value) if valid else None
        before = self.offered.pop(name, None)
        assert before is None or value == before, f"{name}: offered {before:#x}, then {value}"
        if valid and not ready:
            self.offered[name] = value
        return valid and ready

    def _queue(self, request: int) -> None:
        address, lines = request >> LINES_SHIFT, request & (1 << LINES_SHIFT) - 1
        line = self.build.input_lanes
        assert lines > 0
        assert address % line == 0, hex(address)
        for first in range(0, lines, 2):
            self.reads.append((address + first * line, min(2, lines - first)))

    def _word(self, address: int, lines: int) -> int:
        """One or two lines; anything behind them and behind the end of memory."""
        size = 2 * self.build.input_lanes
        space, place = self._place(address)
        data = np.frombuffer(random.randbytes(size), np.uint8).copy()
        found = space[place : place + size * lines // 2]
        data[: len(found)] = found
        return int.from_bytes(data.tobytes(), "little")

    def _store(self, word: int) -> None:
        address, lines = self.writes.popleft()
        line, count = self.build.input_lanes, min(2, lines)
        space, place = self._place(address)
        data = np.frombuffer(word.to_bytes(2 * line, "little"), np.uint8)[: count * line]
        assert place + len(data) <= len(space), f"writes at {address:#x}, outside of memory"
        space[place : place + len(data)] = data
        self.words_written += 1
        if lines > 2:
            self.writes.appendleft((address + 2 * line, lines - 2))

    def _place(self, address: int) -> tuple[Bytes, int]:
        if address >= SCRATCH:
            return self.scratch, address - SCRATCH
        return self.memory, address
