"""Loopback sends without pacing, other machines' connections as the system wants."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gearshift.server import connections
from gearshift.server.loopback import send_unpaced

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="its congestion control")
SECONDS = 60


class Peer:
    """A connection to an address that no test can have."""

    def __init__(self, *address: Any) -> None:
        self.address = address
        self.options: list[tuple[int, int, bytes]] = []

    def getpeername(self) -> Any:
        return self.address

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        self.options.append((level, option, value))


@ON_LINUX
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_sent_to_unpaced(host: str) -> None:
    peer = Peer(host, 5000)
    send_unpaced(peer)
    assert peer.options == [(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")]


@pytest.mark.parametrize(
    "host", ["192.0.2.7", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.7", "fe80::1%eth0"]
)
def test_another_machine_is_sent_to_as_the_system_wants(host: str) -> None:
    peer = Peer(host, 5000, 0, 2)
    send_unpaced(peer)
    assert not peer.options


@ON_LINUX
def test_both_ends_of_a_real_connection_can_be_set() -> None:
    with contextlib.ExitStack() as ends:
        listener = ends.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = ends.enter_context(socket.create_connection(listener.getsockname(), SECONDS))
        theirs = ends.enter_context(listener.accept()[0])
        for end in (ours, theirs):
            send_unpaced(end)
            name = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            assert name.rstrip(b"\0") == b"reno"


def test_a_connection_that_has_ended_is_no_error() -> None:
    with socket.socket() as never_connected:
        send_unpaced(never_connected)


def test_a_server_sets_every_connection(
    make_live: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(connections, "send_unpaced", lambda end: seen.append(end.getpeername()))
    address = "127.0.0.1", make_live().listeners.port
    with socket.create_connection(address, SECONDS) as one:
        one.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 200"
        assert seen == [one.getsockname()]
