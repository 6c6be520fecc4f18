"""Writing and reading an artifact back: equality, layout, determinism, laziness, replacement."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import gearshift.graph.write as write_module
from gearshift.errors import ArtifactError
from gearshift.graph import Card, Graph, TaskCard, TaskKind, read_artifact, write_artifact
from gearshift.graph.card import Preprocessing

MakeGraph = Callable[..., Graph]

FULL_CARD = Card(
    "a full card",
    24,
    40,
    (
        TaskCard(
            "rooms",
            TaskKind.SEGMENTATION,
            4,
            labels=("wall", "Fußboden", 'a "quote"', ""),
            colours=((0, 0, 0), (255, 0, 3), (1, 2, 3), (4, 5, 6)),
        ),
        TaskCard("depth", TaskKind.DEPTH, 1, unit="metre"),
        TaskCard("normals", TaskKind.NORMALS, 3),
        TaskCard("edges", TaskKind.PROBABILITY, 1, threshold=0.25),
    ),
    Preprocessing(1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    {"checkpoint": "a.pth", "sha256": "00ff"},
    {"rooms": {"mIoU": 0.5, "classes": [0.25, 0.75]}, "images": 100},
)


def assert_equal(found: Graph, wanted: Graph) -> None:
    assert found.card == wanted.card
    assert found.trunk == wanted.trunk
    assert found.decoders == wanted.decoders
    assert found.weights.keys() == wanted.weights.keys()
    for name, weight in wanted.weights.items():
        assert found.weights[name].dtype == np.float32
        np.testing.assert_array_equal(found.weights[name], weight)


@pytest.mark.parametrize(
    "sizes",
    [{}, {"decoders": False}, {"routers": 1, "biased": True}, {"prune_scores": 0.1}, {"stages": 1}],
)
def test_reads_back_equal(sizes: dict[str, Any], make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(depth=2, **sizes)
    write_artifact(graph, tmp_path / "m.gs")
    assert_equal(read_artifact(tmp_path / "m.gs"), graph)


def test_one_task_has_no_choice(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(depth=1)
    card = replace(graph.card, tasks=graph.card.tasks[:1])
    used = {name for node in graph.nodes(0) for name in node.inputs}
    weights = {name: weight for name, weight in graph.weights.items() if name in used}
    graph = Graph(card, graph.trunk, graph.decoders[:1], weights)
    write_artifact(graph, tmp_path / "m.gs")
    model = onnx.load(tmp_path / "m.gs/model.onnx", load_external_data=False)
    assert "If" not in {node.op_type for node in model.graph.node}
    assert_equal(read_artifact(tmp_path / "m.gs"), graph)


def test_thirty_tasks_are_the_most(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph(depth=1, stages=1)
    decoder, task = graph.decoders[1], graph.card.tasks[1]

    def with_tasks(count: int) -> Graph:
        tasks = tuple(replace(task, name=f"depth{t}") for t in range(count))
        decoders = tuple(
            tuple(
                replace(
                    node,
                    name=f"{node.name}.{t}",
                    inputs=tuple(f"{i}.{t}" if i in values else i for i in node.inputs),
                    outputs=tuple(f"{o}.{t}" if o in values else o for o in node.outputs),
                )
                for node in decoder
            )
            for t in range(count)
        )
        used = {n for nodes in (graph.trunk, *decoders) for node in nodes for n in node.inputs}
        weights = {name: w for name, w in graph.weights.items() if name in used}
        return Graph(replace(graph.card, tasks=tasks), graph.trunk, decoders, weights)

    values = {node.outputs[0] for node in decoder[:-1]}
    write_artifact(with_tasks(30), tmp_path / "m.gs")
    onnx.checker.check_model(tmp_path / "m.gs/model.onnx", full_check=True)
    assert_equal(read_artifact(tmp_path / "m.gs"), with_tasks(30))
    with pytest.raises(ArtifactError, match="31 decoders; one file holds at most 30"):
        write_artifact(with_tasks(31), tmp_path / "n.gs")


def test_every_field_of_the_card_comes_back(make_graph: MakeGraph, tmp_path: Path) -> None:
    write_artifact(replace(make_graph(depth=1), card=FULL_CARD), tmp_path / "m.gs")
    assert read_artifact(tmp_path / "m.gs").card == FULL_CARD


def test_same_graph_same_bytes(make_graph: MakeGraph, tmp_path: Path) -> None:
    for name in ("one.gs", "two.gs"):
        write_artifact(make_graph(depth=2), tmp_path / name)
    for file in ("model.onnx", "weights.bin", "card.toml"):
        assert (tmp_path / "one.gs" / file).read_bytes() == (
            tmp_path / "two.gs" / file
        ).read_bytes()


def test_weights_lie_on_pages_in_order_of_use(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    content = (folder / "weights.bin").read_bytes()
    graph = read_artifact(folder)
    names = [tensor.name for tensor in model.graph.initializer]
    nodes = [*graph.trunk, *(node for decoder in graph.decoders for node in decoder)]
    assert names == [n for node in nodes for n in node.inputs if n in graph.weights]
    end = 0
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        offset, length = int(place["offset"]), int(place["length"])
        assert place["location"] == "weights.bin"
        assert offset % 4096 == 0
        assert end <= offset < end + 4096
        assert content[offset : offset + length] == graph.weights[tensor.name].tobytes()
        assert not any(content[end:offset])
        end = offset + length
    assert end == len(content)


def test_opening_reads_no_weights(folder: Path) -> None:
    """Each weight is a view of one map of the file at the weight's own offset."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    weights = read_artifact(folder).weights
    (pages,) = {id(w.base): w.base for w in weights.values()}.values()
    assert isinstance(pages, np.memmap)
    assert pages.mode == "c"
    start = pages.ctypes.data
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert weights[tensor.name].ctypes.data - start == int(place["offset"])


