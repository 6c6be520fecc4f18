"""HTTP connections that cannot be held or filled for nothing.

uvicorn's parser has no bound on headers, no time-out before the first answer and none for a client
that does not read. These are added here, below the application: a refused connection costs a few
hundred bytes and no task.

Requests with binary tensors are taken out here for `gearshift.server.direct`; one whose line and
headers have come before, byte for byte, is not parsed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gearshift.server.direct import Buffers, Direct, DirectRequest
from gearshift.server.guard import error_answer
from gearshift.server.limits import Limits

LONGEST_HEAD = 2_000
"""Bytes of line and headers that are compared with those that came before."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol under `limits`; see `guarded`."""

    limits = Limits()
    direct: Direct | None = None
    """Takes the requests that need no application."""

    _request: DirectRequest | None = None
    """One that it has taken, until it is answered."""

    _head = b""
    """Line and headers of a message that came in one piece with the beginning of its body."""
    _body_left = 0
    """Bytes to come of a body that does not go through the parser."""
    _in_headers = True
    _header_bytes = 0
    """Received of headers that have not ended."""
    _messages = 0
    """Requests that were received whole."""
    _discarded_bytes = 0
    """Received of a body after its answer was sent."""
    _refusal = (400, "the request is not valid HTTP/1.1")
    _read_timer: asyncio.TimerHandle | None = None
    """Runs while a client owes us the rest of something, and no request of its is at work."""
    _write_timer: asyncio.TimerHandle | None = None
    """Runs while a client does not take the answer in."""

    @property
    def _received(self) -> DirectRequest | None:
        """`_request`, unless another has come behind it: what uvicorn calls the cycle is the
        newest."""
        return self._request if cast(object, self.cycle) is self._request else None

    @property
    def _answered(self) -> bool:
        """Nothing that came is still at work."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _idle(self) -> bool:
        """Every answer so far has gone."""
        return self._answered and not self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, f"more than {self.limits.connections} connections: try again later")
        else:
            self._arm_read_timer(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_read_timer()
        self._disarm_write_timer()
        if self._request is not None:
            self._request.lost()
            self._request = None
        if isinstance(cast(object, self.cycle), DirectRequest):
            self.cycle = None  # type: ignore[assignment]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        rest = memoryview(data)
        while len(rest) and not self.transport.is_closing():
            rest = self._receive(rest)

    def _receive(self, data: memoryview) -> memoryview:
        """Take in a piece of one message, or all there is; what is left of it."""
        messages, rest = self._messages, memoryview(b"")
        if self._body_left:
            rest = self._receive_body(data)
        elif self._begins_again(data):
            rest = self._receive_body(data[len(self._head) :])
        else:
            super().data_received(cast(bytes, data))
        if self.transport.is_closing():
            return rest
        if self._in_headers and messages == self._messages:
            # Else some of it was a body; what follows that in one read is little.
            self._header_bytes += len(data)
            if self._header_bytes > self.limits.header_bytes:
                self._refuse(431, self._headers_too_long())
                return rest
        limits = self.limits
        if not self._in_headers:
            # An application waits for the body itself.
            if self._answered or self._received:
                self._arm_read_timer(limits.body_seconds)
        elif self._answered and messages == self._messages:
            self._arm_read_timer(limits.header_seconds)
        return rest

    def on_message_begin(self) -> None:
        self._in_headers, self._header_bytes, self._discarded_bytes = True, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._disarm_read_timer()
        head, self._head = self._head, b""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes:
            self._refusal = 431, self._headers_too_long()
            # The parser passes it on as its own error, which ends in `send_400_response`.
            raise ValueError("headers are too long")
        if not self._begins_directly(head):
            super().on_headers_complete()

    def _begins_directly(self, head: bytes) -> bool:
        if not self._idle or self.direct is None:
            return False
        if self.parser.get_method() != b"POST" or not self.parser.should_keep_alive():
            return False
        known = head if is_whole(head, len(self.headers)) else b""
        return self._take(self.direct.begin(self.url, self.headers, self._answer, known))

    def _begins_again(self, data: memoryview) -> bool:
        """Whether a request with known line and headers begins here, that needs no parser."""
        self._head = b""
        if self.direct is None or not self._in_headers or self._header_bytes:
            return False
        head, end, _ = bytes(data[:LONGEST_HEAD]).partition(b"\r\n\r\n")
        if not end or not head.startswith(b"POST "):
            return False
        self._head = head + end
        if not self._idle:
            return False
        request = self.direct.begin_again(self._head, self._answer)
        if request is not None:
            self._disarm_read_timer()
            self._in_headers, self._body_left = False, request.missing
        return self._take(request)

    def _take(self, request: DirectRequest | None) -> bool:
        """Whether it is one that needs no application."""
        self._request = request
        if request is not None:
            self.cycle = request  # type: ignore[assignment]
        return request is not None

    def _receive_body(self, data: memoryview) -> memoryview:
        """A piece of a body that needs no parser; what follows it."""
        self._unset_keepalive_if_required()
        piece = data[: self._body_left]
        self._body_left -= len(piece)
        if request := self._received:
            request.receive(piece)
        if not self._body_left and (request := self._complete()):
            whole = self._head + request.body
            request.let_go()
            super().data_received(whole)
        return data[len(piece) :]

    def _answer(self, status: int, headers: Mapping[str, str], body: Buffers) -> None:
        """The whole answer of `_request`."""
        assert self._request is not None
        keep_alive = self._request.keep_alive
        self._request = None
        if not self.transport.is_closing():
            self._write(status, headers, body, keep_alive)
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        if request := self._received:
            request.receive(body)
            return
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > self.limits.body_bytes:
                self.transport.abort()

    def on_message_complete(self) -> None:
        if request := self._complete():
            super().on_headers_complete()
            super().on_body(bytes(request.body))
            request.let_go()
        if not self._received:
            super().on_message_complete()

    def _complete(self) -> DirectRequest | None:
        """A message has come whole. One that is the application's after all is returned, and is as
        if it had not begun."""
        self._in_headers, self._header_bytes = True, 0
        self._messages += 1
        self._disarm_read_timer()
        request = self._received
        if request is None or request.received():
            return None
        self._request = self.cycle = None  # type: ignore[assignment]
        return request

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._disarm_write_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._refusal)

    def _refuse(self, status: int, text: str) -> None:
        headers, body = error_answer(text, {})
        self._write(status, headers, [body], keep_alive=False)

    def _write(
        self, status: int, headers: Mapping[str, str], body: Buffers, keep_alive: bool
    ) -> None:
        lines = [STATUS_LINE[status]]
        for raw_name, raw_value in self.server_state.default_headers:
            lines += [raw_name, b": ", raw_value, b"\r\n"]
        length = sum(len(piece) for piece in body)
        said = [f"{name}: {value}\r\n" for name, value in headers.items()]
        said.append(f"content-length: {length}\r\n")
        said.append("\r\n" if keep_alive else "connection: close\r\n\r\n")
        lines.append("".join(said).encode("latin-1"))
        self.transport.writelines([b"".join(lines), *body])
        if not keep_alive:
            self.transport.close()

    def _headers_too_long(self) -> str:
        return f"the request's line and headers have over {self.limits.header_bytes:,} bytes"

    def _arm_read_timer(self, seconds: float) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._read_timer = None
        if self._request is not None and not self._in_headers:
            self._request.too_slow()
        elif self._in_headers and self._header_bytes:
            self._refuse(408, f"the headers did not end within {self.limits.header_seconds:g} s")
        else:
            self.transport.close()

    def _disarm_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _disarm_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def is_whole(head: bytes, headers: int) -> bool:
    """Whether line and headers end where a parser ends them that has found so many headers: it
    may take other ends of lines than ours."""
    return head.count(b"\n") == head.count(b"\r\n") == headers + 2


def guarded(limits: Limits, direct: Direct | None = None) -> type[GuardedProtocol]:
    """uvicorn makes protocols itself, without arguments of ours: a class for these."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits, "direct": direct})
