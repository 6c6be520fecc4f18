"""The demo model's figures on rooms that it never saw, beside those of an average predictor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from gearshift_export.demo.batches import normalise, unit_range
from gearshift_export.demo.dataset import SceneArrays, render_split
from gearshift_export.demo.metrics import (
    Predictions,
    average_predictor,
    best_edge_threshold,
    score,
)
from gearshift_export.model import MultiTaskModel

TEST_SCENES = 1000
VALIDATION_SCENES = 300
BATCH = 50
METRIC_NAMES = {
    "semseg": "mean IoU",
    "normals": "mean angle, degrees",
    "edge": "edge F, exact pixels",
    "depth": "RMSE, metres",
}


@dataclass(frozen=True)
class Evaluation:
    """Figures of the test rooms by task, the edge threshold, and who used which expert."""

    figures: dict[str, float]
    average_predictor: dict[str, float]
    edge_threshold: float
    expert_share: dict[str, list[list[float]]]
    """By task, a row a block with experts: the share of its choices that fell on each expert."""

    def card_metrics(self) -> dict[str, Any]:
        """As tables for the model card."""
        tables: dict[str, Any] = {
            name: {
                "metric": METRIC_NAMES[name],
                "value": round(value, 4),
                "average_predictor": round(self.average_predictor[name], 4),
            }
            for name, value in self.figures.items()
        }
        tables["test_rooms"] = TEST_SCENES
        tables["expert_share"] = {
            task: [[round(share, 4) for share in row] for row in rows]
            for task, rows in self.expert_share.items()
        }
        return tables


@torch.inference_mode()
def _run_task(
    model: MultiTaskModel, scenes: SceneArrays, task: int
) -> tuple[NDArray[np.float32], list[list[float]]]:
    """Raw outputs (S, C, H, W) and the expert shares of one task."""
    outputs = []
    counts: NDArray[np.int64] | None = None
    name = model.config.tasks[task].name
    for start in tqdm(range(0, len(scenes), BATCH), desc=name, unit="batch", leave=False):
        image = normalise(unit_range(scenes.image[start : start + BATCH]))
        tokens, probabilities = model.encode(image, task)
        outputs.append(model.decode(tokens, task).numpy())
        chosen = torch.stack([p.topk(model.config.top_k).indices.flatten() for p in probabilities])
        used = np.stack(
            [np.bincount(row, minlength=model.config.experts) for row in chosen.numpy()]
        )
        counts = used if counts is None else counts + used
    assert counts is not None
    return np.concatenate(outputs), (counts / counts.sum(1, keepdims=True)).tolist()


def evaluate(model: MultiTaskModel, folder: Path, training: SceneArrays) -> Evaluation:
    """Run every task over the test rooms; the edge threshold is chosen on validation rooms."""
    model.eval()
    processes = os.cpu_count() or 1
    validation = render_split(folder, "validation", VALIDATION_SCENES, processes)
    test = render_split(folder, "test", TEST_SCENES, processes)
    index = {task.name: i for i, task in enumerate(model.config.tasks)}
    logits, _ = _run_task(model, validation, index["edge"])
    threshold, _ = best_edge_threshold(
        torch.from_numpy(logits[:, 0]).sigmoid().numpy(), validation.edges
    )
    raw, share = {}, {}
    for name, task in index.items():
        raw[name], share[name] = _run_task(model, test, task)
    predictions = Predictions(
        labels=raw["semseg"].argmax(1),
        depth=raw["depth"][:, 0],
        normals=raw["normals"].transpose(0, 2, 3, 1),
        edges=torch.from_numpy(raw["edge"][:, 0]).sigmoid().numpy() >= threshold,
    )
    return Evaluation(
        figures=score(predictions, test),
        average_predictor=score(average_predictor(training, test), test),
        edge_threshold=threshold,
        expert_share=share,
    )
