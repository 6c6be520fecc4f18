"""The compiler against operations that are executed one by one, each in a memory of its own."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from gearshift.errors import BackendError
from gearshift_hls import golden
from gearshift_hls import operations as ops
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.compile.limits import problems
from gearshift_hls.compile.placement import place
from gearshift_hls.descriptor import COMMANDS, SCRATCH, Status, align, check
from gearshift_hls.golden import Ending

from ..quantise.quantised_models import SMALL_BOARD, ModelMaker, run_alone

MODELS: dict[str, dict] = {
    "as it is": {},
    "one patch": {"rows": 1, "columns": 1},
    "one expert": {"experts": 1, "top_k": 1, "tasks": ("depth",)},
    "no decoder": {"decoders": False},
    "no decoder, last block dense": {"decoders": False, "blocks": 3, "experts": 8, "top_k": 4},
    "one name for the residual stream": {"in_place": True},
    "more than on-chip memory": {"rows": 9, "columns": 7, "true_channels": 60, "heads": 4},
    "full width": {"true_channels": 32, "heads": 1, "hidden": 64, "map_channels": 32},
}


def picture(task: ops.Quantised, seed: int) -> np.ndarray:
    shape = task.tensors[task.input.tensor].shape
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def run(bundle: Bundle, task: str, data: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """The output's bytes; everything else in `memory` and on the chip is what stood there."""
    program = bundle.tasks[task]
    start = program.input_place.address
    memory[start : start + data.size] = data.reshape(-1)
    scratch = np.random.default_rng(3).integers(0, 256, bundle.build.scratch_bytes, np.uint8)
    ending = golden.run(bundle.build, memory, bundle.write_base, program.program, scratch)
    assert ending == Ending(Status.DONE, program.descriptors - 1)
    start, nbytes = program.output_place.address, program.output_place.tensor.nbytes
    return memory[start : start + nbytes].copy()


