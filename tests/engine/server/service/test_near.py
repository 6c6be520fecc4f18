"""Where batches run: short ones on the event loop itself, if nobody else would mind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gearshift.server import dispatcher
from gearshift.server.served_model import BatchResult, ServedModel

Fixture = Callable[..., Any]
LOOP, WORKER = threading.main_thread().name, "gearshift-worker"


@pytest.fixture
def ran_on(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Task and thread of each batch."""
    found: list[tuple[str, str]] = []
    run = ServedModel.run

    def noted(served: ServedModel, task: str, images: Sequence[np.ndarray]) -> BatchResult:
        found.append((task, threading.current_thread().name))
        return run(served, task, images)

    monkeypatch.setattr(ServedModel, "run", noted)
    monkeypatch.setattr(dispatcher, "NEAR_SECONDS", 10.0)
    return found


def test_a_short_batch_runs_on_the_event_loop_unless_others_wait(
    serve: Fixture, ask: Fixture, run: Fixture, ran_on: list[tuple[str, str]]
) -> None:
    async def test() -> None:
        async with serve() as service:
            alone = await ask(service)
            tasks = ("depth", "edges", "normals")
            answers = await asyncio.gather(*(ask(service, task) for task in tasks))
            assert np.array_equal(answers[0].output, alone.output)

    run(test())
    assert ran_on == [("depth", LOOP), ("depth", LOOP), ("edges", WORKER), ("normals", LOOP)]


def test_a_long_batch_or_an_unknown_one_runs_on_the_worker(
    serve: Fixture,
    ask: Fixture,
    run: Fixture,
    ran_on: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        async with serve() as service:
            times = service._dispatcher.scheduler.times
            monkeypatch.setattr(times, "seconds", lambda key, images: 0.0)
            await ask(service)
            monkeypatch.setattr(times, "seconds", lambda key, images: 11.0)
            await ask(service)

    run(test())
    assert ran_on == [("depth", WORKER)] * 2


def test_an_overloaded_server_goes_on_reading(
    serve: Fixture, ask: Fixture, run: Fixture, ran_on: list[tuple[str, str]]
) -> None:
    async def test() -> None:
        async with serve() as service:
            admission = service._dispatcher.scheduler._admission
            admission._mean = 10.0
            admission._offered.memory = 100.0
            admission._offered.set_per_second(5.0, asyncio.get_running_loop().time())
            admission.overloaded = True
            await ask(service)

    run(test())
    assert ran_on == [("depth", WORKER)]


def test_the_end_waits_for_it(
    serve: Fixture, ask: Fixture, run: Fixture, ran_on: list[tuple[str, str]]
) -> None:
    async def test() -> None:
        async with serve() as service:
            asked = ask(service)
            while not service._dispatcher.scheduler.running:
                await asyncio.sleep(0)
            assert not ran_on
            await service.close()
            assert (await asked).output.shape[0] == 1

    run(test())
    assert ran_on == [("depth", LOOP)]
