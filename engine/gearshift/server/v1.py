"""`/v1`: a picture in, a picture or a few numbers out, for people with curl and for the playground.

`curl --data-binary @photo.jpg localhost:8000/v1/demo/depth -o depth.png`, or
`curl -F image=@photo.jpg 'localhost:8000/v1/demo/depth?format=json'`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gearshift.errors import InputError
from gearshift.graph.card import Card, TaskCard
from gearshift.pictures import load_pictures
from gearshift.results import make_result
from gearshift.server import picture_answer
from gearshift.server.errors import (
    InvalidRequest,
    NotFound,
    TimedOut,
    TooManyRequests,
    Unavailable,
)
from gearshift.server.forms import form_file, is_form
from gearshift.server.limits import Limits, decode_picture, inflate, read_body
from gearshift.server.service import InferAnswer, InferRequest, ModelInfo, Service

Form = Literal["png", "json"]
T = TypeVar("T")

PICTURE_THREADS = 2
"""Pictures decoded or encoded at a time: each may take several times `Limits.image_pixels` bytes.
"""
MOST_PICTURES = 32
"""That wait to be decoded."""
MOST_SECONDS = 3600.0
"""Of `timeout`."""


@dataclass(frozen=True)
class Wish:
    """How the client wants its answer."""

    form: Form
    with_picture: bool
    """In the JSON, as a data URL."""
    at_model_size: bool
    timeout: float | None
    """Seconds."""
    priority: int


class Pictures:
    """The two endpoints of `/v1`, and the threads that keep pictures off the event loop."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service = service
        self._limits = limits
        self._threads = ThreadPoolExecutor(PICTURE_THREADS, "pictures")
        self._decoding = 0
        self._decode_seconds = 0.0
        """Of the last picture."""

    def routes(self) -> list[Route]:
        return [
            Route("/v1", self.models, methods=["GET"]),
            Route("/v1/{model}/{task}", self.picture, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        """The models and their tasks."""
        models = [_described(model) for model in self._service.models()]
        return _json({"models": models})

    async def picture(self, request: Request) -> Response:
        """One task of the picture in the body."""
        begun = time.monotonic()
        wish = read_wish(request.query_params, request.headers.get("accept", ""))
        card, task = self._task(request.path_params["model"], request.path_params["task"])
        if wish.form == "png" and not picture_answer.has_picture(task.kind):
            raise InvalidRequest(
                f"the {task.kind} of task {task.name} have no picture: ask for ?format=json"
            )
        (image, size), decode = await self._read(request, card)
        answer = await self._service.infer(
            InferRequest(
                model=request.path_params["model"],
                task=task.name,
                image=image,
                priority=wish.priority,
                timeout=_rest(wish.timeout, time.monotonic() - begun),
                id=request.scope.get("gearshift.id", ""),
            )
        )
        (content, description), encode = await self._timed(
            lambda: _encode(answer, wish, None if wish.at_model_size else size)
        )
        seconds = {
            "decode": decode,
            "queue": answer.queue_seconds,
            "compute": answer.compute_seconds,
            "encode": encode,
        }
        timing = {part: round(1e3 * taken, 3) for part, taken in seconds.items()}
        headers = {
            "cache-control": "no-store",
            "server-timing": ", ".join(f"{part};dur={taken}" for part, taken in timing.items()),
        }
        if wish.form == "png":
            return Response(content, media_type="image/png", headers=headers)
        return _json({**description, "timing_ms": timing}, headers)

    def _task(self, model: str, task: str) -> tuple[Card, TaskCard]:
        """Raises NotFound or Unavailable before any of the body is read."""
        info = self._service.model(model)
        if info.card is None:
            raise Unavailable(f"model {model} is not ready: {info.reason or info.state.lower()}")
        for known in info.card.tasks:
            if known.name == task:
                return info.card, known
        tasks = ", ".join(known.name for known in info.card.tasks)
        raise NotFound(f"model {model} has no task {task[:100]!r}: it has {tasks}")

    async def _read(
        self, request: Request, card: Card
    ) -> tuple[tuple[NDArray[np.float32], tuple[int, int]], float]:
        """What `_decode` makes of the body, and its seconds; the body is not kept.

        Raises:
            TooManyRequests: too many pictures wait to be decoded.
        """
        body = await read_body(request, self._limits)
        if self._decoding >= MOST_PICTURES + PICTURE_THREADS:
            seconds = self._decode_seconds * self._decoding / PICTURE_THREADS
            raise TooManyRequests(
                f"{MOST_PICTURES} pictures wait to be decoded, and no more may: try again in "
                f"{seconds:.3f} s",
                seconds,
            )
        self._decoding += 1
        try:
            read, seconds = await self._timed(lambda: self._decode(body, request.headers, card))
        finally:
            self._decoding -= 1
        self._decode_seconds = seconds
        return read, seconds

    def _decode(
        self, body: bytes, headers: Mapping[str, str], card: Card
    ) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """The body's picture, normalised at the model's size, and its own (width, height)."""
        data = inflate(body, headers.get("content-encoding", "").strip().lower(), self._limits)
        content_type = headers.get("content-type", "")
        if is_form(content_type):
            data = form_file(data, content_type)
        picture = decode_picture(data, self._limits)
        try:
            return load_pictures(picture, card), picture.size
        except InputError as error:
            raise InvalidRequest(str(error)) from None

    async def _timed(self, work: Callable[[], T]) -> tuple[T, float]:
        """Work for a picture thread, and its seconds there."""

        def timed() -> tuple[T, float]:
            begun = time.perf_counter()
            return work(), time.perf_counter() - begun

        return await asyncio.get_running_loop().run_in_executor(self._threads, timed)


def read_wish(query: Mapping[str, str], accept: str) -> Wish:
    """The query's parameters; the form also by the header Accept, where the query has none.

    Raises:
        InvalidRequest: an unknown parameter, or a value that means nothing.
    """
    known = {"format", "picture", "size", "timeout", "priority"}
    if unknown := sorted(set(query) - known):
        raise InvalidRequest(
            f"query parameter {unknown[0][:40]!r} is not known: use {', '.join(sorted(known))}"
        )
    form = _choice(query, "format", ("png", "json"), _accepted(accept))
    timeout = _number(query, "timeout", float)
    if timeout is not None and not 0 < timeout <= MOST_SECONDS:
        raise InvalidRequest(f"timeout {timeout:g}: give seconds, over 0, at most {MOST_SECONDS:g}")
    return Wish(
        form="json" if form == "json" else "png",
        with_picture=_choice(query, "picture", ("true", "false"), "false") == "true",
        at_model_size=_choice(query, "size", ("input", "model"), "input") == "model",
        timeout=timeout,
        priority=_number(query, "priority", int) or 0,
    )


def _rest(timeout: float | None, spent: float) -> float | None:
    """What is left of a request's time. Raises TimedOut where nothing is."""
    if timeout is None:
        return None
    if spent >= timeout:
        raise TimedOut(f"receiving and decoding the picture took {spent:.3f} s, as long as it may")
    return timeout - spent


def _accepted(accept: str) -> Form:
    """JSON where the client prefers it to pictures, else PNG."""
    quality = {"application/json": 0.0, "image/png": 0.0}
    for entry in accept.lower().split(",")[:32]:
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        for name in quality:
            if kind in (name, name.partition("/")[0] + "/*", "*/*"):
                quality[name] = max(quality[name], weight)
    return "json" if quality["application/json"] > quality["image/png"] else "png"


def _choice(query: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    value = query.get(name, default)
    if value not in choices:
        raise InvalidRequest(f"{name} {value[:40]!r} is not known: use {' or '.join(choices)}")
    return value


def _number(query: Mapping[str, str], name: str, kind: type[int] | type[float]) -> Any:
    text = query.get(name)
    if text is None:
        return None
    try:
        return kind(text[:20])
    except ValueError:
        raise InvalidRequest(f"{name} {text[:40]!r} is no number") from None


def _encode(
    answer: InferAnswer, wish: Wish, size: tuple[int, int] | None
) -> tuple[bytes, dict[str, Any]]:
    """The PNG (empty where none was asked for), and what the JSON says."""
    result = make_result(answer.output, answer.task)
    shown = picture_answer.has_picture(answer.task.kind)
    if wish.form == "png":
        return picture_answer.png(result, size), {}
    description = {
        "model": answer.model,
        "version": answer.version,
        "task": answer.task.name,
        **picture_answer.described(result),
        "batch_size": answer.batch,
        "switched": answer.switched,
        "experts": answer.experts and dict(answer.experts),
    }
    if wish.with_picture:
        url = picture_answer.data_url(picture_answer.png(result, size)) if shown else None
        description["picture"] = url
    return b"", description


def _described(model: ModelInfo) -> dict[str, Any]:
    """A model as `/v1` lists it."""
    card = model.card
    tasks = [] if card is None else [_task_described(task) for task in card.tasks]
    size = None if card is None else {"height": card.image_height, "width": card.image_width}
    return {
        "name": model.name,
        "version": model.version,
        "state": model.state,
        "reason": model.reason,
        "backend": model.backend,
        "precision": model.precision,
        "image": size,
        "tasks": tasks,
    }


def _task_described(task: TaskCard) -> dict[str, Any]:
    return {"name": task.name, "kind": task.kind.value, "unit": task.unit, "labels": task.labels}


def _json(answer: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    content = picture_answer.to_json(answer)
    return Response(content, media_type="application/json", headers=headers)
