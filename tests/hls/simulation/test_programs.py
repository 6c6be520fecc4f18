"""Random programs, legal and hostile, in the golden model and in C simulation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    Attention,
    Convolution,
    Experts,
    Linear,
    Norm,
    Resize,
    Route,
    Status,
    decode,
    queue_offset,
)
from gearshift_hls.simulation import Simulation

from ..contract.random_programs import KINDS, Program, make_hostile, make_program
from .compiled_units import COMPILER

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here")

SEEDS = st.integers(0, 1 << 32)
LISTS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)


def examples(count: int) -> Any:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def run_both(simulation: Simulation, program: Program) -> tuple[golden.Ending, Program, Program]:
    """The ending, and the memory that the golden model and the simulation leave."""
    wanted, found = (
        replace(program, memory=program.memory.copy(), scratch=program.scratch.copy())
        for _ in range(2)
    )
    ending = golden.run(
        program.build, wanted.memory, program.write_base, program.address, wanted.scratch
    )
    assert ending == simulation.run(
        found.memory, program.write_base, program.address, found.scratch
    )
    return ending, wanted, found


def check_alike(simulation: Simulation, program: Program) -> golden.Ending:
    """Endings and all memory are the same, but for what a descriptor that failed may leave."""
    ending, wanted, found = run_both(simulation, program)
    if ending.status == Status.BAD_QUEUE:
        for region in failed(program, ending).regions(program.build):
            if region.access == "write":
                for each in (wanted, found):
                    blank(each, region.address, region.nbytes)
    assert_same("memory", wanted.memory, found.memory)
    assert_same("scratch", wanted.scratch, found.scratch)
    return ending


def failed(program: Program, ending: golden.Ending) -> Any:
    start = program.address + ending.descriptor * DESCRIPTOR_BYTES
    return decode(program.memory[start : start + DESCRIPTOR_BYTES].tobytes())


def blank(program: Program, address: int, nbytes: int) -> None:
    memory = program.scratch if address >= SCRATCH else program.memory
    memory[address % SCRATCH :][:nbytes] = 0


def assert_same(name: str, wanted: np.ndarray, found: np.ndarray) -> None:
    different = np.flatnonzero(wanted != found)
    assert len(different) == 0, (
        f"{len(different)} bytes of {name} differ, the first at {different[0]:#x}"
    )


@examples(150)
@given(kinds=LISTS, seed=SEEDS)
def test_random_programs(small: Simulation, kinds: list[Any], seed: int) -> None:
    ending = check_alike(small, make_program(SMALL_BUILD, kinds, seed))
    assert ending.status == Status.DONE or Experts in kinds
    if ending.status == Status.DONE:
        assert ending.descriptor == len(kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_in_many_sizes(small: Simulation, kind: Any) -> None:
    for seed in range(40):
        ending = check_alike(small, make_program(SMALL_BUILD, [kind], seed))
        assert ending == golden.Ending(Status.DONE, 1)


def test_a_block_of_a_transformer(small: Simulation) -> None:
    """The commands in the order of a model, each often on the result of the one before."""
    block = [Norm, Linear, Attention, Linear, Norm, Route, Experts, Linear, Convolution, Resize]
    for seed in range(20):
        assert check_alike(small, make_program(SMALL_BUILD, block, seed)).status == Status.DONE


@examples(250)
@given(kinds=LISTS, seed=SEEDS, hostile_seed=SEEDS)
def test_hostile_programs(
    small: Simulation, kinds: list[Any], seed: int, hostile_seed: int
) -> None:
    check_alike(small, make_hostile(make_program(SMALL_BUILD, kinds, seed), hostile_seed))


def test_hostile_programs_end_in_every_way(small: Simulation) -> None:
    statuses: Counter[Status] = Counter()
    for seed in range(120):
        rng = np.random.default_rng(seed)
        kinds = [KINDS[place] for place in rng.integers(0, len(KINDS), 2)]
        program = make_hostile(make_program(SMALL_BUILD, kinds, seed), seed)
        statuses[check_alike(small, program).status] += 1
    for seed in range(60):
        statuses[check_alike(small, hostile_queue(seed)).status] += 1
    assert set(statuses) == set(Status) - {Status.BAD_BUS}


def hostile_queue(seed: int) -> Program:
    """An expert mixture whose queues lie in constant memory and have been tampered with."""
    rng = np.random.default_rng(seed)
    program = make_program(SMALL_BUILD, [Experts], seed)
    command = program.commands[0]
    assert isinstance(command, Experts)
    (queues,) = [each for each in command.regions(SMALL_BUILD) if each.field == "queues"]
    data = program.memory[queues.address : queues.address + queues.nbytes]
    counts = data.view("<u4")[: command.experts]
    expert = int(rng.integers(command.experts))
    place = queue_offset(expert, command.experts, command.tokens)
    if seed % 3 == 0:  # the first count that is too large, or any other
        counts[expert] = rng.choice([command.tokens + 1, 1 << 31, 0xFFFFFFFF])
    elif seed % 3 == 1 and counts[expert]:  # the first token that does not exist, or any other
        entry = place + 4 * int(rng.integers(counts[expert]))
        data[entry : entry + 2].view("<u2")[:] = rng.choice([command.tokens, 0xFFFF])
    else:  # not read, so legal: behind the last entry
        counts[expert] = rng.integers(command.tokens)
        data[place + 4 * int(counts[expert]) :][:4] = 0xFF
    return program


@examples(12)
@given(kinds=LISTS, seed=SEEDS)
def test_random_programs_under_sanitizers(
    sanitized: Simulation, kinds: list[Any], seed: int
) -> None:
    check_alike(sanitized, make_program(SMALL_BUILD, kinds, seed))


@examples(25)
@given(kinds=LISTS, seed=SEEDS, hostile_seed=SEEDS)
def test_hostile_programs_under_sanitizers(
    sanitized: Simulation, kinds: list[Any], seed: int, hostile_seed: int
) -> None:
    check_alike(sanitized, make_hostile(make_program(SMALL_BUILD, kinds, seed), hostile_seed))


def test_hostile_queues_under_sanitizers(sanitized: Simulation) -> None:
    for seed in range(10):
        check_alike(sanitized, hostile_queue(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_build_of_the_board(kind: Any) -> None:
    pytest.importorskip("hls4ml", reason="no arbitrary-precision headers here")
    simulation = Simulation(ZCU104.build)
    for seed in range(6):
        check_alike(simulation, make_program(ZCU104.build, [kind], seed))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "count"), [(SMALL_BUILD, 1500), (ZCU104.build, 400)])
def test_many_random_programs(build: Build, count: int) -> None:
    simulation = Simulation(build)
    for seed in range(1000, 1000 + count):
        rng = np.random.default_rng(seed)
        kinds = [KINDS[place] for place in rng.integers(0, len(KINDS), rng.integers(1, 7))]
        program = make_program(build, kinds, seed)
        check_alike(simulation, program)
        for hostile_seed in range(3):
            check_alike(simulation, make_hostile(program, hostile_seed))


@pytest.mark.slow
def test_many_random_programs_under_sanitizers(sanitized: Simulation) -> None:
    for seed in range(3000, 3400):
        rng = np.random.default_rng(seed)
        kinds = [KINDS[place] for place in rng.integers(0, len(KINDS), rng.integers(1, 7))]
        program = make_program(SMALL_BUILD, kinds, seed)
        check_alike(sanitized, program)
        check_alike(sanitized, make_hostile(program, seed))
