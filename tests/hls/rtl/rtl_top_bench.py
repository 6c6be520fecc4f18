"""cocotb bench of the whole accelerator: random programs against the golden model, and what may go
wrong around them. The host is an AXI4-Lite master, memory is cocotbext-axi's.

GEARSHIFT_BENCH_ROUNDS multiplies the number of programs. Many more run in test_rtl_programs.py,
where no Python drives the ports.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from gearshift_hls import golden, registers
from gearshift_hls.descriptor import (
    COMMANDS,
    DESCRIPTOR_BYTES,
    SCRATCH,
    Attention,
    Command,
    Convolution,
    End,
    Experts,
    Linear,
    Norm,
    Resize,
    Route,
    Status,
    encode,
)

from ..contract import random_programs as random_sizes
from ..contract.random_programs import KINDS, Program, make_hostile, make_program
from .rtl_axi import run_freely, stall
from .rtl_top_board import (
    BUILD,
    IS_HLS,
    PAGE,
    PORTS,
    assert_same,
    blank,
    check_alike,
    expect,
    new_board,
    written_by,
)

ROUNDS = int(os.environ.get("GEARSHIFT_BENCH_ROUNDS", "1"))
random_sizes.PRODUCTS = 1 << 16
"""Small commands: cocotb runs some ten thousand cycles a second."""


@cocotb.test()
async def random_programs(dut: Any) -> None:
    """Every command in several sizes, in programs of two, memory and ports stalling."""
    board = await new_board(dut)
    for number in range(4 * ROUNDS):
        stall(board.slaves)
        kinds = [KINDS[(2 * number + place) % len(KINDS)] for place in range(2)]
        program = make_program(BUILD, kinds, random.getrandbits(32))
        ending = await check_alike(board, program)
        assert ending == golden.Ending(Status.DONE, 2) or Experts in kinds


@cocotb.test()
async def a_block_of_a_transformer(dut: Any) -> None:
    """The commands in the order of a model, and what the counters say of them."""
    board = await new_board(dut)
    run_freely(board.slaves)
    kinds = [Norm, Linear, Attention, Norm, Route, Experts, Convolution, Resize]
    program = make_program(BUILD, kinds, 7)
    assert (await check_alike(board, program)).status == Status.DONE
    if IS_HLS:
        return
    await board.run(program, copies=False)
    counts = await board.counters()
    by_command = [counts[kind.__name__.lower()] for kind in set(kinds)]
    assert all(by_command)
    assert sum(by_command) < counts["cycles"] < sum(by_command) + 400 * (len(kinds) + 1)
    waiting = counts["array_waits_for_weights"] + counts["array_waits_for_data"]
    products = sum(counts[name] for name in ("linear", "attention", "experts", "convolution"))
    assert 0 < counts["array_busy"] <= counts["array_busy"] + waiting <= products
    # Weights of a product are read once, a share by each port.
    for port in range(4):
        assert counts[f"weights_{port}_read"] % 16 == 0
        assert counts[f"weights_{port}_read"] == counts["weights_0_read"] > 0
    assert counts["memory_read"] > DESCRIPTOR_BYTES * len(program.commands)


@cocotb.test()
async def hostile_programs(dut: Any) -> None:
    """They end as the golden model says, nothing else is written, and the next one is right."""
    board = await new_board(dut)
    for _ in range(6 * ROUNDS):
        stall(board.slaves)
        kinds = random.choices(KINDS, k=random.randint(1, 2))
        seed = random.getrandbits(32)
        program = make_hostile(make_program(BUILD, kinds, seed), seed)
        await check_alike(board, program)
    for status, program in endings().items():
        stall(board.slaves)
        ending = await check_alike(board, program)
        assert ending.status == status
        program = make_program(BUILD, [Norm], random.getrandbits(32))
        assert (await check_alike(board, program)).status == Status.DONE


def endings() -> dict[Status, Program]:
    """A program for every way to end but by the bus."""
    legal = make_program(BUILD, [Norm, Linear], random.getrandbits(32))
    rows, shifted = 32 + 1, 32 + 13
    return {
        Status.DONE: legal,
        Status.BAD_PROGRAM: replace(legal, address=legal.write_base - DESCRIPTOR_BYTES + 64),
        Status.BAD_OPCODE: with_word(legal, 32, len(COMMANDS)),
        Status.BAD_SIZE: with_word(legal, rows, 0),
        Status.BAD_ADDRESS: with_word(legal, shifted, legal.write_base + 32),
        Status.BAD_QUEUE: hostile_queue(),
    }


def with_word(program: Program, place: int, value: int) -> Program:
    """The same with one word of its descriptors replaced."""
    memory = program.memory.copy()
    memory[: DESCRIPTOR_BYTES * len(program.commands)].view("<u4")[place] = value
    return replace(program, memory=memory)


def hostile_queue() -> Program:
    """An expert mixture whose queues lie in constant memory and have been tampered with."""
    while True:
        program = make_program(BUILD, [Experts], random.getrandbits(32))
        command = program.commands[0]
        assert isinstance(command, Experts)
        if command.queues < program.write_base:
            break
    words = program.memory[command.queues :].view("<u4")
    place = random.randrange(command.experts)
    words[place] = random.choice([command.tokens + 1, 0xFFFF, 1 << 31, 0xFFFFFFFF])
    return program


@cocotb.test()
async def broken_memory(dut: Any) -> None:
    """A piece of memory answers with errors: the first command that touches it ends the program,
    all others have their effect, and the next program runs."""
    board = await new_board(dut)
    for turn in range(4 * ROUNDS):
        stall(board.slaves)
        program, broken, first = broken_program(PIECES[turn % len(PIECES)])
        board.external.broken = broken
        ending, found = await board.run(program)
        board.external.broken = None
        assert ending == golden.Ending(Status.BAD_BUS, first), program.commands
        # As if the program had ended before.
        place = program.address + first * DESCRIPTOR_BYTES
        end = np.frombuffer(encode(End()), np.uint8)
        cut = replace(program, memory=program.memory.copy())
        cut.memory[place : place + DESCRIPTOR_BYTES] = end
        _, wanted = expect(cut)
        there = slice(place, place + DESCRIPTOR_BYTES)
        wanted.memory[there] = program.memory[there]
        for each in (wanted, found):
            blank(each, written_by(program, first))
        assert_same(wanted, found)
        assert not board.external.outside
        if turn % 2 == 0:
            assert (await check_alike(board, program)).status == Status.DONE


PIECES = ("a descriptor", "constant", "read", "write")
"""What a broken piece is to a command."""


def broken_program(piece: str) -> tuple[Program, range, int]:
    """A legal program, 64 broken bytes that are `piece` to a command of it, and the number of the
    first command that is sure to touch them."""
    while True:
        program = make_program(BUILD, random.choices(KINDS, k=2), random.getrandbits(32))
        number = random.randrange(2)
        place = program.address + number * DESCRIPTOR_BYTES
        found = [range(place, place + 64)] if piece == "a descriptor" else []
        for region in program.commands[number].regions(BUILD):
            if region.access == piece and region.address < SCRATCH:
                found.append(range(region.address, region.address + 64))
        if not found or expect(program)[0].status != Status.DONE:
            continue
        broken = random.choice(found)
        touched = [each for each in range(2) if touches(program, each, broken)]
        if all(surely_touches(program, each, broken) for each in touched[:1]):
            return program, broken, touched[0]


def touches(program: Program, number: int, broken: range) -> bool:
    """Whether the descriptor or a region of the command has a byte of the piece."""
    place = program.address + number * DESCRIPTOR_BYTES
    ranges = [range(place, place + DESCRIPTOR_BYTES)]
    ranges += [
        range(each.address, each.address + each.nbytes)
        for each in program.commands[number].regions(BUILD)
    ]
    return any(each.start < broken.stop and broken.start < each.stop for each in ranges)


def surely_touches(program: Program, number: int, broken: range) -> bool:
    """Of expert queues only the counts are sure to be touched, of experts nothing else is."""
    command = program.commands[number]
    if isinstance(command, (Route, Experts)) and broken.start >= DESCRIPTOR_BYTES * 3:
        inside = [
            each.field
            for each in command.regions(BUILD)
            if each.address <= broken.start < each.address + each.nbytes
        ]
        if isinstance(command, Experts):
            return inside == ["queues"] and broken.start == command.queues
        return "queues" not in inside or broken.start == command.queues
    return True


@cocotb.test()
async def reset_in_mid_run(dut: Any) -> None:
    """A reset at any time leaves nothing behind: what ran stops, the next program is right."""
    board = await new_board(dut)
    for _ in range(2 * ROUNDS):
        stall(board.slaves)
        program = make_program(BUILD, random.choices(KINDS, k=3), random.getrandbits(32))
        memory = program.memory.copy()
        board.external.data, board.external.base = memory, PAGE
        await board.give(PAGE, len(memory), program.write_base, program.address)
        await board.start()
        for _ in range(random.randint(1, 3000)):
            await RisingEdge(dut.clock)
        dut.reset.value = 1
        for _ in range(3):
            await RisingEdge(dut.clock)
        dut.reset.value = 0
        await RisingEdge(dut.clock)
        assert not dut.executing.value
        before = memory.copy()
        assert await board.read(registers.CONTROL) == registers.IDLE
        assert await board.read(registers.RETURN) == 0
        await board.enable()
        for _ in range(200):
            await RisingEdge(dut.clock)
        assert (memory == before).all()
        regions = [r for n in range(3) for r in written_by(program, n)]
        pair = [replace(program, memory=each.copy()) for each in (memory, program.memory)]
        for each in pair:
            blank(each, regions)
        assert (pair[0].memory == pair[1].memory).all()
        await check_alike(board, program)


@cocotb.test()
async def the_register_handshake(dut: Any) -> None:
    """Of AMD's UG1399: what reading clears, what toggles, when the line is high."""
    board = await new_board(dut)
    run_freely(board.slaves)
    program = make_program(BUILD, [Norm], 3)
    memory = program.memory.copy()
    board.external.data, board.external.base = memory, 3 * PAGE
    await board.write(registers.GLOBAL_INTERRUPT, 0)
    await board.write(registers.INTERRUPT_ENABLE, 3)
    assert await board.read(registers.CONTROL) == registers.IDLE
    await board.give(3 * PAGE, len(memory), program.write_base, program.address)
    for argument in registers.ARGUMENTS:
        if argument.bits == 64:
            place = registers.offsets()[argument.name]
            assert await board.read(place) == 3 * PAGE
            assert await board.read(place + 4) == 0
    assert await board.read(registers.offsets()["write_base"]) == program.write_base
    await board.start()
    assert await board.read(registers.CONTROL) & ~registers.READY == registers.START
    while not await board.read(registers.INTERRUPT_STATUS):
        assert not dut.interrupt_request.value
    done = registers.DONE | registers.READY | registers.IDLE
    assert not dut.interrupt_request.value, "the line is off"
    await board.write(registers.GLOBAL_INTERRUPT, 1)
    await RisingEdge(dut.clock)
    assert dut.interrupt_request.value
    assert await board.read(registers.CONTROL) == done
    assert await board.read(registers.CONTROL) == registers.IDLE, "reading clears"
    assert dut.interrupt_request.value, "reading does not lower the line"
    assert await board.read(registers.INTERRUPT_STATUS) == 3
    await board.write(registers.INTERRUPT_STATUS, 1)
    assert await board.read(registers.INTERRUPT_STATUS) == 2
    await board.write(registers.INTERRUPT_STATUS, 2)
    await RisingEdge(dut.clock)
    assert not dut.interrupt_request.value
    assert await board.read(registers.RETURN) == Status.DONE | 1 << 8
    # Bytes that are not written keep their value; addresses without a register hold nothing.
    place = registers.offsets()["write_base"]
    await board.host.write(place + 1, b"\x5a")
    assert await board.read(place) == program.write_base & ~0xFF00 | 0x5A00
    assert await board.read(0x14) == await board.read(0xFFC) == 0


