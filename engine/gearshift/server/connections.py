"""HTTP connections that cannot be held or filled for nothing.

uvicorn's parser has no bound on headers, no time-out before the first answer and none for a client
that does not read. These are added here, below the application: a refused connection costs a few
hundred bytes and no task.
"""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gearshift.server.limits import Limits


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol under `limits`; see `guarded`."""

    limits = Limits()

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, f"more than {self.limits.connections} connections: try again later")
        else:
            self._arm_read_timer(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_read_timer()
        self._disarm_write_timer()
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
        if self.cycle is None or self.cycle.response_complete:
            limits = self.limits
            self._arm_read_timer(limits.header_seconds if self._in_headers else limits.body_seconds)

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
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > self.limits.body_bytes:
                self.transport.abort()

    def on_message_complete(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        self._messages += 1
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
        body = json.dumps({"error": text}).encode()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\nconnection: close\r\ncontent-length: "
            + str(len(body)).encode()
            + b"\r\n\r\n"
            + body
        )
        self.transport.close()

    def _headers_too_long(self) -> str:
        return f"the request's line and headers have over {self.limits.header_bytes:,} bytes"

    def _arm_read_timer(self, seconds: float) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._read_timer = None
        if self._in_headers and self._header_bytes:
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


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """uvicorn makes protocols itself, without arguments of ours: a class for these limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})
