"""The test rooms of the demo, and a task's figure on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.graph.card import Card
from gearshift_bench.progress import show_progress
from gearshift_export.demo.dataset import SPLIT_FIRST_SEED, SceneArrays, encode
from gearshift_export.demo.evaluate import METRIC_NAMES
from gearshift_export.demo.metrics import Predictions, score
from gearshift_export.demo.scenes import CLASSES, Scene, render_scene

BATCH_PIXELS = 1 << 18
"""Pictures are run so many pixels at a time."""

Pictures = NDArray[np.uint8]
"""(N, H, W, 3)"""
Results = Mapping[str, Sequence[NDArray[np.generic]]]
"""By task, what `predict` made of each batch."""


def held_out_rooms(card: Card, count: int) -> list[Scene]:
    """Rooms of the test split, at the card's size."""
    first = SPLIT_FIRST_SEED["test"]
    step = show_progress("render", count)
    rooms = []
    for seed in range(first, first + count):
        rooms.append(render_scene(seed, card.image_height, card.image_width))
        step()
    return rooms


def does_rooms(card: Card) -> bool:
    """Whether a model's tasks are those that the rooms have an answer to."""
    tasks = {task.name: task for task in card.tasks}
    return tasks.keys() == METRIC_NAMES.keys() and tasks["semseg"].channels == len(CLASSES)


def batches(pictures: Pictures) -> Iterator[Pictures]:
    """As many pictures at a time as `BATCH_PIXELS` allow, at least one."""
    step = max(BATCH_PIXELS // (pictures.shape[1] * pictures.shape[2]), 1)
    for start in range(0, len(pictures), step):
        yield pictures[start : start + step]


def predict(task: str, maps: NDArray[np.float32], threshold: float) -> NDArray[np.generic]:
    """What `Predictions` wants of a task's result (N, H, W, C)."""
    if task == "semseg":
        return maps.argmax(-1).astype(np.uint8)
    if task == "normals":
        return maps
    if task == "edge":
        return 1 / (1 + np.exp(-maps[..., 0])) >= threshold
    return maps[..., 0]


def true_answers(rooms: Sequence[Scene]) -> SceneArrays:
    """What the rooms really are."""
    arrays = [encode(room) for room in rooms]
    return SceneArrays(**{name: np.stack([one[name] for one in arrays]) for name in arrays[0]})


def figures(results: Results, truth: SceneArrays) -> dict[str, float]:
    """By task, the figure named in `METRIC_NAMES`; `results` are those of all tasks."""
    whole: dict[str, Any] = {name: np.concatenate(parts) for name, parts in results.items()}
    predictions = Predictions(whole["semseg"], whole["depth"], whole["normals"], whole["edge"])
    return score(predictions, truth)
