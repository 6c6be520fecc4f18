"""What the accelerator's backends share, over a small build whose core is the golden model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift.backends import Options
from gearshift_hls import golden
from gearshift_hls.backends import accelerated
from gearshift_hls.backends.accelerated import AcceleratedBackend
from gearshift_hls.backends.usage import queues_are_left
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    Experts,
    Resize,
    Route,
    align,
    encode,
    queue_bytes,
)
from gearshift_hls.driver.simulated_device import SimulatedDevice
from gearshift_hls.host import pack_picture, unpack_result
from gearshift_hls.program import commands

from ..quantise.quantised_models import SMALL_BOARD, ModelMaker, run_alone
from .fake_program import MIXTURES, program


class Maker:
    """Bundles by size, as `open_bundle` would find them, and what was asked for."""

    def __init__(self, change: Callable[[Bundle], Bundle]) -> None:
        self.change = change
        self.asked: list[tuple[Any, ...]] = []
        self.models: dict[tuple[int, int], Bundle] = {}
        self.tasks: dict[tuple[int, int], dict[str, Any]] = {}

    def open(self, *key: Any) -> Bundle:
        self.asked.append(key)
        _, board, height, width = key
        assert board is SMALL_BOARD
        maker = ModelMaker(
            seed=4, rows=height // 2, columns=width // 2, blocks=4, experts=8, top_k=1
        )
        tasks = maker.make()
        self.tasks[height, width] = {task.task_card.name: task for task in tasks}
        bundle = self.change(compile_bundle("model", board, tasks))
        self.models[height, width] = bundle
        return bundle

    def expected(self, task: str, picture: np.ndarray) -> np.ndarray:
        size = picture.shape[1:]
        program = self.models[size].tasks[task]
        packed = pack_picture(picture, program)
        data, _ = run_alone(self.tasks[size][task], SMALL_BUILD, packed)
        return unpack_result(data, program)


def place_queues(bundle: Bundle, keep: bool) -> Bundle:
    """The queues behind all other memory: each mixture's own, or all in one place."""
    constants, end = bundle.constants.copy(), bundle.memory_bytes
    for task in bundle.tasks.values():
        place = bundle.memory_bytes
        for number, command in enumerate(commands(bundle, task)):
            if isinstance(command, Route | Experts):
                start = task.program + number * DESCRIPTOR_BYTES
                moved = np.frombuffer(encode(replace(command, queues=place)), np.uint8)
                constants[start : start + DESCRIPTOR_BYTES] = moved
                end = max(end, place + queue_bytes(command.experts, command.tokens))
                if isinstance(command, Experts) and keep:
                    place = end
    return replace(bundle, constants=constants, memory_bytes=align(end))


def open_backend(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Bundle], Bundle] = lambda bundle: bundle
) -> tuple[AcceleratedBackend, Maker]:
    maker = Maker(change)
    monkeypatch.setattr(accelerated, "open_bundle", maker.open)
    device = SimulatedDevice("test 1.0", partial(golden.run, SMALL_BUILD))
    return AcceleratedBackend(Options(Path("model.gs"), "int8"), device, SMALL_BOARD), maker


def batch(number: int, height: int = 6, width: int = 8, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, (number, 3, height, width)).astype(np.float32)


