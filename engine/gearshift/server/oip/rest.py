"""The protocol over REST: the routes of an application that turns errors into answers.

Endpoints raise `gearshift.server.errors.RequestError`; who mounts them makes the answer
`{"error": ...}` with the error's status, and ends the task of a client that has gone (see
`gearshift.server.guard`).
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gearshift.server.errors import InvalidRequest
from gearshift.server.limits import Limits, inflate, parse_json, read_body
from gearshift.server.oip import describe
from gearshift.server.oip.repository import Repository
from gearshift.server.oip.request import NO_SHARED_MEMORY
from gearshift.server.oip.rest_infer import (
    HEADER_LENGTH,
    RestRequest,
    read_infer,
    write_answer,
)
from gearshift.server.service import Service

T = TypeVar("T")

NEAR_BYTES = 10**6
"""Binary bodies up to this are read on the event loop: a thread would cost more."""
NEAR_JSON_BYTES = 2 * 10**4
NEAR_NUMBERS = 2_000
"""The same for numbers written as JSON."""
SMALL_BODY = 10**5
"""Bytes of a body that is no inference."""
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, compresslevel=1, mtime=0),
    "deflate": lambda body: zlib.compress(body, level=1),
}


class Rest:
    """The endpoints of one service.

    Args:
        service: what they ask.
        limits: of each request.
        allow_repository: whether clients may load and unload models.
    """

    def __init__(self, service: Service, limits: Limits, allow_repository: bool = False) -> None:
        self._service = service
        self._limits = limits
        self._repository = Repository(service, allow_repository)

    def routes(self) -> list[Route]:
        """All of them."""
        models = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        # Routes are tried one after another: those asked for most come first.
        made = [Route(f"{model}/infer", _Asgi(self.infer), methods=["POST"]) for model in models]
        made += [
            Route("/v2", self.server_metadata, methods=["GET"]),
            Route("/v2/health/live", self.server_live, methods=["GET"]),
            Route("/v2/health/ready", self.server_ready, methods=["GET"]),
            Route("/v2/models/stats", self.model_statistics, methods=["GET"]),
            Route("/v2/repository/index", self.repository_index, methods=["POST"]),
            Route("/v2/repository/models/{model}/load", self.load, methods=["POST"]),
            Route("/v2/repository/models/{model}/unload", self.unload, methods=["POST"]),
        ]
        for model in models:
            made += [
                Route(model, self.model_metadata, methods=["GET"]),
                Route(f"{model}/ready", self.model_ready, methods=["GET"]),
                Route(f"{model}/config", self.model_config, methods=["GET"]),
                Route(f"{model}/stats", self.model_statistics, methods=["GET"]),
            ]
        for kind in ("systemsharedmemory", "cudasharedmemory"):
            path = f"/v2/{kind}/{{rest:path}}"
            made.append(Route(path, self.shared_memory, methods=["GET", "POST"]))
        return made

    async def server_metadata(self, request: Request) -> Response:
        return JSONResponse(describe.server_metadata())

    async def server_live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def server_ready(self, request: Request) -> Response:
        return _ready(self._service.ready, {"ready": self._service.ready})

    async def model_ready(self, request: Request) -> Response:
        name, version = _name(request)
        ready = describe.is_ready(self._service, name, version)
        return _ready(ready, {"name": name, "ready": ready})

    async def model_metadata(self, request: Request) -> Response:
        return JSONResponse(describe.model_metadata(self._service, *_name(request)))

    async def model_config(self, request: Request) -> Response:
        return JSONResponse(describe.model_config(self._service, *_name(request)))

    async def model_statistics(self, request: Request) -> Response:
        return JSONResponse(describe.model_statistics(self._service, *_name(request)))

    async def repository_index(self, request: Request) -> Response:
        asked = await self._small_body(request)
        return JSONResponse(self._repository.index(only_ready=asked.get("ready") is True))

    async def load(self, request: Request) -> Response:
        parameters = (await self._small_body(request)).get("parameters")
        await self._repository.load(request.path_params["model"], parameters)
        return Response()

    async def unload(self, request: Request) -> Response:
        await self._small_body(request)
        await self._repository.unload(request.path_params["model"])
        return Response()

    async def shared_memory(self, request: Request) -> Response:
        raise InvalidRequest(NO_SHARED_MEMORY)

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as plain ASGI; raises what `read_infer` and the service raise."""
        request = Request(scope, receive)
        asked = await self._read_infer(request)
        answer = await self._service.infer(asked.infer)
        compressor = _compressor(request)
        slow = not asked.binary and answer.output.size > NEAR_NUMBERS
        pieces, said = await _run(
            lambda: _written(write_answer(asked, answer), compressor),
            far=slow or compressor is not None,
        )
        if compressor is not None:
            said["content-encoding"] = compressor
        await _send(send, pieces, said)

    async def _read_infer(self, request: Request) -> RestRequest:
        name, version = _name(request)
        body = await read_body(request, self._limits)
        headers = request.headers
        return await _run(
            lambda: read_infer(self._service, self._limits, name, version, body, headers),
            far=_is_slow_to_read(request, len(body)),
        )

    async def _small_body(self, request: Request) -> dict[str, Any]:
        """A body of an object, or none."""
        body = await read_body(request, self._limits)
        body = inflate(body, request.headers.get("content-encoding", "").lower(), self._limits)
        if len(body) > SMALL_BODY:
            raise InvalidRequest(f"the body has {len(body):,} bytes: {SMALL_BODY:,} are enough")
        asked = parse_json(body, self._limits) if body.strip() else {}
        if not isinstance(asked, dict):
            raise InvalidRequest("the body: give a JSON object, or nothing")
        return asked


