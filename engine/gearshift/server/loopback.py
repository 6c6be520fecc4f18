"""Connections between a client and a server on one machine."""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import suppress
from typing import Protocol


class Connection(Protocol):
    """A socket, or an event loop's view of one."""

    def getpeername(self) -> tuple[str, int] | tuple[str, int, int, int]: ...

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


def send_unpaced(connection: Connection) -> None:
    """Let a TCP connection from this machine to itself send as soon as it can.

    Where the system's congestion control is BBR, a sender keeps to the rate at which it believes
    the network to deliver (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue
    14(5), 2016). On loopback it believes wrongly: it takes a server that computes between two
    requests for a slow network. That costs an answer of 200 kB 0.4 ms, and now and then a request
    17 ms. Connections to other machines keep the system's choice.
    """
    if sys.platform != "linux":
        return
    # It may have ended already; and where Reno, which every Linux has, is forbidden, so be it.
    with suppress(OSError):
        address = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
        # A socket of both families tells an IPv4 client as ::ffff:127.0.0.1.
        if (getattr(address, "ipv4_mapped", None) or address).is_loopback:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