def traced_counts(bundle: Bundle, task: str, picture: np.ndarray) -> list[list[int]]:
    """Tokens of each expert, from the router's choice inside the golden model."""
    found: list[list[int]] = []

    def trace(_: int, name: str, values: np.ndarray) -> None:
        if name == "chosen":
            found.append(np.bincount(values.ravel(), minlength=8).tolist())

    memory = np.zeros(bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    entry = bundle.tasks[task]
    packed = pack_picture(picture, entry).reshape(-1)
    start = entry.input_place.address
    memory[start : start + packed.size] = packed
    golden.run(SMALL_BUILD, memory, bundle.write_base, entry.program, trace=trace)
    return found


def test_tasks_of_a_size_share_one_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, maker = open_backend(monkeypatch)
    rooms, depth = (backend.compile(program(task)) for task in ("rooms", "depth"))
    assert maker.asked == [(Path("model.gs"), SMALL_BOARD, 6, 8)]
    for task, compiled in (("rooms", rooms), ("depth", depth), ("rooms", rooms)):
        pictures = batch(2, seed=len(task))
        output = compiled.run(pictures)
        for picture, result in zip(pictures, output, strict=True):
            np.testing.assert_array_equal(result, maker.expected(task, picture))
        assert compiled.stats.task == task


def test_another_size_loads_another_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, maker = open_backend(monkeypatch)
    sizes = ((6, 8), (4, 10), (6, 8))
    compiled = {size: backend.compile(program("depth", *size)) for size in sizes}
    for size in sizes:
        pictures = batch(1, *size)
        result = compiled[size].run(pictures)[0]
        np.testing.assert_array_equal(result, maker.expected("depth", pictures[0]))
    assert len(maker.asked) == 2


def test_results_are_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, _ = open_backend(monkeypatch)
    compiled = backend.compile(program("depth"))
    first = compiled.run(batch(1))
    kept = first.copy()
    other = compiled.run(batch(1, seed=8))
    np.testing.assert_array_equal(first, kept)
    assert (first != other).any()


def test_tokens_and_weights_are_told_from_the_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, maker = open_backend(monkeypatch, partial(place_queues, keep=True))
    compiled = backend.compile(program("depth"))
    pictures = batch(3)
    output = compiled.run(pictures)
    np.testing.assert_array_equal(output[2], maker.expected("depth", pictures[2]))
    bundle, stats = maker.models[6, 8], compiled.stats
    counts = np.array([traced_counts(bundle, "depth", picture) for picture in pictures])
    assert counts.sum() == 3 * len(MIXTURES) * 13
    assert (counts == 0).any(), "every expert was used: the test shows less than it could"
    assert stats.tokens_per_expert == {
        name: tuple(row) for name, row in zip(MIXTURES, counts.sum(axis=0).tolist(), strict=True)
    }
    # An expert: 32 -> 48 -> 32 channels, a byte a weight and 8 bytes a channel.
    expert_bytes = 2 * 32 * 48 + 8 * (48 + 32)
    dense = sum(
        region.nbytes
        for command in commands(bundle, bundle.tasks["depth"])
        if command is not None
        for region in command.regions(SMALL_BUILD)
        if region.address < bundle.write_base
        and not (isinstance(command, Experts) and region.field == "weights")
    )
    assert dense > 10_000
    assert stats.weight_bytes == 3 * dense + (counts > 0).sum() * expert_bytes
    assert stats.backend == "test 1.0"
    assert stats.seconds > 0
    assert stats.activation_bytes is not None
    assert stats.activation_bytes > bundle.build.scratch_bytes


def test_queues_that_are_gone_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queues of one mixture over those of another."""
    backend, maker = open_backend(monkeypatch, partial(place_queues, keep=False))
    compiled = backend.compile(program("depth"))
    pictures = batch(1)
    result = compiled.run(pictures)[0]
    np.testing.assert_array_equal(result, maker.expected("depth", pictures[0]))
    assert compiled.stats.tokens_per_expert is None
    assert compiled.stats.weight_bytes is None


def test_when_queues_are_left() -> None:
    route = Route(13, 32, 8, 1, 1, 1, 0, normalised=0, weights=0, biases=0, queues=4096)
    # 8 counts fill one line of 64 bytes, 13 entries of 4 bytes one an expert.
    end = 4096 + 64 + 8 * 64
    resize = Resize(2, 2, 16, x=4096, y=end)
    assert queues_are_left([resize, route, resize], SMALL_BUILD)
    assert queues_are_left([replace(resize, y=4096), route], SMALL_BUILD)
    assert not queues_are_left([route, replace(resize, y=end - 64)], SMALL_BUILD)
    # 4 x 4 x 16 values of int16 are 512 bytes.
    assert queues_are_left([route, replace(resize, y=4096 - 512)], SMALL_BUILD)
    assert not queues_are_left([route, replace(resize, y=4096 - 448)], SMALL_BUILD)
    assert not queues_are_left([replace(route, queues=SCRATCH)], SMALL_BUILD)
    assert queues_are_left([], SMALL_BUILD)
