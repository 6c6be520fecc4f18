"""Real servers on loopback with a small random model, and a gate in front of their workers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import uvloop

from gearshift import Session
from gearshift.server import dispatcher, served_model
from gearshift.server.listeners import ListenerOptions, Listeners
from gearshift.server.logs import Log
from gearshift.server.metrics import Metrics
from gearshift.server.observer import Observer
from gearshift.server.requests import ModelSpec, ServiceSettings
from gearshift.server.served_model import BatchResult, ServedModel
from gearshift.server.service import Service
from gearshift.server.telemetry import Telemetry

T = TypeVar("T")

SECONDS = 60
"""A request or a batch that takes so long is lost."""


class Gate:
    """While it is closed, a batch that has begun does not go on."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, str, list[int]]] = []
        """Version, task and images by request, of the batches that began."""
        self._open = threading.Event()
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def pass_through(self, served: ServedModel, task: str, images: Sequence[np.ndarray]) -> None:
        self.batches.append((served.version, task, [len(image) for image in images]))
        assert self._open.wait(SECONDS), "nobody opened the gate"

    async def until_batches(self, number: int) -> None:
        """Until so many have begun."""
        while len(self.batches) < number:
            await asyncio.sleep(0.001)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Open at first; warming passes beside it."""
    gate = Gate()
    run = ServedModel.run

    def wait_and_run(served: ServedModel, task: str, images: Sequence[np.ndarray]) -> BatchResult:
        gate.pass_through(served, task, images)
        return run(served, task, images)

    monkeypatch.setattr(ServedModel, "run", wait_and_run)
    # What waits at the gate must not hold up the event loop.
    monkeypatch.setattr(dispatcher, "NEAR_SECONDS", 0.0)
    yield gate
    gate.open()


class LoopThread:
    """An event loop that runs beside the test."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.begin(work).result(SECONDS)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """The same without waiting."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SECONDS)
        self.loop.close()


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def start_service(
    artifact: Path, cache: Path, loop_thread: LoopThread
) -> Iterator[Callable[..., Service]]:
    """`start_service(settings, observer, specs)`: warm, with the small model `random`."""
    with contextlib.ExitStack() as ends:

        def start(
            settings: ServiceSettings | None = None,
            observer: Observer | None = None,
            specs: Sequence[ModelSpec] | None = None,
        ) -> Service:
            plain = [ModelSpec("random", artifact, threads=1)]
            service = Service(specs or plain, settings, observer)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GEARSHIFT_CACHE", str(cache))
                # One image a task is warm enough.
                patch.setattr(served_model, "WARM_SECONDS", 0.0)
                loop_thread.run(service.start())
            ends.callback(lambda: loop_thread.run(service.close()))
            return service

        yield start


@dataclass
class Live:
    """A service with both listeners, on ports of this machine."""

    service: Service
    listeners: Listeners
    log: io.StringIO
    options: ListenerOptions
    telemetry: Telemetry
    thread: LoopThread

    @property
    def http(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.listeners.port}"

    @property
    def grpc(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.listeners.grpc_port}"

    @property
    def url(self) -> str:
        return f"http://{self.http}"

    def held(self) -> int:
        """Bytes of bodies."""
        return self.listeners._held.size

    def queued(self) -> int:
        """Requests that wait."""

        async def count() -> int:
            return sum(self.service.queued.values())

        return self.thread.run(count())


@pytest.fixture(scope="session")
def make_live(
    start_service: Callable[..., Service], loop_thread: LoopThread
) -> Iterator[Callable[..., Live]]:
    """`make_live(options=..., settings=...)`: listening on any free ports of this machine."""
    with contextlib.ExitStack() as ends:

        def make(
            options: ListenerOptions | None = None, settings: ServiceSettings | None = None
        ) -> Live:
            options = replace(options or ListenerOptions(), port=0, grpc_port=0)
            telemetry = Telemetry(Metrics())
            service = start_service(settings, telemetry.observer)
            stream = io.StringIO()
            listeners = Listeners(service, options, Log("json", stream), telemetry)
            loop_thread.run(listeners.open())
            ends.callback(lambda: loop_thread.run(listeners.close(0)))
            return Live(service, listeners, stream, options, telemetry, loop_thread)

        yield make


@pytest.fixture(scope="session")
def live(make_live: Callable[..., Live]) -> Live:
    """One for all tests that change nothing of it."""
    return make_live()


@pytest.fixture(scope="session")
def session(artifact: Path, cache: Path) -> Session:
    """What answers are compared with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEARSHIFT_CACHE", str(cache))
        return Session(artifact, threads=1)
