"""Inference with binary tensors, answered by the connection itself: no ASGI, no task.

What a loaded server does all day are requests of this one form, and right after a run, with cold
caches, each step of a general way through costs several times what it does in a loop. A request
that is in any way out of the ordinary is left to the application, which answers the ordinary ones
just the same.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gearshift.scheduler import Entry
from gearshift.server.errors import RequestError, TimedOut
from gearshift.server.guard import (
    GONE,
    Guard,
    common_headers,
    error_answer,
    fault_text,
    headers_of,
)
from gearshift.server.limits import Limits
from gearshift.server.logs import request_id
from gearshift.server.oip.rest import COMPRESSORS, NEAR_BYTES
from gearshift.server.oip.rest_infer import HEADER_LENGTH, RestRequest, read_infer, write_answer
from gearshift.server.requests import InferAnswer
from gearshift.server.service import Service

Buffers = Sequence[bytes | memoryview]

_TARGET = re.compile(r"/v2/models/([\w.:-]+)(/versions/([\w.-]+))?/infer", re.ASCII)
ALIGNMENT = 16
"""Bytes, as what NumPy allocates has it."""
MOST_KNOWN = 64
"""Heads that are kept."""
_UNUSUAL = frozenset({"content-encoding", "transfer-encoding", "expect", "upgrade"})


@dataclass(frozen=True)
class Head:
    """What line and headers of an ordinary request say."""

    path: str
    model: str
    version: str
    """Empty: the one that is served."""
    headers: Mapping[str, str]
    """Names in lower case."""
    length: int
    """Bytes of the body."""
    json_length: int
    """Of the JSON at its beginning."""
    raw: bytes
    """As they came; empty where they are not to be known again."""

    @property
    def route(self) -> str:
        """The pattern of the path."""
        return f"/v2/models/{{model}}{'/versions/{version}' if self.version else ''}/infer"


class Direct:
    """Of one server; `guard` and `service` are those that its application has."""

    def __init__(self, service: Service, limits: Limits, guard: Guard) -> None:
        self.service = service
        self.limits = limits
        self.guard = guard
        self._known: OrderedDict[bytes, Head] = OrderedDict()
        """Heads as they came: a client says the same before each of its tensors."""

    def begin(
        self,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        answer: SendAnswer,
        raw: bytes,
    ) -> DirectRequest | None:
        """A POST of which line and headers have come; None: it is the application's.

        Args:
            target: as it stands in the request's first line.
            headers: names in lower case.
            answer: called once, with the whole answer, unless the request is `lost`.
            raw: line and headers as they came, for `begin_again`; empty: they are not kept.
        """
        # What holds keys is not kept.
        head = _read_head(target, headers, b"" if self.guard.asks_for_keys else raw)
        if head is None or head.length > self.limits.body_bytes or self.guard.traced:
            return None
        try:
            self.guard.admit("POST", head.path, head.headers)
        except RequestError:
            return None
        if head.raw:
            self._known[head.raw] = head
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return DirectRequest(self, head, answer)

    def begin_again(self, raw: bytes, answer: SendAnswer) -> DirectRequest | None:
        """A request whose line and headers are, byte for byte, those of one that was begun before:
        what was found right then is right now. None: there was no such one."""
        head = self._known.get(raw)
        if head is None:
            return None
        self._known.move_to_end(raw)
        return DirectRequest(self, head, answer)

    def forget(self, head: Head) -> None:
        """The application answers what comes with it."""
        self._known.pop(head.raw, None)


class SendAnswer(Protocol):
    """Puts an answer on its way."""

    def __call__(self, status: int, headers: dict[str, str], body: Buffers) -> None: ...


class DirectRequest:
    """One request, from its headers to its end."""

    def __init__(self, direct: Direct, head: Head, answer: SendAnswer) -> None:
        self._begun = time.perf_counter()
        self._direct = direct
        self._head = head
        self._answer = answer
        # So that the tensor, which comes behind the JSON, can be read where it lies.
        gap = -head.json_length % ALIGNMENT
        self._body = np.empty(gap + head.length, np.uint8).data[gap:]
        self._size = 0
        self._asked: RestRequest | None = None
        self._entry: Entry | None = None
        self._id = request_id(head.headers.get("x-request-id"))
        self.response_complete = False
        self.keep_alive = True

    @property
    def body(self) -> memoryview:
        """As much of it as has come."""
        return self._body[: self._size]

    @property
    def missing(self) -> int:
        """Bytes of the body that have not come."""
        return self._head.length - self._size

    def receive(self, piece: bytes | memoryview) -> None:
        """Take a piece of the body."""
        begin, self._size = self._size, self._size + len(piece)
        self._body[begin : self._size] = piece
        try:
            self._direct.guard.held.add(len(piece))
        except RequestError as error:
            self._refuse(error)

    def received(self) -> bool:
        """The body is whole: let the request wait for its turn.

        False: the application must answer it after all. Then `let_go` is all that is left to do.
        """
        direct, head = self._direct, self._head
        try:
            asked = read_infer(
                direct.service, direct.limits, head.model, head.version, self.body, head.headers
            )
            if not asked.binary:
                direct.forget(head)
                return False
            self._asked = asked
            self._entry = direct.service.submit(asked.infer, self._done)
        except RequestError as error:
            self._refuse(error)
        except Exception as error:
            self._fail(error)
        return True

    def too_slow(self) -> None:
        """The body has not come in time."""
        seconds = self._direct.limits.body_seconds
        self.keep_alive = False
        self._refuse(
            TimedOut(f"the body did not arrive within {seconds:g} s: send it faster, or send less")
        )

    def lost(self) -> None:
        """The client has gone: nobody waits for the answer."""
        if not self.response_complete:
            self._end(GONE, asyncio.CancelledError())

    def _done(self, result: InferAnswer | RequestError) -> None:
        if self.response_complete:
            return
        if isinstance(result, RequestError):
            self._refuse(result)
            return
        assert self._asked is not None
        try:
            body, said = write_answer(self._asked, result)
        except Exception as error:
            self._fail(error)
            return
        self._send(200, said, *body)
        self._end(200, result)

    def _refuse(self, error: RequestError) -> None:
        self._send(error.status, *error_answer(str(error), headers_of(error)))
        self._end(error.status, error)

    def _fail(self, error: Exception) -> None:
        self._send(500, *error_answer(fault_text(self._id), {}))
        self._end(500, error)

    def _send(self, status: int, headers: dict[str, str], *body: bytes | memoryview) -> None:
        self.response_complete = True
        self._answer(status, headers | common_headers(self._id), body)

    def _end(self, status: int, result: InferAnswer | BaseException) -> None:
        self.response_complete = True
        direct = self._direct
        if self._entry is not None:
            direct.service.ended(self._entry, result)
        self.let_go()
        error = result if isinstance(result, BaseException) else None
        seconds = time.perf_counter() - self._begun
        path, route = self._head.path, self._head.route
        direct.guard.tell(self._id, "POST", path, route, status, error, seconds)

    def let_go(self) -> None:
        """Hold nothing any more: the connection keeps this until its next request."""
        self._direct.guard.held.remove(self._size)
        self._size, self._body = 0, memoryview(b"")
        self._asked = self._entry = None


def _read_head(
    target: bytes, raw_headers: Sequence[tuple[bytes, bytes]], raw: bytes
) -> Head | None:
    """None: it is out of the ordinary."""
    found = _TARGET.fullmatch(target.decode("latin-1"))
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in raw_headers}
    json_length = _number(headers.get(HEADER_LENGTH))
    length = _number(headers.get("content-length"))
    if (
        found is None
        or json_length is None
        or length is None
        or not json_length <= length <= NEAR_BYTES
        or len(headers) != len(raw_headers)
        or not _UNUSUAL.isdisjoint(headers)
        or headers.get("accept-encoding", "").strip().lower() in COMPRESSORS
    ):
        return None
    return Head(found[0], found[1], found[3] or "", headers, length, json_length, raw)


def _number(header: str | None) -> int | None:
    """Of bytes; None where it is none, or too large for any request."""
    if header is None or not (header.isascii() and header.isdigit() and len(header) < 10):
        return None
    return int(header)
