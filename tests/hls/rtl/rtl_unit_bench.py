"""Drives norm.sv, route.sv or resize.sv, the unit that the environment names, on random commands.

Memory answers at random; all of it must be as the golden model leaves it, bit for bit.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.descriptor import WORDS, Command, Status

from ..contract.random_programs import Program, make_program
from .rtl_streams import Stalls, any_stalls, no_stalls, random_stalls, reset, start
from .rtl_unit_corners import CORNERS, directed, fast, kind_of, look
from .rtl_unit_memory import UnitMemory

UNIT = os.environ["UNIT"]
PROGRAMS = int(os.environ.get("PROGRAMS", "40"))
WIDE = os.environ.get("BUILD") == "wide"
"""On the lanes of the ZCU104's build; of programs that stay small."""
SMALLER = {
    "max_tokens": 100,
    "max_channels": 512,
    "max_norm_channels": 256,
    "max_experts": 24,
    "max_side": 40,
    "input_bytes": 32 << 10,
    "scratch_bytes": 64 << 10,
}
BUILD = replace(ZCU104.build, **SMALLER) if WIDE else RTL_BUILD


def slow_writer() -> Any:
    """Stalls of a memory that hardly takes what is written, but gives what is read."""
    kinds = iter([no_stalls, no_stalls, no_stalls, lambda: random_stalls(0.95)])
    return lambda: next(kinds)()


def stalls_of(make: Any) -> list[Stalls]:
    return [make() for _ in range(4)]


async def execute(dut: Any, memory: UnitMemory, command: Command, stalls: list[Stalls]) -> int:
    """Runs the command; returns its cycles from start to done."""
    words = [command.opcode, *(getattr(command, each.name) for each in fields(command))]
    for place, word in enumerate(words + [0] * (WORDS - len(words))):
        dut.words[place].value = word
    dut.start.value = 1
    await RisingEdge(dut.clock)
    dut.start.value = 0
    return await memory.serve_until_done(stalls)


async def compare(dut: Any, program: Program, make_stalls: Any) -> int:
    """The program's one command by the unit and by the golden model; returns its cycles."""
    expected, expected_scratch = program.memory.copy(), program.scratch.copy()
    told = {}
    ending = golden.run(
        program.build,
        expected,
        program.write_base,
        program.address,
        expected_scratch,
        lambda number, name, values: told.__setitem__(name, values),
    )
    assert ending == golden.Ending(Status.DONE, 1)
    command = program.commands[0]
    look(CORNERS[UNIT], program, told)
    memory = UnitMemory(dut, program.build, program.memory.copy(), program.scratch.copy())
    cycles = await execute(dut, memory, command, stalls_of(make_stalls))
    assert np.array_equal(memory.memory, expected), command
    assert np.array_equal(memory.scratch, expected_scratch), command
    return cycles


@cocotb.test()
async def commands(dut: Any) -> None:
    """Random commands one behind the other, and those that hit the corners."""
    await start(dut, start=0)
    kind = kind_of(UNIT)
    for seed in range(PROGRAMS):
        await compare(
            dut, make_program(BUILD, [kind], cocotb.RANDOM_SEED * 1000 + seed), any_stalls
        )
    if not WIDE:
        for program in directed(UNIT, BUILD):
            await compare(dut, program, any_stalls)
        await compare(dut, program, slow_writer())
        CORNERS[UNIT].require(dut._log.info)


@cocotb.test()
async def full_speed(dut: Any) -> None:
    """As many cycles as the words that must move allow, and a pipeline's length."""
    await start(dut, start=0)
    program, limit = fast(UNIT, BUILD)
    cycles = await compare(dut, program, no_stalls)
    dut._log.info(f"{cycles} cycles, at most {limit}")
    assert cycles <= limit


@cocotb.test()
async def after_a_reset(dut: Any) -> None:
    """What was under way leaves nothing behind."""
    await start(dut, start=0)
    program = make_program(BUILD, [kind_of(UNIT)], 5)
    memory = UnitMemory(dut, BUILD, program.memory.copy(), program.scratch.copy())
    running = cocotb.start_soon(execute(dut, memory, program.commands[0], stalls_of(no_stalls)))
    for _ in range(40):
        await RisingEdge(dut.clock)
    running.cancel()
    UnitMemory(dut, BUILD, program.memory, program.scratch)  # the reader is reset too
    await reset(dut)
    await compare(dut, make_program(BUILD, [kind_of(UNIT)], 6), any_stalls)
