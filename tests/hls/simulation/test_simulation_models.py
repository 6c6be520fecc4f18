"""Whole models in C simulation: every task's program bit-equal to the golden model."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from gearshift.graph.read import read_artifact
from gearshift.pictures import load_pictures
from gearshift_export import builtin
from gearshift_export.demo.calibration import pictures
from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.bundle import Bundle, TaskProgram
from gearshift_hls.compile.compiler import compile_bundle
from gearshift_hls.descriptor import Status
from gearshift_hls.golden import Ending
from gearshift_hls.host import pack_picture
from gearshift_hls.quantise import quantise_model
from gearshift_hls.simulation import Simulation

pytestmark = pytest.mark.skipif(which("g++") is None, reason="no C++ compiler here")


def bundle_of(artifact: Path) -> tuple[Bundle, np.ndarray]:
    """The model at its own size, calibrated on a few rooms; and the rooms, normalised."""
    graph = read_artifact(artifact)
    card = graph.card
    rooms = load_pictures(pictures(card.image_height, card.image_width, 4), card)
    return compile_bundle(card.name, ZCU104, quantise_model(graph, ZCU104.build, rooms)), rooms


def image_with(bundle: Bundle, task: TaskProgram, picture: np.ndarray) -> np.ndarray:
    """Memory as a run finds it: the constants, one picture, and behind them anything."""
    memory = np.random.default_rng(0).integers(0, 256, bundle.memory_bytes, np.uint8)
    memory[: bundle.write_base] = bundle.constants
    packed = pack_picture(picture, task).reshape(-1)
    memory[task.input_place.address :][: packed.size] = packed
    return memory


def check_every_task(artifact: Path) -> None:
    bundle, rooms = bundle_of(artifact)
    simulation = Simulation(ZCU104.build)
    for task, picture in zip(bundle.tasks.values(), cycle(rooms), strict=False):
        memory, wanted = (image_with(bundle, task, picture) for _ in range(2))
        scratch, wanted_scratch = (np.zeros(ZCU104.build.scratch_bytes, np.uint8) for _ in range(2))
        ending = simulation.run(memory, bundle.write_base, task.program, scratch)
        assert ending == Ending(Status.DONE, task.descriptors - 1)
        assert ending == golden.run(
            ZCU104.build, wanted, bundle.write_base, task.program, wanted_scratch
        )
        np.testing.assert_array_equal(memory, wanted)
        np.testing.assert_array_equal(scratch, wanted_scratch)


def test_the_demo_model() -> None:
    check_every_task(builtin.demo())


@pytest.mark.slow
def test_the_tiny_model() -> None:
    check_every_task(builtin.tiny())
