"""A service over the random model, on the event loop of the test itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift.scheduler import SchedulerSettings
from gearshift.server import served_model
from gearshift.server.observer import Observer
from gearshift.server.requests import InferAnswer, InferRequest, ModelSpec, ServiceSettings
from gearshift.server.service import Service

Serve = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image a task is warm enough for tests; `test_served_model` has the whole of it."""
    monkeypatch.setattr(served_model, "WARM_SECONDS", 0.0)


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a test's coroutine; whatever hangs ends with an error."""
    return lambda test: asyncio.run(asyncio.wait_for(test, 60))


@pytest.fixture
def serve(artifact: Path) -> Serve:
    """`async with serve(most_queued=3, ...) as service`: the random model as `random`, started.

    Batches are as large as they can be, so that tests do not depend on what the machine gains.
    """

    @asynccontextmanager
    async def make(
        model: Path = artifact,
        observer: Observer | None = None,
        most_pixels: int | None = None,
        most_sizes: int = 8,
        default_timeout: float | None = None,
        **scheduler: Any,
    ) -> AsyncIterator[Service]:
        scheduler = {"least_gain": 0.0, "longest_wait_seconds": 0.0, **scheduler}
        settings = ServiceSettings(
            SchedulerSettings(**scheduler), most_pixels, most_sizes, default_timeout
        )
        service = Service([ModelSpec("random", model)], settings, observer)
        await service.start()
        try:
            yield service
        finally:
            await service.close()

    return make


@pytest.fixture
def ask(make_image: Callable[..., np.ndarray]) -> Callable[..., Awaitable[InferAnswer]]:
    """`ask(service, "depth", batch=2, seed=3, priority=1)`: a task that begins at once."""

    def begin(
        service: Service,
        task: str | None = "depth",
        image: np.ndarray | None = None,
        seed: int = 0,
        batch: int = 1,
        **values: Any,
    ) -> Awaitable[InferAnswer]:
        chosen = make_image(batch, seed=seed) if image is None else image
        values = {"model": "random", **values}
        request = InferRequest(task=task, image=chosen, **values)
        return asyncio.ensure_future(service.infer(request))

    return begin
