"""The demo's metrics against counts that one can do by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift_export.demo.metrics import (
    best_edge_threshold,
    edge_f,
    mean_angle,
    mean_iou,
    root_mean_square_error,
)


def test_mean_iou_by_hand() -> None:
    labels = np.array([[0, 0, 1, 1]])
    predicted = np.array([[0, 1, 1, 1]])
    # class 0: 1 of 2; class 1: 2 of 3; class 2 occurs nowhere and does not count.
    assert mean_iou(predicted, labels, 3) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_mean_iou_counts_a_class_that_only_the_prediction_has() -> None:
    assert mean_iou(np.array([1, 1]), np.array([0, 0]), 2) == 0.0


def test_root_mean_square_error_by_hand() -> None:
    predicted = np.array([1.0, 2.0, 3.0], np.float16)
    assert root_mean_square_error(predicted, np.array([1.0, 0.0, 4.0])) == pytest.approx(
        np.sqrt(5 / 3)
    )


def test_mean_angle_ignores_length() -> None:
    predicted = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    target = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert mean_angle(predicted, target) == pytest.approx(45.0)


def test_edge_f_gives_nothing_for_a_neighbour() -> None:
    target = np.zeros((5, 5), bool)
    target[:, 2] = True
    assert edge_f(target, target) == 1.0
    assert edge_f(np.roll(target, 1, axis=1), target) == 0.0
    thick = target | np.roll(target, 1, axis=1) | np.roll(target, -1, axis=1)
    assert edge_f(thick, target) == pytest.approx(0.5)


def test_best_edge_threshold_finds_the_separating_cut() -> None:
    random = np.random.default_rng(0)
    target = random.random((40, 40)) < 0.1
    probability = np.where(target, 0.71, 0.29) + random.uniform(-0.1, 0.1, target.shape)
    threshold, score = best_edge_threshold(probability, target)
    assert 0.38 < threshold < 0.62
    assert score == 1.0
