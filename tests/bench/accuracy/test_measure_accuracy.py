"""Records of whole models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gearshift import Session
from gearshift.graph import Graph, read_artifact
from gearshift_bench.accuracy import measure_accuracy
from gearshift_bench.accuracy.rooms import held_out_rooms
from gearshift_bench.accuracy.trade import energy_words, measure_trade
from gearshift_bench.latency.configuration import Configuration
from gearshift_export.demo.metrics import mean_iou, root_mean_square_error
from gearshift_export.demo.scenes import Scene

TORCH = Configuration("torch", "float32", 1, 1)
ONNX = Configuration("onnxruntime", "float32", 1, 1)


def test_figures_of_the_demo_are_those_of_its_results(demo: Path) -> None:
    """Worked out once more from what a session returns: labels and metres of two rooms."""
    rooms = held_out_rooms(read_artifact(demo).card, 2)
    records = measure_accuracy(demo, [ONNX], rooms, emulate=[("gelu",)], seconds=0)
    assert [(one["task"], one["backend"]) for one in records] == [
        (task, backend)
        for task in ("semseg", "normals", "edge", "depth")
        for backend in ("onnxruntime", "torch, emulated")
    ]
    found = {one["task"]: one for one in records if one["backend"] == "onnxruntime"}
    session = Session(demo, backend="onnxruntime")
    images = np.stack([room.image for room in rooms])
    labels = np.stack([room.labels for room in rooms])
    predicted = session.run(images, "semseg").labels
    assert found["semseg"]["value"] == pytest.approx(mean_iou(predicted, labels, 10))
    depth = np.stack([room.depth for room in rooms]).astype(np.float16)
    metres = session.run(images, "depth").metres
    assert found["depth"]["value"] == pytest.approx(root_mean_square_error(metres, depth))
    for record in records:
        assert abs(record["change_percent"]) < 1
        assert record["value"] == pytest.approx(
            record["value_float32"] * (1 + record["change_percent"] / 100)
        )
        assert record["latency_ms"] is None
        assert record["energy"].startswith("not measured")
        assert record["rooms"] == 2
        routed = record["routed_alike"]
        if record["backend"] == "onnxruntime":
            assert routed is None
        else:
            assert routed.keys() == {f"blocks.{block}.router" for block in (1, 3, 5, 7)}
            assert all(0.99 < share <= 1 for share in routed.values())


def test_a_model_of_other_tasks_has_routing_and_outputs_only(
    artifact: Path, graph: Graph, rooms: Sequence[Scene]
) -> None:
    records = measure_accuracy(artifact, [TORCH, ONNX], rooms, fixed_point=True, seconds=0)
    assert [one["task"] for one in records[::3]] == [task.name for task in graph.card.tasks]
    for own, other, integers in zip(records[::3], records[1::3], records[2::3], strict=True):
        assert own["output_change_percent"] == 0.0
        assert own["routed_alike"] == {"blocks.1.router": 1.0, "blocks.3.router": 1.0}
        assert 0 < other["output_change_percent"] < 0.01
        assert other["routed_alike"] is None
        assert integers["backend"] == "accelerator, emulated"
        assert all(0.5 < share <= 1 for share in integers["routed_alike"].values())
        for record in (own, other, integers):
            assert (record["metric"], record["value"], record["change_percent"]) == (
                None,
                None,
                None,
            )


def test_latency_and_energy_stand_in_the_same_record(
    artifact: Path, graph: Graph, rooms: Sequence[Scene]
) -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, 24, 40)).astype(np.float32)
    found = measure_trade(artifact, TORCH, graph.card.tasks[0].name, image, 0.01)
    assert found["latency_ms"] > 0
    assert found["latency_of"].startswith("median of ")
    assert found["latency_of"].endswith(", batch 2")
    assert "J" in found["energy"] or found["energy"].startswith("not measured: ")


def test_energy_in_words() -> None:
    reasons = "no RAPL on this machine: /sys has none; no NVIDIA driver (NVML: not found)"
    words = "not measured: no RAPL on this machine, no NVIDIA driver"
    assert energy_words({"not_measured": reasons}) == words
    meter = {
        "name": "package-0",
        "joules_per_request": 0.1234,
        "joules_idle_subtracted": 0.05,
        "error": 0.031,
    }
    text = energy_words({"meters": [meter, meter | {"name": "dram"}]})
    assert text.startswith("package-0 0.123 J (0.05 J above idle), error 3%; dram 0.123 J")
