"""The whole accelerator in the simulator: its memory, its host, and what a program should leave."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any

import numpy as np
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from gearshift_hls import golden, registers
from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    End,
    Linear,
    Region,
    Status,
    decode,
    encode,
)
from gearshift_hls.records import CHANNEL, pack_stream

from ..contract.random_programs import Program
from .rtl_axi import External, attach
from .rtl_streams import PERIOD_NS, start

BUILD = Build(*map(int, os.environ["GEARSHIFT_BENCH_BUILD"].split(",")))
IS_HLS = os.environ["GEARSHIFT_BENCH_HLS"] == "1"
"""See rtl_dut.py: HLS has no performance counters and does not show what runs."""
PATIENCE = 300_000
"""Cycles that a program may take."""
PAGE = 4096
PORTS = [f"m_axi_weights_{port}" for port in range(4)]


class Board:
    """The accelerator, its memory and its host."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.external = External(np.zeros(0, np.uint8), 0)
        self.slaves = attach(dut, self.external, "m_axi_memory", *PORTS)
        self.host = AxiLiteMaster(
            AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.clock, dut.reset
        )
        self.offsets = registers.offsets()

    async def begin(self) -> None:
        await start(self.dut)

    async def read(self, offset: int) -> int:
        return int(await self.host.read_dword(offset))

    async def write(self, offset: int, value: int) -> None:
        await self.host.write_dword(offset, value)

    async def give(self, address: int, nbytes: int, write_base: int, program: int) -> None:
        """All arguments of a start."""
        for argument in registers.ARGUMENTS:
            place = self.offsets[argument.name]
            if argument.bits == 64:
                await self.write(place, address & 0xFFFFFFFF)
                await self.write(place + 4, address >> 32)
        await self.write(self.offsets["memory_bytes"], nbytes)
        await self.write(self.offsets["write_base"], write_base)
        await self.write(self.offsets["program"], program)

    async def start(self) -> None:
        await self.write(registers.CONTROL, registers.START)

    async def end(self) -> golden.Ending:
        """Wait for the interrupt, acknowledge it; how the program ended."""
        await self._interrupt()
        control = await self.read(registers.CONTROL)
        assert control & registers.DONE
        assert control & registers.READY
        await self.write(registers.INTERRUPT_STATUS, await self.read(registers.INTERRUPT_STATUS))
        returned = await self.read(registers.RETURN)
        return golden.Ending(Status(returned & 0xFF), returned >> 8)

    async def _interrupt(self) -> None:
        if not self.dut.interrupt_request.value:
            limit = Timer(PATIENCE * PERIOD_NS, "ns")
            first = await First(RisingEdge(self.dut.interrupt_request), limit)
            assert first is not limit, "the program does not end"

    async def enable(self) -> None:
        await self.write(registers.INTERRUPT_ENABLE, 1)
        await self.write(registers.GLOBAL_INTERRUPT, 1)

    async def counters(self) -> dict[str, int]:
        found = registers.counter_offsets()
        return {name: await self.read(place) for name, place in found.items()}

    async def run(self, program: Program, copies: bool = True) -> tuple[golden.Ending, Program]:
        """A program on memory of its own; the ending, and the memory that it leaves.

        `copies`: on-chip memory is that of the program before, and told afterwards.
        """
        memory = program.memory.copy()
        scratch = program.scratch.copy()
        # Behind the program's memory, which nobody may touch beyond its end, lie the copies.
        address = PAGE * random.randint(1, 1 << 40)
        if copies:
            await self.copy(scratch, "in")
        self.external.data, self.external.base = memory, address
        await self.give(address, len(memory), program.write_base, program.address)
        await self.start()
        ending = await self.end()
        if copies:
            await self.copy(scratch, "out")
        return ending, replace(program, memory=memory, scratch=scratch)

    async def copy(self, scratch: np.ndarray, direction: str) -> None:
        """On-chip memory from or to `scratch`, by a product with the unit matrix."""
        image, base, there = copying(direction)
        broken, self.external.broken = self.external.broken, None
        if direction == "in":
            image[there:] = scratch
        self.external.data, self.external.base = image, PAGE
        await self.give(PAGE, len(image), base, 0)
        await self.start()
        assert await self.end() == golden.Ending(Status.DONE, 1)
        if direction == "out":
            scratch[:] = image[there:]
        self.external.broken = broken


def copying(direction: str) -> tuple[np.ndarray, int, int]:
    """Memory with a program that copies on-chip memory; end of constants; where the copy lies."""
    lanes = BUILD.channel_multiple
    channels = np.zeros(lanes, CHANNEL)
    channels["multiplier"] = 1
    weights = np.frombuffer(pack_stream(BUILD, np.eye(lanes, dtype=np.int8), channels), np.uint8)
    constants = 2 * DESCRIPTOR_BYTES
    there = constants + len(weights)
    x, y = (there, SCRATCH) if direction == "in" else (SCRATCH, there)
    command = Linear(
        BUILD.scratch_bytes // lanes, lanes, lanes, 0, 0, 0, 0, 0, 0, x, constants, 0, y
    )
    head = np.frombuffer(encode(command) + encode(End()), np.uint8)
    image = np.concatenate([head, weights, np.zeros(BUILD.scratch_bytes, np.uint8)])
    return image, there, there


def expect(program: Program) -> tuple[golden.Ending, Program]:
    """What the golden model makes of it."""
    wanted = replace(program, memory=program.memory.copy(), scratch=program.scratch.copy())
    ending = golden.run(BUILD, wanted.memory, program.write_base, program.address, wanted.scratch)
    return ending, wanted


def written_by(program: Program, number: int) -> list[Region]:
    start = program.address + number * DESCRIPTOR_BYTES
    command = decode(program.memory[start : start + DESCRIPTOR_BYTES].tobytes())
    assert command is not None
    return [each for each in command.regions(BUILD) if each.access == "write"]


def blank(program: Program, regions: list[Region]) -> None:
    for region in regions:
        memory = program.scratch if region.address >= SCRATCH else program.memory
        memory[region.address % SCRATCH :][: region.nbytes] = 0


def assert_same(wanted: Program, found: Program) -> None:
    for name in ("memory", "scratch"):
        one, other = getattr(wanted, name), getattr(found, name)
        different = np.flatnonzero(one != other)
        assert len(different) == 0, (
            f"{len(different)} bytes of {name} differ, the first at {different[0]:#x}: "
            f"{wanted.commands}"
        )


async def check_alike(board: Board, program: Program) -> golden.Ending:
    ending, wanted = expect(program)
    found_ending, found = await board.run(program)
    assert found_ending == ending, f"{found_ending}, not {ending}: {program.commands}"
    if ending.status == Status.BAD_QUEUE:
        for each in (wanted, found):
            blank(each, written_by(program, ending.descriptor))
    assert_same(wanted, found)
    assert not board.external.outside, f"outside of memory: {board.external.outside[0]:#x}"
    return ending


async def new_board(dut: Any) -> Board:
    board = Board(dut)
    await board.begin()
    await board.enable()
    return board
