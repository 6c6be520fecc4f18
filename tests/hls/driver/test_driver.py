"""The driver against a board that behaves as its register map says; golden is what computes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gearshift.errors import BackendError, InputError
from gearshift_hls import golden, registers
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.descriptor import DESCRIPTOR_BYTES, Status
from gearshift_hls.driver.accelerator import Accelerator
from gearshift_hls.driver.device import Device
from gearshift_hls.driver.simulated_device import SimulatedDevice
from gearshift_hls.host import pack_picture, unpack_result

from ..quantise.quantised_models import SMALL_BOARD, ModelMaker, run_alone
from . import fake_board
from .fake_board import FakeBoard

MODEL = ModelMaker(seed=5)
TASKS = {task.task_card.name: task for task in MODEL.make()}
BUNDLE = compile_bundle("model", SMALL_BOARD, list(TASKS.values()))
CORE = partial(golden.run, SMALL_BUILD)


def pictures(number: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    shape = number, 3, BUNDLE.height, BUNDLE.width
    return random.uniform(-1, 1, shape).astype(np.float32)


def expected(task: str, picture: np.ndarray) -> np.ndarray:
    """Each operation alone, in a memory of its own: neither compiler nor driver takes part."""
    program = BUNDLE.tasks[task]
    data, _ = run_alone(TASKS[task], SMALL_BUILD, pack_picture(picture, program))
    return unpack_result(data, program)


def break_descriptor(task: str, number: int, opcode: int) -> Bundle:
    constants = BUNDLE.constants.copy()
    place = BUNDLE.tasks[task].program + number * DESCRIPTOR_BYTES
    constants[place : place + 4] = np.array([opcode], "<u4").view(np.uint8)
    return replace(BUNDLE, constants=constants)


@pytest.mark.parametrize("ticks", [0, 1, 5])
@pytest.mark.parametrize("interrupts", [True, False])
def test_results_are_those_of_the_golden_model(ticks: int, interrupts: bool) -> None:
    accelerator = Accelerator(BUNDLE, FakeBoard(CORE, ticks, interrupts=interrupts))
    for seed, task in enumerate(["rooms", "depth", "depth", "rooms"]):
        picture = pictures(1, seed)[0]
        result = accelerator.run(task, picture)
        np.testing.assert_array_equal(result, expected(task, picture))
        assert result.any()
        assert accelerator.seconds > 0


def test_a_batch_is_its_pictures_one_by_one() -> None:
    accelerator, batch = Accelerator(BUNDLE, FakeBoard(CORE)), pictures(3)
    results = accelerator.run_batch("depth", batch)
    assert len(results) == 3
    for picture, result in zip(batch, results, strict=True):
        np.testing.assert_array_equal(result, expected("depth", picture))


def test_switching_the_task_writes_one_register_and_starts() -> None:
    board = FakeBoard(CORE)
    accelerator = Accelerator(BUNDLE, board)
    assert board.memory is not None
    assert board.memory.flushed == [(0, BUNDLE.memory_bytes)]
    accelerator.run("rooms", pictures(1)[0])
    board.writes.clear()
    board.memory.flushed.clear()
    accelerator.run("depth", pictures(1)[0])
    program = BUNDLE.tasks["depth"]
    assert board.writes == [
        (fake_board.PROGRAM, program.program),
        (fake_board.CONTROL, 1),
        (fake_board.PENDING, 1),
    ]
    ((start, nbytes),) = board.memory.flushed
    assert start == program.input_place.address
    assert 0 <= nbytes - program.input_place.tensor.nbytes < 64


def test_the_register_map_is_the_one_the_board_was_written_from() -> None:
    offsets = registers.offsets()
    assert tuple(offsets[f"weights_{port}"] for port in range(4)) == fake_board.POINTERS[:4]
    assert offsets["memory"] == fake_board.POINTERS[4]
    assert offsets["memory_bytes"] == fake_board.MEMORY_BYTES
    assert offsets["write_base"] == fake_board.WRITE_BASE
    assert offsets["program"] == fake_board.PROGRAM


def test_constants_stay_what_they_were() -> None:
    board = FakeBoard(CORE)
    accelerator = Accelerator(BUNDLE, board)
    for task in TASKS:
        accelerator.run_batch(task, pictures(2))
    assert board.memory is not None
    np.testing.assert_array_equal(board.memory.real[: BUNDLE.write_base], BUNDLE.constants)


def test_an_interrupt_ends_the_sleep_and_is_acknowledged() -> None:
    board = FakeBoard(CORE, ticks=200)
    accelerator = Accelerator(BUNDLE, board)
    for _ in range(3):
        board.looks = 0
        accelerator.run("depth", pictures(1)[0])
        assert board.looks <= 4, "polled, though there is an interrupt"
        assert not board.line
        assert board.registers[fake_board.PENDING] == 0


def test_an_old_interrupt_and_an_old_end_are_not_taken_for_new_ones() -> None:
    board = FakeBoard(CORE, ticks=200)
    accelerator = Accelerator(BUNDLE, board)
    board.registers[fake_board.PENDING] = 3
    board.done = True
    board.looks = 0
    picture = pictures(1, seed=9)[0]
    np.testing.assert_array_equal(accelerator.run("rooms", picture), expected("rooms", picture))
    assert board.looks <= 4, "woken by the old interrupt again and again"
    assert not board.line


def test_a_program_that_ends_with_an_error_is_named() -> None:
    bundle = break_descriptor("depth", 2, 77)
    accelerator = Accelerator(bundle, FakeBoard(CORE))
    node = bundle.tasks["depth"].names[2]
    message = f"depth ended with BAD_OPCODE at descriptor 2, node {node} "
    with pytest.raises(BackendError, match=message):
        accelerator.run("depth", pictures(1)[0])
    picture = pictures(1)[0]
    np.testing.assert_array_equal(accelerator.run("rooms", picture), expected("rooms", picture))


@pytest.mark.parametrize(("status", "number"), [(0, 0), (Status.BAD_PROGRAM, 999), (200, 1)])
def test_no_end_but_done_gives_a_result(status: int, number: int) -> None:
    ending = golden.Ending(status, number)  # type: ignore[arg-type]
    accelerator = Accelerator(BUNDLE, FakeBoard(lambda *_: ending))
    with pytest.raises(BackendError, match=rf"task rooms ended with .* at descriptor {number}"):
        accelerator.run("rooms", pictures(1)[0])


def test_a_program_that_does_not_end_is_given_up_and_not_started_over() -> None:
    board = FakeBoard(CORE, ticks=10_000)
    accelerator = Accelerator(BUNDLE, board, timeout=0.01)
    with pytest.raises(BackendError, match=r"task rooms has not ended within 0\.01 s"):
        accelerator.run("rooms", pictures(1)[0])
    starts = board.writes.count((fake_board.CONTROL, 1))
    for again in (lambda: accelerator.run("depth", pictures(1)[0]), accelerator.close):
        with pytest.raises(BackendError, match="still runs a program"):
            again()
    with pytest.raises(BackendError, match="still runs a program"):
        Accelerator(BUNDLE, board)
    assert board.writes.count((fake_board.CONTROL, 1)) == starts
    board.tick(10_000)
    board.ticks = 1
    picture = pictures(1, seed=2)[0]
    np.testing.assert_array_equal(accelerator.run("depth", picture), expected("depth", picture))


def test_memory_that_does_not_start_with_a_page_is_given_back() -> None:
    board = FakeBoard(CORE, address=0x1000_0040)
    with pytest.raises(BackendError, match="0x10000040 does not start at a multiple of 4096"):
        Accelerator(BUNDLE, board)
    assert board.memory is not None
    assert board.memory.is_closed
    assert not board.writes


def test_requests_that_cannot_be_run_start_nothing() -> None:
    board = FakeBoard(CORE)
    accelerator = Accelerator(BUNDLE, board)
    board.writes.clear()
    for task, batch, message in (
        ("sound", pictures(1), "'sound' is not in model: it has rooms, depth"),
        ("depth", pictures(1)[:, :, :-1], r"was compiled for one or more of \(3, 6, 8\)"),
        ("depth", pictures(0), "one or more"),
    ):
        with pytest.raises(InputError, match=message):
            accelerator.run_batch(task, batch)
    assert not board.writes


def test_memory_is_given_back_for_another_bundle() -> None:
    board = FakeBoard(CORE)
    Accelerator(BUNDLE, board).close()
    wide = ModelMaker(seed=6, columns=5).make()
    other = compile_bundle("other", SMALL_BOARD, wide)
    picture = np.random.default_rng(1).uniform(-1, 1, (3, 6, 10)).astype(np.float32)
    result = Accelerator(other, board).run("depth", picture)
    program = other.tasks["depth"]
    data, _ = run_alone(wide[1], SMALL_BUILD, pack_picture(picture, program))
    np.testing.assert_array_equal(result, unpack_result(data, program))


def test_activations_can_be_read_after_a_run() -> None:
    devices: list[Device] = [FakeBoard(CORE), SimulatedDevice("simulation", CORE)]
    program = BUNDLE.tasks["depth"]
    place, nbytes = program.output_place.address, program.output_place.tensor.nbytes
    for device in devices:
        accelerator = Accelerator(BUNDLE, device)
        result = accelerator.run("depth", pictures(1)[0])
        left = accelerator.read(place, nbytes)
        np.testing.assert_array_equal(unpack_result(left, program), result)
        left[:] = 0
        assert accelerator.read(place, nbytes).any()


def test_the_simulated_device_is_a_board_to_the_driver() -> None:
    device = SimulatedDevice("simulation", CORE)
    accelerator = Accelerator(BUNDLE, device)
    assert accelerator._memory.address % 4096 == 0
    for task in ("rooms", "depth", "rooms"):
        batch = pictures(2, seed=len(task))
        for picture, result in zip(batch, accelerator.run_batch(task, batch), strict=True):
            np.testing.assert_array_equal(result, expected(task, picture))
        assert device.read(registers.INTERRUPT_STATUS) == 0
    broken = Accelerator(break_descriptor("rooms", 1, 99), device)
    with pytest.raises(BackendError, match="simulation: task rooms ended with BAD_OPCODE"):
        broken.run("rooms", pictures(1)[0])
