"""HTTP connections that cannot be held or filled for nothing.

uvicorn's parser has no bound on headers, no time-out before the first answer and none for a client
that does not read. These are added here, below the application: a refused connection costs a few
hundred bytes and no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gearshift.server.direct import Buffers, Direct, DirectRequest
from gearshift.server.guard import error_answer
from gearshift.server.limits import Limits


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol under `limits`; see `guarded`."""

    limits = Limits()
    direct: Direct | None = None
    """Takes the requests that need no application."""

    _request: DirectRequest | None = None
    """One that it has taken, until it is answered."""

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
        if self.transport.is_closing():
            return
        messages = self._messages
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers and messages == self._messages:
            # Else some of it was a body; what follows that in one read is little.
            self._header_bytes += len(data)
            if self._header_bytes > self.limits.header_bytes:
                self._refuse(431, self._headers_too_long())
                return
        limits = self.limits
        answered = self.cycle is None or self.cycle.response_complete
        if not self._in_headers:
            # An application waits for the body itself.
            if answered or self._received:
                self._arm_read_timer(limits.body_seconds)
        elif answered and messages == self._messages:
            self._arm_read_timer(limits.header_seconds)

    def on_message_begin(self) -> None:
        self._in_headers, self._header_bytes, self._discarded_bytes = True, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._disarm_read_timer()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes:
            self._refusal = 431, self._headers_too_long()
            # The parser passes it on as its own error, which ends in `send_400_response`.
            raise ValueError("headers are too long")
        if not self._begins_directly():
            super().on_headers_complete()

    def _begins_directly(self) -> bool:
        idle = self.cycle is None or self.cycle.response_complete
        if self.direct is None or not idle or self.flow.write_paused:
            return False
        if self.parser.get_method() != b"POST" or not self.parser.should_keep_alive():
            return False
        self._request = self.direct.begin(self.url, self.headers, self._answer)
        if self._request is None:
            return False
        self.cycle = self._request  # type: ignore[assignment]
        return True

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
        self._in_headers, self._header_bytes = True, 0
        self._messages += 1
        self._disarm_read_timer()
        if request := self._received:
            if request.received():
                return
            # The application's after all: as if it had begun only now.
            self._request = self.cycle = None  # type: ignore[assignment]
            super().on_headers_complete()
            super().on_body(bytes(request.body))
            request.let_go()
        super().on_message_complete()

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


def guarded(limits: Limits, direct: Direct | None = None) -> type[GuardedProtocol]:
    """uvicorn makes protocols itself, without arguments of ours: a class for these."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits, "direct": direct})