READ_BYTES = """
import sys
from pathlib import Path
from gearshift.graph import read_artifact
import gearshift.graph.read
def resident():
    # Private pages of the weights' map that this process has touched.
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and ":" not in line.split()[0]:
            inside = line.endswith("weights.bin")
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total
graph = read_artifact(Path(sys.argv[1]))
before = resident()
for weight in graph.weights.values():
    weight.sum()
print(before, resident())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's smaps")
def test_no_page_is_touched_before_its_weight_is(folder: Path) -> None:
    command = [sys.executable, "-c", READ_BYTES, str(folder)]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    before, after = map(int, result.stdout.split())
    assert before == 0
    assert after >= (folder / "weights.bin").stat().st_size // 1024


def test_writing_into_a_weight_does_not_change_the_file(folder: Path) -> None:
    content = (folder / "weights.bin").read_bytes()
    graph = read_artifact(folder)
    for weight in graph.weights.values():
        weight.fill(7.0)
    assert (folder / "weights.bin").read_bytes() == content


def test_an_artifact_can_replace_itself(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_artifact(read_artifact(folder), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("step", ["to_proto", "_write_weights", "Path.rename"])
def test_a_failure_leaves_the_old_artifact(
    step: str, folder: Path, monkeypatch: pytest.MonkeyPatch, make_graph: MakeGraph
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def fail_to_place(source: Path, target: Path) -> None:
        # Only the last rename fails, when the old artifact has been moved away.
        if source.parent != target.parent:
            fail()
        rename(source, target)

    if step == "Path.rename":
        monkeypatch.setattr(Path, "rename", fail_to_place)
    else:
        monkeypatch.setattr(write_module, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_artifact(make_graph(depth=1), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_nothing_but_an_artifact_is_replaced(make_graph: MakeGraph, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"holds 'thesis.tex', which is no part"):
        write_artifact(make_graph(depth=1), tmp_path)
    with pytest.raises(ArtifactError, match="is not a folder"):
        write_artifact(make_graph(depth=1), tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_others_may_enter_the_folder(folder: Path) -> None:
    (folder.parent / "usual").mkdir()
    assert folder.stat().st_mode == (folder.parent / "usual").stat().st_mode
