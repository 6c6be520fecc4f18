"""Opening and warming a model, and what that teaches the scheduler."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift import Session
from gearshift.server import served_model
from gearshift.server.requests import ModelSpec
from gearshift.server.served_model import TIMED_RUNS, ServedModel

Fixture = Callable[..., Any]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Task and images of every run of any session, in order."""
    seen: list[tuple[str, int]] = []
    run_checked = Session.run_checked

    def remember(session: Session, image: np.ndarray, task: str) -> np.ndarray:
        seen.append((task, len(image)))
        return run_checked(session, image, task)

    monkeypatch.setattr(Session, "run_checked", remember)
    return seen


def test_warming_runs_every_task_in_growing_batches(
    artifact: Path, runs: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_model, "WARM_SECONDS", 1e6)
    served = ServedModel(ModelSpec("random", artifact), "3")
    warm = list(served.warm(most_batch=6))
    tasks = ("rooms", "depth", "normals", "edges")
    assert [(run.key.task, run.images) for run in warm] == [
        (task, images) for task in tasks for images in (1, 2, 4)
    ]
    assert {run.key[:2] + run.key[3:] for run in warm} == {("random", "3", 24, 40)}
    assert all(run.seconds > 0 for run in warm)
    counts = Counter(runs)
    assert set(counts.values()) == {1 + TIMED_RUNS}
    assert len(counts) == 12


def test_a_slow_model_is_warmed_with_one_image_a_task(
    artifact: Path, runs: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServedModel(ModelSpec("random", artifact), "1")
    # Nothing is made of batches that never run.
    list(served.warm(most_batch=10**9))
    tasks = ("rooms", "depth", "normals", "edges")
    assert runs == [(task, 1) for task in tasks for _ in range(1 + TIMED_RUNS)]
    runs.clear()
    monkeypatch.setattr(served_model, "SLOW_SECONDS", 0.0)
    list(served.warm(most_batch=8))
    assert runs == [(task, 1) for task in tasks]


def test_a_switch_is_measured_against_the_same_task_again(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_model, "WARM_SECONDS", 2.0)
    served = ServedModel(ModelSpec("random", artifact), "1")
    last = ""

    def seconds(image: np.ndarray, task: str) -> float:
        nonlocal last
        assert image.shape == (1, 3, 24, 40)
        switched, last = task != last, task
        return 1.0 + 0.25 * switched

    monkeypatch.setattr(served, "_seconds", seconds)
    assert served.warm_switch() == 0.25
    monkeypatch.setattr(served_model, "WARM_SECONDS", 0.0)
    assert served.warm_switch() == 0.0


def test_a_started_service_has_run_every_task(
    artifact: Path, serve: Fixture, run: Fixture, runs: list[tuple[str, int]], ask: Fixture
) -> None:
    async def test() -> None:
        async with serve(most_queued=1) as service:
            warm = len(runs)
            assert warm == 4 * (1 + TIMED_RUNS)
            answers = await asyncio.gather(
                *(ask(service) for _ in range(3)), return_exceptions=True
            )
            refused = [one for one in answers if isinstance(one, Exception)]
            assert len(refused) == 1
            assert refused[0].retry_after > 0
            assert len(runs) == warm + 2

    run(test())


def test_options_reach_the_session(artifact: Path) -> None:
    spec = ModelSpec("random", artifact, "native", "bfloat16", 1, "1MB")
    served = ServedModel(spec, "1")
    assert (served.info.backend, served.info.precision) == ("native", "bfloat16")
    result = served.run("depth", [np.zeros((1, 3, 24, 40), np.float32)])
    session = Session(artifact, "native", "bfloat16", 1, "1MB")
    expected = session.run_normalised(np.zeros((1, 3, 24, 40), np.float32), "depth")
    assert result.error is None
    assert result.stats is not None
    assert result.stats.expert_hits is not None
    (output,) = result.outputs
    assert np.array_equal(output, expected)
