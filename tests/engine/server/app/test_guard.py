"""What every request meets, whatever its route."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from gearshift.server.auth import ApiKeys
from gearshift.server.errors import TooManyRequests
from gearshift.server.guard import Guard
from gearshift.server.limits import HeldBytes, Limits
from gearshift.server.logs import Log
from gearshift.server.metrics import Metrics
from gearshift.server.telemetry import Telemetry

KEY = "a-key-of-enough-length"
Endpoint = Callable[[Request], Awaitable[Response]]


class Guarded:
    """A guard around one endpoint, at `/x`."""

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None, key: str = "") -> None:
        self.stream = io.StringIO()
        self.held = HeldBytes(limits or Limits())
        self.telemetry = Telemetry(Metrics())
        routes = [Route("/x", endpoint, methods=["GET", "POST"])]
        router = Router(routes, redirect_slashes=False)
        keys = ApiKeys(frozenset({key} if key else ()))
        self.app = Guard(router, self.held, keys, Log("json", self.stream), self.telemetry)

    def line(self) -> dict[str, Any]:
        (line,) = self.stream.getvalue().splitlines()
        return dict(json.loads(line))


async def plain(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())} bytes")


def ask(guarded: Guarded, ask_asgi: Any, *arguments: Any, **named: Any) -> Any:
    async def once() -> Any:
        return await ask_asgi(guarded.app, *arguments, **named)

    return asyncio.run(once())


def test_an_answer_passes_with_an_id_and_a_line(ask_asgi: Any) -> None:
    guarded = Guarded(plain)
    answer = ask(guarded, ask_asgi, "POST", "/x", [("X-Request-Id", "mine-1")], [b"abc", b"de"])
    assert (answer.status, answer.body) == (200, b"5 bytes")
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    line = guarded.line()
    assert (line["id"], line["method"], line["path"]) == ("mine-1", "POST", "/x")
    assert (line["status"], line["level"]) == (200, "info")
    assert guarded.held.size == 0
    assert 'route="/x",status="200"} 1.0' in guarded.telemetry.metrics.text().decode()


def test_a_strange_id_is_replaced(ask_asgi: Any) -> None:
    answer = ask(Guarded(plain), ask_asgi, "GET", "/x", [("x-request-id", "a b\x7f")], [])
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_a_fault_is_a_500_that_tells_the_log_and_not_the_client(ask_asgi: Any) -> None:
    async def fault(request: Request) -> Response:
        raise KeyError("a secret of the server")

    guarded = Guarded(fault)
    answer = ask(guarded, ask_asgi, "POST", "/x", [], [b"x"])
    assert answer.status == 500
    assert "secret" not in answer.error
    assert answer.headers["x-request-id"] in answer.error
    assert "a secret of the server" in guarded.line()["error"]
    assert any("in fault" in line for line in guarded.line()["where"])


def test_a_full_queue_says_when_to_come_again(ask_asgi: Any) -> None:
    async def full(request: Request) -> Response:
        raise TooManyRequests("full", retry_after=2.1)

    answer = ask(Guarded(full), ask_asgi, "POST", "/x", [], [b"x"])
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/y", 404), ("PUT", "/x", 405), ("GET", "/x/", 404)]
)
def test_what_no_route_has_is_said_in_json(
    method: str, path: str, status: int, ask_asgi: Any
) -> None:
    answer = ask(Guarded(plain), ask_asgi, method, path, [], [])
    assert answer.status == status
    assert "/docs" in answer.error
    if status == 405:
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_a_key_is_asked_for_everywhere_but_at_the_door(ask_asgi: Any) -> None:
    guarded = Guarded(plain, key=KEY)
    refused = ask(guarded, ask_asgi, "GET", "/x", [], [])
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert ask(guarded, ask_asgi, "GET", "/x", [("x-api-key", KEY)], []).status == 200
    for path in ("/", "/live", "/ready", "/docs", "/pages/style.css", "/v2/health/ready"):
        assert ask(guarded, ask_asgi, "GET", path, [], []).status == 404
    for path in ("/metrics", "/v1", "/v2", "/pages", "/nowhere", "//", "/live/"):
        assert ask(guarded, ask_asgi, "GET", path, [], []).status == 401
    assert KEY not in guarded.stream.getvalue()


def test_a_page_of_another_site_may_not_post(ask_asgi: Any) -> None:
    host = ("host", "127.0.0.1:8000")
    for origin, status in [("http://127.0.0.1:8000", 200), ("https://elsewhere.example", 403)]:
        headers = [host, ("origin", origin)]
        assert ask(Guarded(plain), ask_asgi, "POST", "/x", headers, [b""]).status == status


def test_bodies_together_are_bounded(ask_asgi: Any) -> None:
    """Two that hold 600 bytes each, where 1,000 are allowed."""
    guarded = Guarded(plain, Limits(all_bodies_bytes=1000))

    async def both() -> list[int]:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def wait(request: Request) -> Response:
            await request.body()
            entered.set()
            await leave.wait()
            return PlainTextResponse("done")

        slow = Guarded(wait, Limits(all_bodies_bytes=1000))
        first = asyncio.create_task(ask_asgi(slow.app, "POST", "/x", [], [b"a" * 600]))
        await entered.wait()
        assert slow.held.size == 600
        second = await ask_asgi(slow.app, "POST", "/x", [], [b"b" * 300, b"b" * 300])
        assert second.headers["retry-after"] == "1"
        leave.set()
        ended = await first
        third = await ask_asgi(slow.app, "POST", "/x", [], [b"c" * 1000])
        assert slow.held.size == 0
        return [ended.status, second.status, third.status]

    assert asyncio.run(both()) == [200, 503, 200]
    assert ask(guarded, ask_asgi, "POST", "/x", [], [b"x" * 1001]).status == 503
    assert guarded.held.size == 0


def test_the_work_of_a_client_that_left_is_cancelled(ask_asgi: Any) -> None:
    ends = []
    leave = asyncio.Event()

    async def slow(request: Request) -> Response:
        await request.body()
        leave.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return PlainTextResponse("never")

    async def leave_early() -> Any:
        return await ask_asgi(guarded.app, "POST", "/x", [], [b"abc"], leave)

    guarded = Guarded(slow)
    assert asyncio.run(leave_early()).status == 0
    assert ends == ["cancelled"]
    assert guarded.line()["status"] == 499
    assert guarded.held.size == 0


def test_leaving_after_the_answer_cancels_nothing(ask_asgi: Any) -> None:
    done = []
    leave = asyncio.Event()

    async def with_more_to_do(request: Request) -> Response:
        await request.body()
        response = PlainTextResponse("now")

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await response(scope, receive, send)
            leave.set()
            # The leaving is seen, and would cancel this.
            await asyncio.sleep(0.02)
            done.append(True)

        return app  # type: ignore[return-value]

    async def leave_at_once() -> Any:
        return await ask_asgi(guarded.app, "POST", "/x", [], [b"abc"], leave)

    guarded = Guarded(with_more_to_do)
    assert asyncio.run(leave_at_once()).status == 200
    assert done == [True]
    assert guarded.line()["status"] == 200


def test_the_servers_own_cancelling_is_no_client_that_left(ask_asgi: Any) -> None:
    entered = asyncio.Event()

    async def slow(request: Request) -> Response:
        await request.body()
        entered.set()
        await asyncio.sleep(60)
        return PlainTextResponse("never")

    async def stopped() -> None:
        task = asyncio.create_task(ask_asgi(Guarded(slow).app, "POST", "/x", [], [b"abc"]))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())


def test_an_answer_that_breaks_off_gets_no_second_one(ask_asgi: Any) -> None:
    async def broken(request: Request) -> Response:
        async def pieces() -> Any:
            yield b"begun"
            raise ValueError("broken off")

        return StreamingResponse(pieces())

    guarded = Guarded(broken)
    sent: list[Any] = []

    async def run() -> None:
        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b"",
        }  # fmt: skip
        await guarded.app(scope, receive, send)

    asyncio.run(run())
    assert [message["type"] for message in sent].count("http.response.start") == 1


def test_probes_are_logged_only_when_they_fail(application: Any) -> None:
    before = len(application.lines())
    for path in ("/live", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"):
        assert application.ask("GET", path).status == 200
    assert len(application.lines()) == before
