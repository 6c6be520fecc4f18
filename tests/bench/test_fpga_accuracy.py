"""`gearshift bench fpga-accuracy`: what it compares and what it prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gearshift.cli import main
from gearshift.graph import Graph, read_artifact
from gearshift.models import find_model
from gearshift_bench.accuracy.rooms import does_rooms, held_out_rooms
from gearshift_bench.commands.fpga_accuracy import report
from gearshift_bench.fpga_accuracy import TaskAccuracy, measure
from gearshift_export.demo.dataset import SPLIT_FIRST_SEED
from gearshift_export.demo.scenes import render_scene
from gearshift_hls import operations as ops
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.quantise import quantise_model

from ..engine.conftest import GraphMaker


@pytest.fixture(scope="module")
def quantised() -> tuple[Graph, list[ops.Quantised]]:
    graph = GraphMaker().make()
    pictures = np.random.default_rng(0).normal(size=(8, 3, 24, 40)).astype(np.float32)
    return graph, quantise_model(graph, SMALL_BUILD, pictures)


def test_rooms_are_test_rooms() -> None:
    card = read_artifact(find_model("demo")).card
    rooms = held_out_rooms(card, 2)
    wanted = render_scene(SPLIT_FIRST_SEED["test"] + 1, 128, 128)
    np.testing.assert_array_equal(rooms[1].image, wanted.image)
    assert does_rooms(card)


def test_a_model_of_other_tasks_has_no_figures(
    quantised: tuple[Graph, list[ops.Quantised]],
) -> None:
    graph, tasks = quantised
    found = measure(graph, tasks, SMALL_BUILD, held_out_rooms(graph.card, 2))
    assert [task.task for task in found] == [task.name for task in graph.card.tasks]
    for task in found:
        assert task.tokens_db > 15
        assert task.metric == ""
        assert task.alike.keys() == {"blocks.1.router", "blocks.3.router"}
        assert all(0.5 < share <= 1 for share in task.alike.values())
    assert "change" not in "\n".join(report(found))


def test_a_damaged_quantisation_shows(quantised: tuple[Graph, list[ops.Quantised]]) -> None:
    """Weights of one layer set to zero: the tokens are noise, and fewer go to the same experts."""
    graph, tasks = quantised

    def damage(operation: ops.Operation) -> ops.Operation:
        if isinstance(operation, ops.Linear) and operation.constants == "blocks.0.mlp.fc2":
            weights = replace(operation.weights, weights=np.zeros_like(operation.weights.weights))
            return replace(operation, weights=weights)
        return operation

    damaged = [
        replace(task, operations=tuple(damage(op) for op in task.operations)) for task in tasks
    ]
    rooms = held_out_rooms(graph.card, 1)
    whole, broken = (measure(graph, each, SMALL_BUILD, rooms)[0] for each in (tasks, damaged))
    assert broken.tokens_db < 10 < whole.tokens_db
    assert broken.alike["blocks.1.router"] < whole.alike["blocks.1.router"]


def test_the_report_states_the_change() -> None:
    task = TaskAccuracy("depth", 41.26, {"blocks.1.router": 0.995}, "RMSE, metres", 0.5, 0.505)
    text = "\n".join(report([task]))
    assert "RMSE, metres   0.5000  0.5050  +1.00 %" in text
    assert "41.3 dB" in text
    assert "99.50%" in text


def test_the_command(
    make_artifact: Callable[[Graph], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    artifact = str(make_artifact(GraphMaker(depth=2).make()))
    arguments = ["bench", "fpga-accuracy", artifact, "--rooms", "1", "--pictures", str(folder)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "random, 24x40, 1 test rooms, calibrated on 2 pictures" in printed
    assert "blocks.1.router" in printed


def test_no_rooms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "fpga-accuracy", "--rooms", "0"]) != 0
    assert "--rooms 0: give 1 to" in capsys.readouterr().err
