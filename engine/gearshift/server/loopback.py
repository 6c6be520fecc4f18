"""Connections between a client and a server on one machine."""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import suppress


def send_unpaced(endpoint: socket.socket, host: str) -> None:
    """Let TCP connections from this machine to itself send as soon as they can.

    Where the system's congestion control is BBR, a sender keeps to the rate at which it believes
    the network to deliver (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue
    14(5), 2016). On loopback it believes wrongly: it takes a server that computes between two
    requests for a slow network. That costs an answer of 200 kB 0.4 ms, and now and then a request
    17 ms. Connections to other machines keep the system's choice.

    Args:
        endpoint: it is not connected yet, or listens: once BBR has begun to pace a connection,
            Linux goes on with that whatever is chosen later.
        host: the address that it will be connected to, or is bound to.
    """
    if sys.platform == "linux" and ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        # Every Linux has Reno; one that forbids it keeps its own.
        with suppress(OSError):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
