"""How good the demo model is: one figure a task, pooled over all pixels of all rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_export.demo.dataset import SceneArrays
from gearshift_export.demo.scenes import CLASSES


def mean_iou(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> float:
    """Mean over classes of intersection / union; a class that neither has is left out."""
    pairs = predicted.astype(np.int64).ravel() * classes + labels.astype(np.int64).ravel()
    confusion = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    intersection = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - intersection
    return float((intersection[union > 0] / union[union > 0]).mean())


def root_mean_square_error(predicted: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """In the unit of the arguments."""
    difference = predicted.astype(np.float64) - target.astype(np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def mean_angle(predicted: NDArray[Any], target: NDArray[Any]) -> float:
    """Mean angle in degrees between vectors of any length along the last axis."""
    predicted, target = predicted.astype(np.float64), target.astype(np.float64)
    product = (predicted * target).sum(-1)
    lengths = np.linalg.norm(predicted, axis=-1) * np.linalg.norm(target, axis=-1)
    cosine = np.clip(product / np.maximum(lengths, 1e-12), -1.0, 1.0)
    return float(np.degrees(np.arccos(cosine)).mean())


def edge_f(predicted: NDArray[np.bool_], target: NDArray[np.bool_]) -> float:
    """F-measure of exact pixels: no tolerance, no thinning, so thick or shifted edges cost."""
    hits = np.count_nonzero(predicted & target)
    total = np.count_nonzero(predicted) + np.count_nonzero(target)
    return 2.0 * hits / total if total else 1.0


def best_edge_threshold(
    probability: NDArray[np.floating], target: NDArray[np.bool_]
) -> tuple[float, float]:
    """The threshold of the best pooled F, on a grid of 0.02, and that F."""
    candidates = [round(0.02 * i, 2) for i in range(1, 50)]
    scores = [edge_f(probability >= threshold, target) for threshold in candidates]
    best = int(np.argmax(scores))
    return candidates[best], scores[best]


@dataclass(frozen=True)
class Predictions:
    """One prediction of every task for a stack of rooms.

    labels int (S, H, W), depth metres (S, H, W), normals (S, H, W, 3), edges bool (S, H, W).
    """

    labels: NDArray[np.integer]
    depth: NDArray[np.floating]
    normals: NDArray[np.floating]
    edges: NDArray[np.bool_]


def score(predictions: Predictions, truth: SceneArrays) -> dict[str, float]:
    """Task name -> figure: mean IoU, RMSE in metres, mean angle in degrees, edge F."""
    return {
        "semseg": mean_iou(predictions.labels, truth.labels, len(CLASSES)),
        "normals": mean_angle(predictions.normals, truth.normals),
        "edge": edge_f(predictions.edges, truth.edges),
        "depth": root_mean_square_error(predictions.depth, truth.depth),
    }


def average_predictor(training: SceneArrays, truth: SceneArrays) -> Predictions:
    """What one would say without looking: per pixel, the training rooms' mode and mean.

    The edge map is each pixel's edge frequency, cut at the threshold that is best for it.
    """
    counts = np.stack([(training.labels == c).sum(0) for c in range(len(CLASSES))])
    frequency = training.edges.mean(0)
    threshold = max(
        np.quantile(frequency, np.linspace(0.0, 0.99, 100)),
        key=lambda cut: edge_f(np.broadcast_to(frequency >= cut, truth.edges.shape), truth.edges),
    )
    single = Predictions(
        labels=counts.argmax(0),
        depth=training.depth.mean(0, dtype=np.float64),
        normals=training.normals.mean(0, dtype=np.float64),
        edges=frequency >= threshold,
    )
    return Predictions(
        labels=np.broadcast_to(single.labels, truth.labels.shape),
        depth=np.broadcast_to(single.depth, truth.depth.shape),
        normals=np.broadcast_to(single.normals, truth.normals.shape),
        edges=np.broadcast_to(single.edges, truth.edges.shape),
    )
