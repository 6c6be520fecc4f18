"""The least that a client of the protocol's REST form with binary tensors can cost.

A load driver shares the machine with the server it measures, so that it must be cheap: requests
are encoded once, connections are kept, and of an answer only its head is read.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast
from urllib.parse import quote

from gearshift.server.loopback import send_unpaced
from gearshift_bench.serve.drive import PATIENCE
from gearshift_bench.serve.outcome import Reply, TimedReply
from gearshift_bench.serve.payload import Payload, read_answer

MOST_HEADER_BYTES = 64_000
"""Of an answer."""
MOST_BODY_BYTES = 16_000_000
"""Kept of an answer that is no inference."""
KEPT_BYTES = 8_192
"""Of one that is: more than its header."""
READ_BYTES = 2**20

_HEADER_LENGTH = b"inference-header-content-length"


class Exchange:
    """One answer as it arrives: status and headers, then a body of which the beginning is kept."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._received = bytearray()
        self._left: int | None = None
        """Bytes of the body still to come; None while headers arrive."""
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.length = 0
        """Of the body."""
        self.body = bytearray()
        """Its beginning."""

    @property
    def complete(self) -> bool:
        return self._left == 0

    def feed(self, data: bytes | memoryview) -> None:
        """Raises ValueError for what is no such answer."""
        while self._left is None:
            if not data:
                return
            before = len(self._received)
            # A tensor is behind it: only its beginning is looked at for the head's end.
            self._received += data[:KEPT_BYTES]
            end = self._received.find(b"\r\n\r\n")
            if end >= 0:
                self._read_head(bytes(self._received[:end]))
                data = data[end + 4 - before :]
            elif len(self._received) > MOST_HEADER_BYTES:
                raise ValueError("headers too long")
            else:
                data = data[KEPT_BYTES:]
        if len(data) > self._left:
            raise ValueError("more bytes than announced")
        self._left -= len(data)
        self.body += data[: max(self._keep - len(self.body), 0)]

    def _read_head(self, head: bytes) -> None:
        status, *lines = head.split(b"\r\n")
        self.status = int(status.split(b" ", 2)[1])
        for line in lines:
            name, _, value = line.partition(b":")
            self.headers[name.strip().lower()] = value.strip()
        self.length = self._left = int(self.headers[b"content-length"])


class Connection(asyncio.BufferedProtocol):
    """One kept connection, one exchange at a time."""

    def __init__(self, buffer: memoryview) -> None:
        """`buffer` may be shared: what is read into it is done with at once."""
        self._buffer = buffer
        self._transport: asyncio.Transport | None = None
        self._exchange = Exchange(0)
        self._done: asyncio.Future[Exchange] | None = None
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._done is None or self._done.done():
            self.close()
            return
        try:
            self._exchange.feed(self._buffer[:nbytes])
        except (ValueError, KeyError, IndexError) as error:
            self.close()
            self._done.set_exception(ConnectionAbortedError(0, f"no such answer: {error}"))
            return
        if self._exchange.complete:
            if self._exchange.headers.get(b"connection", b"").lower() == b"close":
                self.close()
            self._done.set_result(self._exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError(0, "closed before the answer"))

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, request: bytes, keep: int) -> Exchange:
        """Send and wait; a caller that gives up closes the connection.

        Raises:
            OSError: the connection ended before the answer did.
        """
        assert self._transport is not None
        self._exchange = Exchange(keep)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._done
        except asyncio.CancelledError:
            self.close()
            raise


