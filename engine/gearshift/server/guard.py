"""What stands between a connection and the routes, for every request alike.

It names the request, asks for the key, counts what bodies hold in memory, ends the work when the
client has gone, turns errors into answers, and writes the log's line. Plain ASGI: a layer of
Starlette's own would cost each request a tenth of a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gearshift.server.auth import ApiKeys, is_cross_site
from gearshift.server.errors import (
    Forbidden,
    RequestError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from gearshift.server.limits import HeldBytes
from gearshift.server.logs import Log, request_id
from gearshift.server.telemetry import Telemetry

OPEN_PATHS = frozenset({"/", "/docs", "/openapi.json", "/live", "/ready"})
OPEN_FOLDERS = ("/pages/", "/v2/health/")
"""What anybody may ask for: pages without data, and whether the server lives."""
QUIET_PATHS = frozenset({"/live", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked for every few seconds by machines: logged only when they fail."""
GONE = 499
"""As which the log has a client that left before its answer; nginx calls it so."""


class Guard:
    """Wraps the application `app`."""

    def __init__(
        self,
        app: ASGIApp,
        held: HeldBytes,
        keys: ApiKeys,
        log: Log,
        telemetry: Telemetry,
    ) -> None:
        self.app = app
        self.held = held
        self._keys = keys
        self._log = log
        self._telemetry = telemetry

    @property
    def asks_for_keys(self) -> bool:
        return bool(self._keys)

    @property
    def traced(self) -> bool:
        """Every request needs its span."""
        return self._telemetry.tracing is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"a {scope['type']} reached an application that has only HTTP")
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        exchange = _Exchange(self.held, request_id(headers.get("x-request-id")), receive, send)
        # Starlette raises, rather than answers, what it finds wrong when it sees an application.
        scope["app"], scope["gearshift.id"] = self, exchange.id
        begun = time.perf_counter()
        error: BaseException | None = None
        with self._telemetry.span(scope["method"], headers):
            try:
                error = await self._run(scope, headers, exchange)
            finally:
                exchange.end()
                self.tell(
                    exchange.id,
                    scope["method"],
                    scope["path"],
                    getattr(scope.get("route"), "path", "none"),
                    GONE if exchange.gone else exchange.status,
                    error,
                    time.perf_counter() - begun,
                )

    async def _run(
        self, scope: Scope, headers: dict[str, str], exchange: _Exchange
    ) -> BaseException | None:
        """The request's end, well or with the error that was answered."""
        try:
            self.admit(scope["method"], scope["path"], headers)
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.gone = True
        except asyncio.CancelledError as error:
            if not exchange.gone:
                raise  # The server's own end, not the client's.
            exchange.task.uncancel()
            return error
        except RequestError as error:
            await exchange.refuse(error.status, str(error), headers_of(error))
            return error
        except HTTPException as error:
            text = _unmatched(scope, error)
            allow = (error.headers or {}).get("Allow")
            await exchange.refuse(error.status_code, text, {"allow": allow} if allow else {})
            return error
        except Exception as error:
            await exchange.refuse(500, fault_text(exchange.id), {})
            return error
        return None

    def admit(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Whether a request may be made at all; names of headers in lower case.

        Raises:
            Unauthorized: without a key of this server's.
            Forbidden: for a page of another site.
        """
        if path not in OPEN_PATHS and not path.startswith(OPEN_FOLDERS):
            self._keys.check(headers)
        if method not in ("GET", "HEAD") and is_cross_site(headers):
            raise Forbidden("a page of another site may not use this server")

    def tell(
        self,
        identity: str,
        method: str,
        path: str,
        route: str,
        status: int,
        error: BaseException | None,
        seconds: float,
    ) -> None:
        """Count a request that is over, and write its line; `route` is the pattern of `path`."""
        self._telemetry.answered(route, method, status, seconds)
        quiet = path in QUIET_PATHS
        if quiet and status < 400:
            return
        values = {
            "id": identity,
            "method": method,
            "path": path,
            "status": status,
            "ms": 1e3 * seconds,
        }
        if status == 500 and error is not None:
            self._log.unexpected("request", error, **values)
            return
        level = "info" if status < 500 or quiet else "warning"
        said = str(error) if isinstance(error, RequestError) else None
        self._log.write("request", level, **values, error=said)


class _Exchange:
    """One request and its answer, as they pass."""

    def __init__(self, held: HeldBytes, identity: str, receive: Receive, send: Send) -> None:
        self.id = identity
        self.status = 0
        """The answer's, once it has begun."""
        self.gone = False
        """The client left before the answer was whole."""
        task = asyncio.current_task()
        assert task is not None, "ASGI calls run in tasks"
        self.task = task
        self._held = held
        self._size = 0
        """Bytes of the body so far."""
        self._receive = receive
        self._send = send
        self._whole = False
        self._watch: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._size += size
            self._held.add(size)
            if not message.get("more_body", False) and self._watch is None:
                self._watch = asyncio.create_task(self._until_gone())
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            common = common_headers(self.id).items()
            message["headers"] = [
                *message.get("headers", ()),
                *((name.encode("ascii"), value.encode("ascii")) for name, value in common),
            ]
        else:
            self._whole = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, status: int, text: str, headers: dict[str, str]) -> None:
        """Answer `{"error": text}`, unless another answer has begun."""
        if self.status:
            return
        head, body = error_answer(text, headers)
        head["content-length"] = str(len(body))
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in head.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body})

    def end(self) -> None:
        self._held.remove(self._size)
        if self._watch is not None:
            self._watch.cancel()

    async def _until_gone(self) -> None:
        """After the body comes nothing but the client's leaving: end the work for it."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._whole:
            self.gone = True
            self.task.cancel()


def common_headers(identity: str) -> dict[str, str]:
    """Of every answer."""
    return {"x-request-id": identity, "x-content-type-options": "nosniff"}


def error_answer(text: str, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Headers, but for the length, and body of an answer that says what is wrong."""
    body = json.dumps({"error": text}).encode()
    return {"content-type": "application/json", "cache-control": "no-store", **headers}, body


def fault_text(identity: str) -> str:
    """What a client is told of a fault of ours."""
    return f"an error of the server's own; its log has it under {identity}"


def headers_of(error: RequestError) -> dict[str, str]:
    """What an error's answer says beside its text."""
    if isinstance(error, TooManyRequests):
        return {"retry-after": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, Unavailable):
        return {"retry-after": "1"}
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    return {}


def _unmatched(scope: Scope, error: HTTPException) -> str:
    """In words of ours what Starlette says of a path or method that no route has."""
    path = scope["path"][:100]
    if error.status_code == 404:
        return f"nothing is at {path!r}: /docs lists what is"
    if error.status_code == 405:
        return f"{scope['method'][:20]} is not what {path!r} takes: /docs lists what is"
    return str(error.detail)