@dataclass
class Watch:
    """What runs, cycle by cycle, from the first command on."""

    commands: list[int]
    pauses: int = 0
    """Cycles between them in which nothing ran."""


async def watch(dut: Any, seen: Watch) -> None:
    last, pauses = None, 0
    while True:
        await RisingEdge(dut.clock)
        if not dut.executing.value:
            last, pauses = None, pauses + 1
            continue
        seen.pauses += pauses if seen.commands else 0
        pauses = 0
        now = int(dut.descriptor_number.value), int(dut.descriptor_opcode.value)
        if now != last:
            seen.commands.append(now[1])
        last = now


@cocotb.test()
async def a_switch_costs_nothing(dut: Any) -> None:
    """A program that is started while another runs begins in the cycle in which a next command of
    the first would have: between the first command of one and the last of the other something
    always runs. The arguments are those at the time of its START."""
    board = await new_board(dut)
    run_freely(board.slaves)
    for seed in range(2 * ROUNDS):
        one = make_program(BUILD, [Linear, Norm], 100 + seed)
        two = make_program(BUILD, [Norm, Resize], 200 + seed)
        there = -(-len(one.memory) // PAGE) * PAGE
        image = np.concatenate([np.resize(one.memory, there), two.memory])
        wanted, scratch = image.copy(), one.scratch.copy()
        await board.copy(scratch, "in")
        for start_at, program in ((0, one), (there, two)):
            part = wanted[start_at : start_at + len(program.memory)]
            assert golden.run(BUILD, part, program.write_base, 0, scratch).status == Status.DONE
        board.external.data, board.external.base = image, 7 * PAGE
        seen = Watch([])
        task = cocotb.start_soon(watch(dut, seen))
        await board.give(7 * PAGE, len(one.memory), one.write_base, 0)
        await board.start()
        await board.give(7 * PAGE + there, len(two.memory), two.write_base, 0)
        await board.start()
        # Nobody looks at them again.
        await board.give(0, 0, 0, 1)
        assert await board.end() == golden.Ending(Status.DONE, 2)
        first_counts = await board.counters()
        if dut.executing.value:
            assert await board.read(registers.CONTROL) & registers.IDLE == 0
        assert await board.end() == golden.Ending(Status.DONE, 2)
        task.cancel()
        counts = await board.counters()
        used = [
            {name for name in ("norm", "linear", "resize") if each[name]}
            for each in (first_counts, counts)
        ]
        assert used == [{"linear", "norm"}, {"norm", "resize"}]
        assert (image == wanted).all()
        assert seen.commands == [Linear.opcode, Norm.opcode, Norm.opcode, Resize.opcode]
        assert seen.pauses == 0


@cocotb.test()
async def protocol(dut: Any) -> None:
    """Bursts on all ports are as the header of accelerator.sv says."""
    board = await new_board(dut)
    run_freely(board.slaves)
    longest = 0

    async def look() -> None:
        nonlocal longest
        while True:
            await RisingEdge(dut.clock)
            for port in (*PORTS, "m_axi_memory"):
                if getattr(dut, f"{port}_arvalid").value:
                    longest = max(longest, int(getattr(dut, f"{port}_arlen").value) + 1)
                    assert int(getattr(dut, f"{port}_araddr").value) % 16 == 0

    task = cocotb.start_soon(look())
    kinds: list[type[Command]] = [Linear, Convolution]
    program = make_program(BUILD, kinds, 12)
    ending, _ = await board.run(program, copies=False)
    assert ending.status == Status.DONE
    task.cancel()
    assert longest == 32, "a weight port's, in beats"
    # Each port reads its share of the weights, once.
    linear, convolution, _ = program.commands
    assert isinstance(linear, Linear)
    assert isinstance(convolution, Convolution)
    wanted = BUILD.stream_bytes(linear.inputs, linear.outputs)
    wanted += BUILD.stream_bytes(9 * convolution.inputs, convolution.outputs)
    counts = await board.counters()
    assert [counts[f"weights_{port}_read"] for port in range(4)] == 4 * [wanted]
    # The rest of the traffic is what was read and written, whole beats.
    assert board.external.reads * 16 == counts["memory_read"] + 4 * wanted
    assert sum(nbytes for _, nbytes in board.external.writes) == counts["memory_written"]
