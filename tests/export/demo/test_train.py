"""Training: it learns, and a resumed run is the run that was never stopped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gearshift.errors import InputError
from gearshift_export.demo.losses import routing_loss
from gearshift_export.demo.train import DEMO_CONFIG, TrainOptions, train
from gearshift_export.model import MultiTaskModel

SHORT = {"scenes": 64, "warmup": 4}


def _weights(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)["state_dict"]
    assert all(name.startswith("module.") for name in state)
    return {name.removeprefix("module."): value for name, value in state.items()}


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = _weights(train(tmp_path / "a", TrainOptions(steps=4, decay_share=0, **SHORT)))
    train(tmp_path / "b", TrainOptions(steps=2, decay_share=0, **SHORT))
    resumed = _weights(train(tmp_path / "b", TrainOptions(steps=4, decay_share=0, **SHORT)))
    start = MultiTaskModel(DEMO_CONFIG).state_dict()
    assert unbroken.keys() == resumed.keys() == start.keys()
    for name, value in unbroken.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-6, msg=name)
    moved = [k for k, v in unbroken.items() if v.is_floating_point() and not v.equal(start[k])]
    assert len(moved) > 0.9 * len(start)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train(tmp_path, TrainOptions(steps=1, **SHORT))
    with pytest.raises(InputError, match="learning_rate"):
        train(tmp_path, TrainOptions(steps=1, learning_rate=1.0, **SHORT))


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    options = TrainOptions(steps=1000, warmup=100, decay_share=0.5, learning_rate=2.0)
    assert options.learning_rate_at(0) == pytest.approx(0.02)
    assert options.learning_rate_at(100) == options.learning_rate_at(500) == 2.0
    assert options.learning_rate_at(750) == pytest.approx(1.0)
    assert options.learning_rate_at(1000) == 0.0


def _routing_loss(*per_task: list[float]) -> float:
    rows = torch.tensor(per_task).unsqueeze(1).expand(-1, 5, -1)
    return routing_loss([rows], torch.arange(len(per_task)), len(per_task), top_k=1).item()


def test_routing_loss_is_nothing_when_each_task_keeps_to_its_half() -> None:
    def token(expert: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor(expert), 4).float()

    halves = torch.stack([torch.stack([token(0), token(1)]), torch.stack([token(2), token(3)])])
    assert routing_loss([halves], torch.arange(2), 2, top_k=1).item() == pytest.approx(0, abs=1e-6)


def test_routing_loss_punishes_a_task_that_uses_one_expert() -> None:
    # E sum f P = 4 for each task, 2 above the hinge; the tasks together use all experts alike.
    single = _routing_loss(*torch.eye(4).tolist())
    assert single == pytest.approx(0.05 * 2)


def test_routing_loss_punishes_experts_that_nobody_uses() -> None:
    together = _routing_loss([0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0])
    assert together == pytest.approx(0.1 * math.log(2))