class _Asgi:
    """Starlette takes a function for an endpoint that returns a response, an object for an
    application that sends it itself."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


def _name(request: Request) -> tuple[str, str]:
    """Model and version in the path; empty where there are none."""
    return request.path_params.get("model", ""), request.path_params.get("version", "")


def _ready(ready: bool, said: dict[str, Any]) -> Response:
    return JSONResponse(said, status_code=200 if ready else 503)


def _is_slow_to_read(request: Request, size: int) -> bool:
    compressed = "content-encoding" in request.headers
    binary = HEADER_LENGTH in request.headers
    return compressed or size > (NEAR_BYTES if binary else NEAR_JSON_BYTES)


def _compressor(request: Request) -> str | None:
    """The encoding that the client asks for, if it asks for one and no other.

    Many clients and all browsers list every encoding they know with each request. Compressing
    megabytes of floats for them would cost more than sending those.
    """
    accepted = request.headers.get("accept-encoding", "").strip().lower()
    return accepted if accepted in COMPRESSORS else None


def _written(
    answer: tuple[list[bytes | memoryview], dict[str, str]], compressor: str | None
) -> tuple[Sequence[bytes | memoryview], dict[str, str]]:
    pieces, headers = answer
    return (pieces if compressor is None else [COMPRESSORS[compressor](b"".join(pieces))]), headers


async def _send(send: Send, pieces: Sequence[bytes | memoryview], said: dict[str, str]) -> None:
    """An answer whose pieces are never put together: tensors are large."""
    length = sum(len(piece) for piece in pieces)
    headers = [(name.encode(), value.encode()) for name, value in said.items()]
    headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in pieces:
        last = piece is pieces[-1]
        # Ray's proxy pickles what is sent, which a memoryview is not made for.
        await send({"type": "http.response.body", "body": bytes(piece), "more_body": not last})


async def _run(work: Callable[[], T], far: bool) -> T:
    """On a thread of the pool if it is long work, else here."""
    return await asyncio.to_thread(work) if far else work()


def routes(service: Service, limits: Limits, allow_repository: bool = False) -> list[Route]:
    """The protocol's routes; see `Rest`."""
    return Rest(service, limits, allow_repository).routes()