def fresh_memory(bundle: Bundle, poison: int) -> np.ndarray:
    memory = np.full(bundle.memory_bytes, poison, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    return memory


@pytest.mark.parametrize("sizes", MODELS.values(), ids=MODELS.keys())
def test_programs_compute_what_their_operations_do_one_by_one(sizes: dict) -> None:
    tasks = ModelMaker(seed=1, **sizes).make()
    bundle = compile_bundle("random", SMALL_BOARD, tasks)
    # One memory for all runs: what a task or a picture leaves must not matter to the next.
    memory = fresh_memory(bundle, 0xA5)
    for seed, task in enumerate([*tasks, *tasks]):
        data = picture(task, seed)
        expected, _ = run_alone(task, SMALL_BUILD, data)
        assert len(np.unique(expected)) > 20, "the model is too quiet to tell anything"
        np.testing.assert_array_equal(run(bundle, task.task_card.name, data, memory), expected)
    np.testing.assert_array_equal(memory[: bundle.write_base], bundle.constants)


def test_small_builds_of_other_widths_stream_their_own_weights() -> None:
    build = replace(SMALL_BUILD, input_lanes=16, output_lanes=32, weight_ports=4)
    board = replace(SMALL_BOARD, build=build)
    (task,) = ModelMaker(build=build, tasks=("depth",)).make()
    bundle = compile_bundle("random", board, [task])
    data = picture(task, 5)
    expected, _ = run_alone(task, build, data)
    np.testing.assert_array_equal(run(bundle, "depth", data, fresh_memory(bundle, 0)), expected)


def test_what_is_alive_is_never_overwritten() -> None:
    """Seen from outside: no two tensors that are alive at once share a byte."""
    (task,) = ModelMaker(blocks=4, tasks=("depth",)).make()
    placement = place(task, SMALL_BUILD)
    addresses = {**placement.scratch, **placement.external}
    assert addresses.keys() == task.tensors.keys()
    alive: dict[str, tuple[int, int]] = {}
    for number, operation in enumerate(task.operations):
        for name in _names(operation) & task.tensors.keys():
            first, _ = alive.get(name, (number, number))
            alive[name] = (-1 if name == task.input.tensor else first), number
    for name, (first, _) in alive.items():
        if name == task.output.tensor or task.tensors[name].dtype == "queues":
            alive[name] = first, len(task.operations)
    replaced = {(one.residual, one.y) for one in task.operations if isinstance(one, ops.Linear)}
    for a, (first_a, last_a) in alive.items():
        for b, (first_b, last_b) in alive.items():
            if a == b or last_a < first_b or last_b < first_a:
                continue
            if (a, b) in replaced and last_a == first_b and addresses[a] == addresses[b]:
                continue
            if (b, a) in replaced and last_b == first_a and addresses[a] == addresses[b]:
                continue
            end_a = addresses[a] + align(task.tensors[a].nbytes)
            end_b = addresses[b] + align(task.tensors[b].nbytes)
            assert end_a <= addresses[b] or end_b <= addresses[a], (a, b)


def _names(operation: ops.Operation) -> set[str]:
    fields_of = ("x", "y", "normalised", "queues", "residual")
    return {getattr(operation, name, None) for name in fields_of} - {None}


def test_the_residual_stream_goes_on_the_chip_first() -> None:
    (task,) = ModelMaker(blocks=4, tasks=("depth",)).make()
    tight = replace(SMALL_BUILD, scratch_bytes=align(13 * 32 * 4))
    placement = place(task, tight)
    sums = {name for name, tensor in task.tensors.items() if tensor.dtype == "int32"}
    assert sums <= placement.scratch.keys()
    assert {placement.scratch[name] for name in sums} == {SCRATCH}, "in place, block after block"
    assert placement.scratch_bytes <= tight.scratch_bytes


@pytest.mark.parametrize("scratch_bytes", range(0, 6144, 704))
def test_on_chip_memory_is_never_overrun(scratch_bytes: int) -> None:
    (task,) = ModelMaker(blocks=4, tasks=("depth",)).make()
    placement = place(task, replace(SMALL_BUILD, scratch_bytes=scratch_bytes))
    ends = [address + task.tensors[name].nbytes for name, address in placement.scratch.items()]
    assert max(ends, default=SCRATCH) <= SCRATCH + scratch_bytes
    assert align(max(ends, default=SCRATCH)) - SCRATCH == placement.scratch_bytes


def test_an_output_in_external_memory_leaves_the_stream_on_the_chip() -> None:
    (task,) = ModelMaker(blocks=3, decoders=False, tasks=("tokens",)).make()
    placement = place(task, SMALL_BUILD)
    sums = {name for name, tensor in task.tensors.items() if tensor.dtype == "int32"}
    assert sums & placement.external.keys() == {task.output.tensor}


def test_a_residual_that_is_read_again_is_kept() -> None:
    """Two sums of the same stream, both needed: the second must not find the first's result."""
    maker = ModelMaker(blocks=0, decoders=False)
    task = maker.task(0, "tokens")
    first = task.output.tensor
    x = maker.norm("one.norm", first, "one.x")
    maker.linear("one", x, maker.stream("one"), residual=first)
    x = maker.norm("two.norm", "one.sum", "two.x")
    maker.linear("two", x, maker.stream("two"), residual=first)
    x = maker.norm("three.norm", "two.sum", "three.x")
    maker.linear("three", x, maker.stream("three"), residual="one.sum")
    task = replace(
        task,
        operations=tuple(maker.operations),
        names=tuple(maker.names),
        tensors=maker.tensors,
        output=replace(task.output, tensor="three.sum"),
    )
    bundle = compile_bundle("random", SMALL_BOARD, [task])
    data = picture(task, 5)
    expected, _ = run_alone(task, SMALL_BUILD, data)
    np.testing.assert_array_equal(run(bundle, "tokens", data, fresh_memory(bundle, 9)), expected)


def test_memory_is_enough_for_the_largest_task() -> None:
    (large,) = ModelMaker(tasks=("depth",)).make()
    (small,) = ModelMaker(tasks=("tokens",), decoders=False).make()
    for tasks in ([large, small], [small, large]):
        bundle = compile_bundle("random", SMALL_BOARD, tasks)
        memory = fresh_memory(bundle, 0x11)
        for task in tasks:
            data = picture(task, 5)
            expected, _ = run_alone(task, SMALL_BUILD, data)
            found = run(bundle, task.task_card.name, data, memory)
            np.testing.assert_array_equal(found, expected)


def test_without_room_on_the_chip_all_is_in_external_memory() -> None:
    board = replace(SMALL_BOARD, build=replace(SMALL_BUILD, scratch_bytes=0))
    (task,) = ModelMaker(tasks=("depth",)).make()
    assert place(task, board.build).scratch == {}
    bundle = compile_bundle("random", board, [task])
    data = picture(task, 5)
    expected, _ = run_alone(task, board.build, data)
    np.testing.assert_array_equal(run(bundle, "depth", data, fresh_memory(bundle, 9)), expected)


def test_tasks_share_the_backbone_and_the_place_of_activations() -> None:
    maker = ModelMaker(tasks=("rooms", "depth", "edges"))
    one, *_ = tasks = maker.make()
    alone = compile_bundle("random", SMALL_BOARD, [one])
    together = compile_bundle("random", SMALL_BOARD, tasks)
    assert list(together.tasks) == ["rooms", "depth", "edges"]
    own = [name for name in one.names if "router" in name or "decoders" in name]
    own_bytes = sum(
        align(_constant_bytes(operation, field))
        for operation, name in zip(one.operations, one.names, strict=True)
        if name in own
        for field in ("parameters", "weights", "biases")
    )
    programs = align(128 * (len(one.operations) + 1))
    assert together.write_base == alone.write_base + 2 * (own_bytes + programs)
    assert together.memory_bytes - together.write_base == alone.memory_bytes - alone.write_base


def _constant_bytes(operation: ops.Operation, field: str) -> int:
    value = getattr(operation, field, None)
    if isinstance(value, ops.Weights):
        return value.weights.nbytes + value.channels.nbytes
    return 0 if value is None else value.nbytes


def test_a_key_with_two_meanings_is_refused() -> None:
    one, other = ModelMaker().make()
    index = one.names.index("blocks.0.mlp.fc1")
    fc1 = one.operations[index]
    assert isinstance(fc1, ops.Linear)
    changed = replace(fc1, weights=replace(fc1.weights, weights=fc1.weights.weights + 1))
    operations = (*other.operations[:index], changed, *other.operations[index + 1 :])
    with pytest.raises(AssertionError, match=r"blocks\.0\.mlp\.fc1"):
        compile_bundle("random", SMALL_BOARD, [one, replace(other, operations=operations)])


def test_every_layer_that_does_not_fit_is_named_with_its_buffer() -> None:
    build = replace(SMALL_BUILD, max_tokens=12, max_experts=4, hidden_bytes=512)
    board = replace(SMALL_BOARD, build=build)
    with pytest.raises(BackendError) as caught:
        compile_bundle("random", board, ModelMaker().make())
    message = str(caught.value)
    assert "random at 6x8 pixels" in message
    assert "blocks.0.attention (Attention): tokens 13, at most 12 (max_tokens)" in message
    assert "blocks.1.router.rooms (Route): experts 5, at most 4 (max_experts)" in message
    assert "blocks.1.router.depth (Route)" in message
    hidden = "blocks.1.experts (Experts): hidden values need 624 bytes of hidden_bytes"
    assert message.count(hidden) == 1, "a layer that tasks share is named once"


def test_more_memory_than_the_board_has() -> None:
    with pytest.raises(BackendError, match=r"needs [\d,]+ bytes of memory .* gives 4,096"):
        compile_bundle("random", replace(SMALL_BOARD, memory_bytes=4096), ModelMaker().make())


@pytest.mark.parametrize("build", [SMALL_BUILD, Build()])
def test_problems_are_those_of_the_contract(build: Build) -> None:
    """A command has no problem exactly when `check` refuses nothing but its addresses."""
    random = np.random.default_rng(11)
    legal = refused = 0
    for _ in range(4000):
        kind = COMMANDS[random.integers(1, len(COMMANDS))]
        command = kind(*(_random_word(random, each.metadata, build) for each in fields(kind)))
        status = check(command, build, 1 << 30, 1 << 29)
        assert bool(problems(command, build)) == (status == Status.BAD_SIZE), command
        legal += status != Status.BAD_SIZE
        refused += status == Status.BAD_SIZE
    assert min(legal, refused) > 300


def _random_word(random: np.random.Generator, limits: dict, build: Build) -> int:
    most = limits["most"]
    most = getattr(build, most) if isinstance(most, str) else most
    step = build.channel_multiple if limits["lanes"] else 1
    if random.random() < 0.97:
        return int(random.integers(limits["least"], most + 1) // step * step) or step
    return int(random.integers(0, 2 * most + 2))
