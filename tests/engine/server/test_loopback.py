"""Loopback sends without pacing, other machines' connections as the system wants."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gearshift.server import loopback
from gearshift.server.loopback import send_unpaced

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="its congestion control")
SECONDS = 60


def control(endpoint: socket.socket) -> bytes:
    """The congestion control of a socket."""
    name: bytes = endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.rstrip(b"\0")


class Recorded:
    """A socket that is asked for what no test may count on: an option's being there."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int, bytes]] = []

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        self.options.append((level, option, value))


@ON_LINUX
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_sent_to_unpaced(host: str) -> None:
    endpoint: Any = Recorded()
    send_unpaced(endpoint, host)
    assert endpoint.options == [(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")]


@pytest.mark.parametrize("host", ["192.0.2.7", "0.0.0.0", "::", "2001:db8::1", "fe80::1%eth0"])
def test_another_machine_is_sent_to_as_the_system_wants(host: str) -> None:
    endpoint: Any = Recorded()
    send_unpaced(endpoint, host)
    assert not endpoint.options


@ON_LINUX
def test_a_connection_has_it_from_the_socket_that_took_it() -> None:
    with contextlib.ExitStack() as ends:
        listener = ends.enter_context(socket.socket())
        ours = ends.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        for endpoint in (listener, ours):
            send_unpaced(endpoint, "127.0.0.1")
        listener.listen()
        ours.connect(listener.getsockname())
        theirs = ends.enter_context(listener.accept()[0])
        assert control(ours) == control(theirs) == b"reno"


@ON_LINUX
def test_a_system_that_forbids_it_keeps_its_own() -> None:
    class Forbidden(socket.socket):
        def setsockopt(self, *_: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

    with Forbidden() as endpoint:
        before = control(endpoint)
        send_unpaced(endpoint, "127.0.0.1")
        assert control(endpoint) == before


@ON_LINUX
def test_a_server_on_loopback_listens_so(
    make_live: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def record(endpoint: socket.socket, host: str) -> None:
        loopback.send_unpaced(endpoint, host)
        seen.append((endpoint.getsockname(), host, control(endpoint)))

    monkeypatch.setattr("gearshift.server.listeners.send_unpaced", record)
    port = make_live().listeners.port
    assert (("127.0.0.1", port), "127.0.0.1", b"reno") in seen
