"""cocotb bench of the descriptor checker (check.sv) against `descriptor.check`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from gearshift_hls.build import RTL_BUILD, Build
from gearshift_hls.descriptor import (
    COMMANDS,
    DESCRIPTOR_BYTES,
    SCRATCH,
    WORDS,
    Command,
    End,
    Status,
    check,
    decode,
    encode,
)

from .rtl_streams import Coverage, start

BUILD = RTL_BUILD if os.environ.get("GEARSHIFT_BENCH_LANES") == "16" else Build()
CHECKS = 2500
KINDS = COMMANDS[1:]
SLOWEST = 75
"""Cycles that a check may take."""

COVERAGE = Coverage(
    *(
        f"{kind.__name__} {status}"
        for kind in KINDS
        for status in ("DONE", "BAD_SIZE", "BAD_ADDRESS")
    ),
    "BAD_OPCODE",
    "End DONE",
    "all memory is constant",
    "memory ends at SCRATCH",
)


def limits_of(each: Any) -> tuple[int, int, int]:
    """The least and the most that a field may hold, and the step."""
    most = each.metadata["most"]
    most = getattr(BUILD, most) if isinstance(most, str) else most
    step = BUILD.channel_multiple if each.metadata["lanes"] else 1
    return each.metadata["least"], most, step


def random_sizes(kind: type[Command]) -> Command:
    """Fields anywhere within their limits, often at one; addresses anywhere."""
    values = {}
    for each in fields(kind):
        least, most, step = limits_of(each)
        low = -(-max(least, step if step > 1 else 0) // step)
        high = most // step
        chosen = random.choice([low, high, random.randint(low, min(high, low + 3))])
        if random.random() < 0.4:
            chosen = random.randint(low, high)
        values[each.name] = chosen * step
    return kind(**values)


def placed(command: Command, memory: int, base: int) -> Command:
    """Every region ends or begins at a border, or beside another region, give or take 64 bytes."""
    borders = [0, base, memory, SCRATCH, SCRATCH + BUILD.scratch_bytes]
    for region in command.regions(BUILD):
        border = random.choice(borders)
        start = border - region.nbytes * random.randint(0, 1)
        address = start // 64 * 64 + 64 * random.choice([0, 0, 0, 0, 1, -1])
        if random.random() < 0.03:
            address += random.randint(1, 63)
        address = min(max(address, 0), (1 << 32) - 64)
        command = replace(command, **{region.field: address})
        borders += [address, address + region.nbytes]
    return command


def shrunk(command: Command) -> Command:
    """Smaller sizes, so that the buffers hold it."""
    values = {}
    for each in fields(command):
        least, _, step = limits_of(each)
        value = getattr(command, each.name)
        if value > least and not each.metadata["text"].startswith("address"):
            values[each.name] = max(value // random.choice([1, 2, 4, 8]) // step * step, step)
    return replace(command, **values)


def legal_sizes(kind: type[Command], memory: int, base: int) -> Command:
    """Limits and buffers hold it; its addresses may be anything."""
    for attempt in range(1000):
        command = random_sizes(kind)
        for _ in range(attempt // 10):
            command = shrunk(command)
        if check(command, BUILD, memory, base) != Status.BAD_SIZE:
            return command
    raise AssertionError(f"no legal {kind.__name__} found")


def descriptors() -> Iterator[tuple[bytes, int, int]]:
    """Descriptor, end of memory, end of constant memory."""
    for number in range(CHECKS):
        memory = random.choice([SCRATCH, SCRATCH - 17, random.randint(1 << 16, SCRATCH)])
        base = random.choice([memory, 0, memory // 2, random.randint(0, memory)])
        kind = KINDS[number % len(KINDS)]
        command = random_sizes(kind)
        if random.random() < 0.8:
            sized = legal_sizes(kind, memory, base)
            for _ in range(random.choice([1, 60])):
                command = placed(sized, memory, base)
                if check(command, BUILD, memory, base) == Status.DONE:
                    break
        descriptor = bytearray(encode(command))
        if random.random() < 0.3:
            word = 4 * random.randint(0, len(fields(kind)))
            value = int.from_bytes(descriptor[word : word + 4], "little")
            near = [
                value + 1,
                value - 1,
                value ^ 1 << random.randint(0, 31),
                random.getrandbits(32),
            ]
            descriptor[word : word + 4] = (random.choice(near) % (1 << 32)).to_bytes(4, "little")
        if random.random() < 0.1:
            end = 4 * (1 + len(fields(kind)))
            descriptor[end:] = random.randbytes(DESCRIPTOR_BYTES - end)
        yield bytes(descriptor), memory, base
    yield encode(End()), 0, 0
    yield (len(COMMANDS)).to_bytes(4, "little") + bytes(4 * WORDS - 4), SCRATCH, 0
    yield (1 << 31 | 1).to_bytes(4, "little") + bytes(4 * WORDS - 4), SCRATCH, 0


def wanted(descriptor: bytes, memory: int, base: int) -> Status:
    command = decode(descriptor)
    if command is None:
        COVERAGE.hit("BAD_OPCODE")
        return Status.BAD_OPCODE
    status = check(command, BUILD, memory, base)
    COVERAGE.hit(f"{type(command).__name__} {status.name}")
    COVERAGE.hit("all memory is constant", base == memory)
    COVERAGE.hit("memory ends at SCRATCH", memory == SCRATCH)
    return status


@cocotb.test()
async def every_descriptor(dut: Any) -> None:
    await start(dut, start=0)
    for descriptor, memory, base in descriptors():
        dut.words.value = int.from_bytes(descriptor, "little")
        dut.memory_bytes.value = memory
        dut.write_base.value = base
        dut.start.value = 1
        await RisingEdge(dut.clock)
        dut.start.value = 0
        cycles = 0
        while not dut.done.value:
            await FallingEdge(dut.clock)
            cycles += 1
            assert cycles < SLOWEST, "the check does not end"
        expected = wanted(descriptor, memory, base)
        found = Status(int(dut.status.value))
        assert found == expected, f"{decode(descriptor)}, {memory:#x}, {base:#x}: {found.name}"
        await RisingEdge(dut.clock)
    COVERAGE.require(dut._log.info)
