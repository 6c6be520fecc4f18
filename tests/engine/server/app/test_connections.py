"""Raw connections: what is sent too long, too slowly, or is no HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions

from ..waiting import wait_until

LIMITS = Limits(header_bytes=2_000, body_bytes=300_000, connections=8)
SHORT = replace(LIMITS, header_seconds=0.5, body_seconds=0.5, idle_seconds=1.0)
SECONDS = 60
POST = b"POST /v1/random/depth HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def strict(make_live: Callable[..., Any]) -> Any:
    return make_live(ListenerOptions(limits=LIMITS))


@pytest.fixture(scope="module")
def hasty(make_live: Callable[..., Any]) -> Any:
    """One that waits for nobody."""
    return make_live(ListenerOptions(limits=SHORT))


@pytest.fixture
def connect(strict: Any) -> Iterator[Callable[..., socket.socket]]:
    """`connect()`, or to another server."""
    with contextlib.ExitStack() as ends:

        def make(live: Any = strict) -> socket.socket:
            address = "127.0.0.1", live.listeners.port
            return ends.enter_context(socket.create_connection(address, SECONDS))

        yield make


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes."""
    pieces = []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def read_answer(connection: socket.socket) -> tuple[int, Any]:
    """One answer on a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), body


def is_dropped(connection: socket.socket, sent: bytes) -> bool:
    """Whether the server ends a connection on which `sent` is sent again and again."""
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            connection.sendall(sent)
            time.sleep(0.01)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def wait_for_connections(live: Any, number: int) -> None:
    """Until the server has so many."""
    wait_until(lambda: live.listeners.connections == number)


def status_of(data: bytes) -> int:
    return int(data.split()[1])


def test_a_body_larger_than_the_headers_may_be_is_no_header(
    connect: Callable[[], socket.socket], photo: Callable[..., bytes]
) -> None:
    """In one piece with its headers, in two, and twice on one connection."""
    data = photo(width=200, height=150) + bytes(20_000)
    connection = connect()
    head = POST + b"Content-Length: %d\r\n\r\n" % len(data)
    for pieces in ([head + data], [head, data], [head + data[:100], data[100:]]):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02)
        assert read_answer(connection)[0] == 200


def test_a_refused_bodys_rest_is_read_and_the_connection_goes_on(
    connect: Callable[[], socket.socket], photo: Callable[..., bytes]
) -> None:
    connection = connect()
    target = POST.replace(b"depth", b"nothing")
    connection.sendall(target + b"Content-Length: 100000\r\n\r\n")
    assert read_answer(connection)[0] == 404
    connection.sendall(bytes(100_000))
    data = photo()
    connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(data) + data)
    assert read_answer(connection)[0] == 200


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"nonsense\r\n\r\n", 400, "HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400, "HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/1.1"),
        (b"GET /live HTTP/1.1\r\nX: " + b"a" * 3_000 + b"\r\n\r\n", 431, "2,000 bytes"),
        (b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\n\r\n", 431, "2,000 bytes"),
        (b"GET /live HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n", 431, "2,000 bytes"),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "HTTP/1.1"),
        (POST + b"Content-Length: -1\r\n\r\n", 400, "HTTP/1.1"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.1"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nXYZ\r\n", 400, "HTTP/1.1"),
        (b"GET /live HTTP/1.1\r\nHost: x\r\nA\x00B: c\r\n\r\n", 400, "HTTP/1.1"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    sent: bytes, status: int, words: str, connect: Callable[[], socket.socket]
) -> None:
    connection = connect()
    connection.sendall(sent)
    answer = read_all(connection)
    assert status_of(answer) == status
    assert words in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_endless_headers_are_cut_off(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /live HTTP/1.1\r\n")
    assert is_dropped(connection, b"X-Header: value\r\n" * 20)


def test_slow_headers_time_out_and_an_idle_opening_too(
    connect: Callable[..., socket.socket], hasty: Any
) -> None:
    slow, silent = connect(hasty), connect(hasty)
    slow.sendall(b"GET /live HTTP/1.1\r\nX")
    assert status_of(read_all(slow)) == 408
    assert read_all(silent) == b""


def test_a_slow_body_times_out(connect: Callable[..., socket.socket], hasty: Any) -> None:
    connection = connect(hasty)
    connection.sendall(POST + b"Content-Length: 1000\r\n\r\nab")
    assert read_answer(connection)[0] == 504


def test_a_body_over_the_limit_is_refused_by_its_length_or_its_bytes(
    connect: Callable[[], socket.socket],
) -> None:
    connection = connect()
    connection.sendall(POST + b"Content-Length: 300001\r\n\r\n")
    assert read_answer(connection)[0] == 413
    chunked = connect()
    chunked.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    answer = b""
    try:
        for _ in range(40):
            chunked.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
    except OSError:
        pass
    answer = chunked.recv(65536)
    assert status_of(answer) == 413


def test_more_connections_than_allowed_are_told_so(
    connect: Callable[[], socket.socket], strict: Any
) -> None:
    wait_for_connections(strict, 0)
    kept = [connect() for _ in range(LIMITS.connections)]
    wait_for_connections(strict, LIMITS.connections)
    assert status_of(read_all(connect())) == 503
    for connection in kept:
        connection.close()
    wait_for_connections(strict, 0)
    again = connect()
    again.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(again)[0] == 200


def test_pipelined_requests_are_answered_in_their_order(
    connect: Callable[[], socket.socket],
) -> None:
    connection = connect()
    paths = [b"/live", b"/nowhere", b"/ready"]
    connection.sendall(
        b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths[:2])
        + b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % paths[2]
    )
    answer = read_all(connection)
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200]


def test_a_client_that_reads_nothing_is_dropped(
    connect: Callable[..., socket.socket], hasty: Any
) -> None:
    connection = connect(hasty)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asked = b"GET /pages/example.jpg HTTP/1.1\r\nHost: x\r\n\r\n"
    assert is_dropped(connection, asked * 4)
