"""The written file in a stock onnxruntime: right answers, and no work that nobody asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from gearshift.graph import Graph, write_artifact

Write = Callable[[Graph], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_model(graph: Graph) -> Path:
        write_artifact(graph, tmp_path / "model.gs")
        return tmp_path / "model.gs" / "model.onnx"

    return write_model


def open_session(model: Path, profile: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_ahead_gates(graph: Graph) -> Graph:
    """The same graph with routers that read their block's input (`gate_input_ahead`)."""
    inputs = {node.name: node.inputs[0] for node in graph.trunk}
    trunk = tuple(
        replace(node, inputs=(inputs[node.name.replace("router", "norm1")], *node.inputs[1:]))
        if node.operator == "Router"
        else node
        for node in graph.trunk
    )
    return replace(graph, trunk=trunk)


def with_windows(graph: Graph) -> Graph:
    """The same graph with two experts allowed a task, every other bias being -inf."""
    for name, weight in graph.weights.items():
        if name.endswith("router.bias"):
            for task in range(len(weight)):
                outside = np.ones(weight.shape[1], bool)
                outside[task : task + 2] = False
                weight[task, outside] = -np.inf
    return graph


def unchanged(graph: Graph) -> Graph:
    return graph


VARIANTS: dict[str, tuple[dict[str, Any], Callable[[Graph], Graph]]] = {
    "multi-gate": ({}, unchanged),
    "single router, biased": ({"routers": 1, "biased": True}, unchanged),
    "scores pruned": ({"prune_scores": 0.3, "top_k": 3}, unchanged),
    "all experts chosen": ({"top_k": 5}, unchanged),
    "gates ahead": ({}, with_ahead_gates),
    "windows of experts": ({}, with_windows),
    "resized to the image": ({"stages": 1}, unchanged),
    "encoder alone": ({"decoders": False}, unchanged),
    "one expert": ({"experts": 1, "top_k": 1}, unchanged),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_are_the_oracles(
    variant: str,
    make_graph: Callable[..., Graph],
    make_image: Callable[..., Any],
    expected: Callable[..., Any],
    write: Write,
) -> None:
    sizes, change = VARIANTS[variant]
    graph = change(make_graph(depth=2, **sizes))
    model = write(graph)
    onnx.checker.check_model(model, full_check=True)
    session = open_session(model)
    (result,) = (output.name for output in session.get_outputs())
    assert result == ("output" if graph.decoders else "tokens")
    for batch, height, width in ((1, 24, 40), (3, 16, 40), (2, 40, 8)):
        image = make_image(batch, height, width)
        for task in range(len(graph.card.tasks)):
            (found,) = session.run(None, {"image": image, "task": np.array(task)})
            right = expected(graph, task, image)[result]
            assert found.shape == right.shape
            assert np.abs(found - right).max() <= 1e-4 * np.abs(right).max()


def profiled(session: onnxruntime.InferenceSession, feed: dict[str, Any]) -> list[dict[str, Any]]:
    """What ran: operator, input and output shapes of each node."""
    session.run(None, feed)
    events = json.loads(Path(session.end_profiling()).read_text())
    return [
        {
            "operator": event["args"]["op_name"],
            "inputs": [next(iter(s.values())) for s in event["args"]["input_type_shape"]],
            "outputs": [next(iter(s.values())) for s in event["args"]["output_type_shape"]],
        }
        for event in events
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time")
    ]


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("crowded", [False, True])
def test_only_chosen_experts_and_the_asked_decoder_run(
    top_k: int,
    crowded: bool,
    make_graph: Callable[..., Graph],
    make_image: Callable[..., Any],
    expected: Callable[..., Any],
    write: Write,
    tmp_path: Path,
) -> None:
    graph = make_graph(depth=4, experts=6, top_k=top_k, hidden=17, stages=3)
    if crowded:  # every token goes to the same experts; the others' queues are empty
        for name, weight in graph.weights.items():
            if name.endswith("router.bias"):
                weight[:] = -1000.0 * np.arange(6)
    image = make_image(2)
    rows = 2 * (3 * 5 + 1)
    session = open_session(write(graph), tmp_path / "profile")
    ran = profiled(session, {"image": image, "task": np.array(2)})
    products = [node for node in ran if node["operator"] == "Gemm"]
    into_hidden = [node["outputs"][0][0] for node in products if node["outputs"][0][1] == 17]
    out_of_hidden = [node["outputs"][0][0] for node in products if node["inputs"][0][1] == 17]
    # Two dense layers, then two mixtures, each of six queues.
    assert len(into_hidden) == len(out_of_hidden) == 2 + 2 * 6
    assert sum(into_hidden) == sum(out_of_hidden) == rows * (2 + 2 * top_k)
    if crowded:
        assert into_hidden.count(0) == 2 * (6 - top_k)
        assert into_hidden.count(rows) == 2 + 2 * top_k
    convolutions = [node for node in ran if node["operator"].endswith("Conv")]  # or FusedConv
    assert len(convolutions) == 1 + 3 + 1  # patches, stages, head
    assert convolutions[-1]["inputs"][1][0] == graph.card.tasks[2].channels
    (found,) = session.run(None, {"image": image, "task": np.array(2)})
    right = expected(graph, 2, image)["output"]
    assert np.abs(found - right).max() <= 1e-4 * np.abs(right).max()


def test_ties_go_to_the_lower_expert(make_graph: Callable[..., Graph], write: Write) -> None:
    graph = make_graph(depth=2, experts=7, top_k=3, decoders=False)
    for name, weight in graph.weights.items():
        if ".router." in name:
            weight[:] = 0.0
    path = write(graph)
    model = onnx.load(path, load_external_data=False)
    model.graph.output.add(name="blocks.1.router.expert_index").type.tensor_type.elem_type = 7
    path.write_bytes(model.SerializeToString())
    feed = {"image": np.ones((1, 3, 24, 40), np.float32), "task": np.array(1)}
    (index,) = open_session(path).run(["blocks.1.router.expert_index"], feed)
    assert (index == [0, 1, 2]).all()


def test_a_viewer_sees_a_node_a_block_part(make_graph: Callable[..., Graph], write: Write) -> None:
    graph = make_graph(depth=2)
    model = onnx.load(write(graph), load_external_data=False)
    top = [(node.name, node.op_type) for node in model.graph.node]
    trunk = [(node.name, node.operator) for node in graph.trunk]
    assert top[: len(trunk)] == trunk
    assert [kind for _, kind in top[len(trunk) :]] == ["Constant", "Equal", "If"]
    documented = {function.name: function.doc_string for function in model.functions}
    ours = {node.op_type for node in model.graph.node if node.domain == "gearshift"}
    assert ours <= documented.keys()
    assert all(documented.values())


RUN_ALONE = """
import sys
import numpy, onnxruntime
model, image, output = sys.argv[1:]
assert not any("gearshift" in name for name in sys.modules)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
feed = {"image": numpy.load(image), "task": numpy.array(1)}
numpy.save(output, session.run(None, feed)[0])
"""


def test_runs_where_gearshift_is_not(
    make_graph: Callable[..., Graph],
    make_image: Callable[..., Any],
    expected: Callable[..., Any],
    write: Write,
    tmp_path: Path,
) -> None:
    graph, image = make_graph(depth=2), make_image()
    model, picture, output = write(graph), tmp_path / "image.npy", tmp_path / "output.npy"
    np.save(picture, image)
    command = [sys.executable, "-I", "-c", RUN_ALONE, str(model), str(picture), str(output)]
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path, env={})
    right = expected(graph, 1, image)["output"]
    assert np.abs(np.load(output) - right).max() <= 1e-4 * np.abs(right).max()
