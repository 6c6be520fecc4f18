"""The written file in a stock onnxruntime gives the model's answers, for every task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from gearshift.graph import Card, write_artifact
from gearshift_export.model import MultiTaskModel
from gearshift_export.to_graph import to_graph


def test_onnxruntime_equals_the_model(
    model: MultiTaskModel, card: Card, image: Any, tmp_path: Path
) -> None:
    write_artifact(to_graph(model, card), tmp_path / "test.gs")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tmp_path / "test.gs" / "model.onnx", options)
    for task in range(len(card.tasks)):
        feeds = {"image": image, "task": np.array(task, dtype=np.int64)}
        (actual,) = session.run(None, feeds)
        expected = model(torch.from_numpy(image), task).numpy()
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()
