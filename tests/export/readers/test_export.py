"""`gearshift export` from a checkpoint to an artifact."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from gearshift.errors import ArtifactError, CheckpointError
from gearshift.graph import TaskKind, read_artifact
from gearshift_export.commands import export as command
from gearshift_export.config import ModelConfig
from gearshift_export.export import export_checkpoint
from gearshift_export.recipe import CheckpointFormat, Recipe

RECIPE = """
format = "m3vit"
top_k = 2
heads = 3
image_height = 32
image_width = 48

[[tasks]]
name = "semseg"
kind = "segmentation"
labels = ["a", "b", "c", "d", "e"]

[[tasks]]
name = "depth"
kind = "depth"
unit = "metre"
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def run(folder: Path, image: Any, task: int) -> Any:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(None, {"image": image, "task": np.array(task, dtype=np.int64)})[0]


def test_command_from_checkpoint_to_answers(
    config: ModelConfig, upstream: Any, tensors: Any, tmp_path: Path, capsys: Any
) -> None:
    image = np.random.default_rng(3).normal(size=(1, 3, 32, 48)).astype(np.float32)
    arrays = upstream.clear_state_dict(config, image, seed=13)
    state = tensors(arrays, "module.") | {"module.tam_model0.x": torch.ones(1)}
    torch.save({"state_dict": state}, tmp_path / "best.pth.tar")
    (tmp_path / "rooms.toml").write_text(RECIPE)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    recipe, output = str(tmp_path / "rooms.toml"), tmp_path / "rooms.gs"
    said = parser.parse_args(
        [str(tmp_path / "best.pth.tar"), "--recipe", recipe, "-o", str(output)]
    )
    assert command.run(said) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ignored 1 keys that only training uses: tam_model0.*"
    assert lines[1].startswith(f"{output}: ")
    assert "6 experts of 20, top_k 2, routing multi_gate" in lines[1]
    assert lines[2:] == [
        "task 0 semseg: segmentation, 5 channels",
        "task 1 depth: depth, 1 channels",
    ]
    for task in range(2):
        expected = upstream.forward(arrays, config, image, task)
        actual = run(output, image, task)
        assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_card_says_where_the_weights_come_from(state: Any, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "best.pth.tar"
    torch.save(state, path)
    recipe = replace(recipe, provenance="a test", name="mine")
    export_checkpoint(path, recipe, tmp_path / "a.gs", lambda line: None)
    card = read_artifact(tmp_path / "a.gs").card
    assert card.name == "mine"
    assert card.provenance["checkpoint"] == "best.pth.tar"
    assert card.provenance["checkpoint_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.provenance["recipe"] == "mine"
    assert card.provenance["model"] == "a test"
    assert str(tmp_path) not in (tmp_path / "a.gs" / "card.toml").read_text()
    assert [(t.name, t.kind, t.channels) for t in card.tasks] == [
        ("semseg", TaskKind.SEGMENTATION, 5),
        ("depth", TaskKind.DEPTH, 1),
    ]


def test_same_checkpoint_gives_the_same_bytes(
    state: Any, recipe: Recipe, shards: Any, tmp_path: Path
) -> None:
    one = tmp_path / "one.pth"
    torch.save({"state_dict": state}, one)
    checkpoints = [one, one, shards(state, 3)]
    artifacts = [tmp_path / f"{i}.gs" for i in range(3)]
    for checkpoint, artifact in zip(checkpoints, artifacts, strict=True):
        export_checkpoint(checkpoint, recipe, artifact, lambda line: None)
    first, second, sharded = map(contents, artifacts)
    assert first == second
    assert sharded["weights.bin"] == first["weights.bin"]
    assert sharded["model.onnx"] == first["model.onnx"]


def test_edge_moe_gives_tokens(
    fields: Any, recipe_for: Any, upstream: Any, edge_moe_raw: Any, tmp_path: Path
) -> None:
    config = ModelConfig(**(fields | {"decoder": None}))
    image = np.random.default_rng(4).normal(size=(1, 3, 32, 48)).astype(np.float32)
    arrays = upstream.clear_state_dict(config, image, seed=17)
    edge_moe_raw.write(tmp_path / "weights", edge_moe_raw.from_state(arrays))
    recipe = recipe_for(config, format=CheckpointFormat.EDGE_MOE)
    export_checkpoint(tmp_path / "weights", recipe, tmp_path / "a.gs", lambda line: None)
    card = read_artifact(tmp_path / "a.gs").card
    assert [(t.kind, t.channels) for t in card.tasks] == [(TaskKind.TOKENS, 24)] * 2
    for task in range(2):
        expected = upstream.forward(arrays, config, image, task)
        actual = run(tmp_path / "a.gs", image, task)
        assert actual.shape == (1, 7, 24)
        assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_experts_of_another_size_raise_a_doubt(state: Any, recipe: Recipe, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "one.pth")
    for expert_hidden, doubts in ((20, 0), (40, 1)):
        lines: list[str] = []
        said = replace(recipe, expert_hidden=expert_hidden)
        export_checkpoint(tmp_path / "one.pth", said, tmp_path / "a.gs", lines.append)
        notes = [line for line in lines if line.startswith("note: ")]
        assert len(notes) == doubts
        assert all("20 hidden units" in note and "40 with top_k 2" in note for note in notes)


def test_nothing_is_written_when_reading_fails(state: Any, recipe: Recipe, tmp_path: Path) -> None:
    state.popitem()
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="missing"):
        export_checkpoint(tmp_path / "bad.pth", recipe, tmp_path / "a.gs")
    assert [file.name for file in tmp_path.iterdir()] == ["bad.pth"]


def test_a_bad_output_is_named_before_the_checkpoint_is_read(
    recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(ArtifactError, match=r"mine\.txt"):
        export_checkpoint(tmp_path / "no such checkpoint", recipe, tmp_path / "notes")


def test_a_home_folder(state: Any, recipe: Recipe, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(state, tmp_path / "x.pth")
    said: list[str] = []
    export_checkpoint(Path("~/x.pth"), recipe, Path("~/x.gs"), said.append)
    assert said[0].startswith(f"{tmp_path}/x.gs: ")
