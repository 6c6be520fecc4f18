"""The application without a listener, asked as ASGI on an event loop beside the test."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gearshift.server.app import make_app
from gearshift.server.auth import ApiKeys
from gearshift.server.guard import Guard
from gearshift.server.limits import Limits
from gearshift.server.logs import Log
from gearshift.server.metrics import Metrics
from gearshift.server.observer import Observer, Observers
from gearshift.server.requests import ServiceSettings
from gearshift.server.service import Service
from gearshift.server.telemetry import Telemetry

SECONDS = 60
"""A request that takes so long is lost."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The error's text, from an answer that is one."""
        assert set(self.json()) == {"error"}
        return str(self.json()["error"])

    def picture(self) -> np.ndarray:
        """(H,W,3) of a PNG."""
        with Image.open(io.BytesIO(self.body), formats=["PNG"]) as picture:
            return np.asarray(picture)


async def ask_asgi(
    app: Guard,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    pieces: Sequence[bytes],
    leave: asyncio.Event | None = None,
) -> Answer:
    """One request, as uvicorn would hand it over; after `leave` is set the client has gone."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": query.encode("utf-8", "replace"),
        "root_path": "",
        "headers": [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers],
        "client": ("127.0.0.1", 9),
        "server": ("127.0.0.1", 8000),
    }
    unsent = list(pieces) or [b""]
    sent: list[dict[str, Any]] = []
    gone = leave or asyncio.Event()

    async def receive() -> dict[str, Any]:
        if unsent:
            return {"type": "http.request", "body": unsent.pop(0), "more_body": bool(unsent)}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(app(scope, receive, send), SECONDS)
    if leave is not None and not sent:
        return Answer(0, {}, b"")
    start, *parts = sent
    assert start["type"] == "http.response.start"
    assert not parts[-1].get("more_body", False)
    found = {k.decode("latin-1"): v.decode("latin-1") for k, v in start["headers"]}
    return Answer(start["status"], found, b"".join(part.get("body", b"") for part in parts))


@dataclass
class App:
    """A service and its application."""

    service: Service
    app: Guard
    log: io.StringIO
    thread: Any
    """With the event loop."""
    telemetry: Telemetry

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Answer:
        pieces = [body] if isinstance(body, bytes) else body
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        return self.thread.run(ask_asgi(self.app, method, target, pairs, pieces))

    def lines(self) -> list[dict[str, Any]]:
        """Of the log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture(scope="session")
def make_application(start_service: Callable[..., Service], loop_thread: Any) -> Callable[..., App]:
    """`make_application(limits=..., keys=..., allow_reload=..., settings=..., service=...)`."""

    def make(
        limits: Limits | None = None,
        keys: ApiKeys | None = None,
        allow_reload: bool = False,
        settings: ServiceSettings | None = None,
        service: Service | None = None,
        telemetry: Telemetry | None = None,
        observer: Observer | None = None,
    ) -> App:
        telemetry = telemetry or Telemetry(Metrics())
        observers = Observers(telemetry.observer, *([observer] if observer else []))
        service = service or start_service(settings, observers)
        stream = io.StringIO()
        log = Log("json", stream)
        app = make_app(service, limits or Limits(), log, telemetry, keys, allow_reload)
        return App(service, app, stream, loop_thread, telemetry)

    return make


@pytest.fixture(scope="session")
def application(make_application: Callable[..., App]) -> App:
    """One with everything at its default."""
    return make_application()


@pytest.fixture(scope="session")
def photo() -> Callable[..., bytes]:
    """`photo(form="PNG", width=61, height=37, seed=0)`: an encoded picture of smooth colours."""

    def make(form: str = "PNG", width: int = 61, height: int = 37, seed: int = 0) -> bytes:
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 256, (5, 7, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, form)
        return file.getvalue()

    return make


@pytest.fixture
def asked_application(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the requests that reached it."""
    paths: list[str] = []
    application = Guard.__call__

    async def counted(self: Guard, scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await application(self, scope, receive, send)

    monkeypatch.setattr(Guard, "__call__", counted)
    return paths


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(1, 3, 24, 40)).astype(np.float32)


@pytest.fixture(name="ask_asgi", scope="session")
def _ask_asgi() -> Callable[..., Any]:
    return ask_asgi
