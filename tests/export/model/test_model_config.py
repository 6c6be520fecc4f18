"""ModelConfig: derived numbers, and one clear error for each impossible combination."""

from __future__ import annotations

from typing import Any

import pytest

from gearshift_export.config import ModelConfig, Routing, TaskConfig

FIVE = tuple(TaskConfig(name, 1) for name in ("semseg", "human_parts", "sal", "normals", "edge"))


def test_numbers_that_follow_from_others(fields: dict[str, Any]) -> None:
    config = ModelConfig(**fields)
    assert config.head_dim == 8
    assert config.grid == (2, 3)
    assert config.tokens == 7
    assert [config.has_experts(block) for block in range(4)] == [False, True, False, True]
    assert [config.expert_window(task) for task in (0, 1)] == [range(6), range(6)]


@pytest.mark.parametrize(
    ("experts", "window", "tasks", "starts"),
    [
        (16, 4, 1, [0]),
        (16, 4, 2, [0, 12]),
        (7, 6, 3, [0, 0, 1]),
        (8, 7, 5, [0, 0, 0, 0, 1]),
        (5, 5, 5, [0] * 5),
    ],
)
def test_windows_of_experts(
    fields: dict[str, Any], experts: int, window: int, tasks: int, starts: list[int]
) -> None:
    changes = {"experts": experts, "experts_per_task": window, "tasks": FIVE[:tasks]}
    config = ModelConfig(**fields | changes)
    windows = [config.expert_window(task) for task in range(tasks)]
    assert windows == [range(start, start + window) for start in starts]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_height": 40}, "image_height 40 is not a multiple of patch_size 16"),
        ({"image_width": 0}, "image_width 0"),
        ({"heads": 5}, "width 24 does not divide into 5 heads"),
        ({"tasks": ()}, "tasks is empty"),
        ({"tasks": FIVE[:1] * 2}, r"\['semseg', 'semseg'\] hold a name twice"),
        ({"task_embedding": 4}, "task_embedding 4 does not go with routing multi_gate"),
        ({"routing": Routing.TASK_CONDITIONED}, "task_embedding 0 does not go with routing"),
        ({"top_k": 0}, "top_k 0 is not between 1 and 6 experts"),
        ({"top_k": 7}, "top_k 7 is not between 1 and 6 experts"),
        ({"top_k": 3, "experts_per_task": 2}, "top_k 3 is not between 1 and 2 experts"),
        ({"experts_per_task": 7}, "experts_per_task 7"),
        ({"experts_per_task": 0}, "top_k 2 is not between 1 and 0 experts"),
    ],
)
def test_impossible_models_are_refused(
    fields: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**fields | changes)


def test_windows_that_overshoot_the_bank_are_refused(fields: dict[str, Any]) -> None:
    """The starts 0, 3, 9, 18, 30 of the upstream code leave a bank of 16 at the third task."""
    changes = {"experts": 16, "experts_per_task": 4, "tasks": FIVE}
    with pytest.raises(ValueError, match="window of task 'normals' ends at expert 22 of 16"):
        ModelConfig(**fields | changes)
