"""The model that ships: its card's figures are those that the engine measures on test rooms."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gearshift.backends import Precision
from gearshift.graph import Card
from gearshift.session import Session
from gearshift_export.builtin import demo
from gearshift_export.demo.dataset import SIZE, SPLIT_FIRST_SEED, SceneArrays, encode
from gearshift_export.demo.evaluate import TEST_SCENES
from gearshift_export.demo.metrics import Predictions, score
from gearshift_export.demo.scenes import render_scene

BATCH = 20
HIGHER_IS_BETTER = {"semseg": True, "edge": True, "normals": False, "depth": False}


@cache
def _rooms(scenes: int) -> SceneArrays:
    first = SPLIT_FIRST_SEED["test"]
    rooms = [encode(render_scene(first + i, SIZE, SIZE)) for i in range(scenes)]
    return SceneArrays(**{name: np.stack([room[name] for room in rooms]) for name in rooms[0]})


def _figures(session: Session, scenes: int) -> dict[str, float]:
    truth = _rooms(scenes)
    parts: dict[str, list[np.ndarray]] = {task: [] for task in session.tasks}
    for start in range(0, scenes, BATCH):
        image = truth.image[start : start + BATCH]
        parts["semseg"].append(session.run(image, "semseg").labels)
        parts["normals"].append(session.run(image, "normals").vectors.transpose(0, 2, 3, 1))
        parts["edge"].append(session.run(image, "edge").mask)
        parts["depth"].append(session.run(image, "depth").metres)
    whole = {task: np.concatenate(values) for task, values in parts.items()}
    predictions = Predictions(whole["semseg"], whole["depth"], whole["normals"], whole["edge"])
    return score(predictions, truth)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session("demo")


def _claimed(card: Card, key: str) -> dict[str, float]:
    return {task.name: card.metrics[task.name][key] for task in card.tasks}


@pytest.mark.slow
def test_the_card_s_figures_are_measured_again(session: Session) -> None:
    assert session.card.metrics["test_rooms"] == TEST_SCENES
    measured = _figures(session, TEST_SCENES)
    assert measured == pytest.approx(_claimed(session.card, "value"), rel=2e-3)


def test_a_hundred_rooms_are_near_the_card_and_far_from_the_average(session: Session) -> None:
    measured = _figures(session, 100)
    claimed = _claimed(session.card, "value")
    average = _claimed(session.card, "average_predictor")
    for task, value in measured.items():
        assert value == pytest.approx(claimed[task], rel=0.15), task
        better, worse = (value, average[task]) if HIGHER_IS_BETTER[task] else (average[task], value)
        assert better > 1.3 * worse, task


def _change(precision: Precision, scenes: int) -> dict[str, float]:
    """By task, the figure in a precision over the one in float32."""
    figures = [_figures(Session("demo", "native", one), scenes) for one in ("float32", precision)]
    return {task: figures[1][task] / value for task, value in figures[0].items()}


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_lower_precision_changes_figures_by_less_than_one_percent(precision: Precision) -> None:
    assert _change(precision, 100) == pytest.approx(dict.fromkeys(HIGHER_IS_BETTER, 1), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_lower_precision_on_all_test_rooms(precision: Precision) -> None:
    change = _change(precision, TEST_SCENES)
    assert change == pytest.approx(dict.fromkeys(HIGHER_IS_BETTER, 1), abs=0.01)


def test_the_targets_are_met(session: Session) -> None:
    claimed = _claimed(session.card, "value")
    assert claimed["semseg"] >= 0.45
    assert claimed["depth"] <= 0.5
    assert claimed["normals"] <= 22
    assert claimed["edge"] >= 0.4


def test_tasks_use_different_experts(session: Session) -> None:
    share = {task: np.array(rows) for task, rows in session.card.metrics["expert_share"].items()}
    assert set(share) == set(session.tasks)
    for rows in share.values():
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-3)
    for first in session.tasks:
        for second in session.tasks:
            if first < second:
                moved = 0.5 * np.abs(share[first] - share[second]).sum(1).mean()
                assert moved > 0.2, (first, second)


def test_the_engine_counts_the_card_s_expert_shares(session: Session) -> None:
    first = SPLIT_FIRST_SEED["test"]
    images = np.stack([render_scene(first + i, SIZE, SIZE).image for i in range(60)])
    for task in session.tasks:
        session.run(images, task)
        counts = np.array(list(session.stats.tokens_per_expert.values()))
        share = counts / counts.sum(1, keepdims=True)
        np.testing.assert_allclose(share, session.card.metrics["expert_share"][task], atol=0.05)


def test_the_artifact_is_small_enough_for_the_repository() -> None:
    assert sum(file.stat().st_size for file in demo().iterdir()) <= 12_000_000
