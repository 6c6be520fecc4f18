"""The whole way, as a user goes it: upstream checkpoint, `gearshift export`, `Session`.

The reference is the float64 forward pass that was written from the facts of the field alone.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from gearshift.cli import main
from gearshift.session import Session
from gearshift_export.config import DecoderConfig, ModelConfig, Routing, TaskConfig

RECIPE = """
format = "m3vit"
top_k = {top_k}
heads = {heads}
image_height = {height}
image_width = {width}
gate_input_ahead = {ahead}

[[tasks]]
name = "semseg"
kind = "segmentation"

[[tasks]]
name = "normals"
kind = "normals"

[[tasks]]
name = "depth"
kind = "depth"
unit = "metre"
"""


def _config(routing: Routing, ahead: bool) -> ModelConfig:
    return ModelConfig(
        image_height=48,
        image_width=80,
        patch_size=16,
        width=24,
        heads=3,
        depth=4,
        dense_hidden=40,
        experts=6,
        expert_hidden=20,
        top_k=3,
        tasks=(TaskConfig("semseg", 5), TaskConfig("normals", 3), TaskConfig("depth", 1)),
        routing=routing,
        gate_input_ahead=ahead,
        task_embedding=7 if routing is Routing.TASK_CONDITIONED else 0,
        decoder=DecoderConfig(channels=12, stages=4),
    )


def _save_shards(folder: Path, state: dict[str, np.ndarray], ranks: int) -> None:
    """As expert parallelism leaves them: rank 0 holds all but the others' experts."""
    folder.mkdir()
    for rank in range(ranks):
        shard = {}
        for key, value in state.items():
            if ".experts." in key:
                value = np.split(value, ranks)[rank]
            elif rank:
                continue
            shard[f"module.{key}"] = torch.from_numpy(np.array(value))
        torch.save({"epoch": 3, "state_dict": shard}, folder / f"{rank}.pth")


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
@pytest.mark.parametrize("routing", list(Routing))
def test_checkpoint_to_answers(
    routing: Routing, backend: str, upstream: ModuleType, tmp_path: Path
) -> None:
    ahead = routing is Routing.SINGLE
    config = _config(routing, ahead)
    image = np.random.default_rng(5).standard_normal((2, 3, 48, 80)).astype(np.float32)
    state = upstream.clear_state_dict(config, image, seed=11)
    _save_shards(tmp_path / "checkpoint.pth.tar", state, ranks=3)
    recipe = tmp_path / "rooms.toml"
    recipe.write_text(
        RECIPE.format(top_k=3, heads=3, height=48, width=80, ahead=str(ahead).lower())
    )
    model = tmp_path / "model.gs"
    checkpoint = str(tmp_path / "checkpoint.pth.tar")
    assert main(["export", checkpoint, "--recipe", str(recipe), "-o", str(model)]) == 0

    session = Session(model, backend=backend)
    for task, name in enumerate(session.tasks):
        expected = upstream.forward(state, config, image, task)
        answer = session.run_normalised(image, name)
        assert answer.shape == expected.shape
        error = np.abs(answer - expected).max() / np.abs(expected).max()
        assert error < 1e-4, (name, error)