class HttpClient:
    """A server's REST form; as many connections as requests are on their way."""

    def __init__(self, host: str, port: int, tls: bool = False, api_key: str | None = None) -> None:
        self._host = host
        self._port = port
        self._tls = ssl.create_default_context() if tls else None
        self._key = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        self._idle: list[Connection] = []
        self._blocking: list[socket.socket] = []
        self._buffer = memoryview(bytearray(READ_BYTES))

    async def models(self) -> list[str]:
        """Names of the models that are ready.

        Raises:
            OSError: no answer, or not a good one.
        """
        index = json.loads(await self.ask("POST", "/v2/repository/index"))
        return [model["name"] for model in index if model["state"] == "READY"]

    async def config(self, model: str) -> dict[str, Any]:
        """A model's configuration. Raises OSError."""
        path = f"/v2/models/{quote(model, safe='')}/config"
        config: dict[str, Any] = json.loads(await self.ask("GET", path))
        return config

    async def ask(self, method: str, path: str) -> bytes:
        """The body of the answer to a request without one.

        Raises:
            OSError: no answer, or one that is not 200.
        """
        request = f"{method} {path} HTTP/1.1\r\n{self._common()}content-length: 0\r\n\r\n"
        answer = await self._exchange(request.encode(), keep=MOST_BODY_BYTES)
        if answer.status != 200:
            raise ConnectionRefusedError(0, f"{path} answers {answer.status}: {_text(answer)}")
        return bytes(answer.body)

    def prepare(self, model: str, payloads: dict[str, Payload]) -> Callable[[str], Any]:
        """Encode the request of each task; the function that sends one and waits for its end."""
        encoded = self._encoded(model, payloads)

        async def send(task: str) -> Reply:
            return _read(await self._exchange(encoded[task], KEPT_BYTES))

        return send

    def prepare_blocking(
        self, model: str, payloads: dict[str, Payload]
    ) -> Callable[[str], TimedReply]:
        """The same for one request at a time, without what an event loop costs the client; the
        function raises OSError."""
        encoded = self._encoded(model, payloads)
        connection = self._endpoint()
        connection.settimeout(PATIENCE)
        connection.connect(self._address)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_hostname=self._host)
        self._blocking.append(connection)
        buffer = self._buffer

        def send(task: str) -> TimedReply:
            answer = Exchange(KEPT_BYTES)
            begin = time.perf_counter()
            connection.sendall(encoded[task])
            try:
                while not answer.complete:
                    count = connection.recv_into(buffer)
                    if not count:
                        raise ConnectionResetError(0, "closed before the answer")
                    answer.feed(buffer[:count])
            except (ValueError, KeyError, IndexError) as error:
                raise ConnectionAbortedError(0, f"no such answer: {error}") from None
            seconds = time.perf_counter() - begin
            return seconds, _read(answer)

        return send

    def _encoded(self, model: str, payloads: dict[str, Payload]) -> dict[str, bytes]:
        path = f"/v2/models/{quote(model, safe='')}/infer"
        return {task: self._encode(path, payload) for task, payload in payloads.items()}

    def _encode(self, path: str, payload: Payload) -> bytes:
        header = json.dumps(payload.header()).encode()
        body = header + payload.tensor
        head = (
            f"POST {path} HTTP/1.1\r\n{self._common()}"
            "content-type: application/octet-stream\r\n"
            f"inference-header-content-length: {len(header)}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _common(self) -> str:
        return f"host: {self._host}:{self._port}\r\n{self._key}"

    async def _exchange(self, request: bytes, keep: int) -> Exchange:
        connection = self._take()
        if connection is None:
            connection = await self._open()
        answer = await connection.exchange(request, keep)
        if connection.usable:
            self._idle.append(connection)
        return answer

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        endpoint = self._endpoint()
        endpoint.setblocking(False)
        try:
            await loop.sock_connect(endpoint, self._address)
            _, connection = await loop.create_connection(
                lambda: Connection(self._buffer),
                sock=endpoint,
                ssl=self._tls,
                server_hostname=None if self._tls is None else self._host,
            )
        except BaseException:
            endpoint.close()
            raise
        return connection

    def _endpoint(self) -> socket.socket:
        """To be connected to `_address`."""
        host = self._address[0]
        endpoint = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send_unpaced(endpoint, host)
        return endpoint

    @cached_property
    def _address(self) -> Any:
        """Where the server answers, out of the addresses that its name may have."""
        with socket.create_connection((self._host, self._port), timeout=PATIENCE) as connection:
            return connection.getpeername()

    def _take(self) -> Connection | None:
        """The connection used last: the others may idle until the server closes them."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def close(self) -> None:
        """End every connection that nobody waits for."""
        while self._idle:
            self._idle.pop().close()
        while self._blocking:
            self._blocking.pop().close()
        # The loop closes their sockets in its next round.
        await asyncio.sleep(0)


def _read(answer: Exchange) -> Reply:
    if answer.status == 429:
        return Reply("refused")
    if answer.status != 200:
        return Reply("failed", f"HTTP {answer.status}: {_text(answer)}")
    size = int(answer.headers.get(_HEADER_LENGTH, b"0"))
    return read_answer(bytes(answer.body[:size]), answer.length - size)


def _text(answer: Exchange) -> str:
    return bytes(answer.body[:200]).decode("utf-8", "replace")
