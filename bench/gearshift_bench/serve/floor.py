"""The least that a request to another process costs: its bytes, over a bare socket of this machine.

A process of its own receives the tensor, runs a session and sends the output back, without HTTP,
without a queue, without an event loop. What a server takes beyond that is the server's.
"""

from __future__ import annotations

import math
import multiprocessing
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gearshift.server.loopback import send_unpaced
from gearshift_bench.serve.drive import PATIENCE
from gearshift_bench.serve.payload import Payload, random_image

READ_BYTES = 2**20
START_SECONDS = 300.0
"""To open a session and run every task once."""

_NUMBER = struct.Struct("<q")
"""Before a tensor: the task's place in the list; before an output: its bytes."""


class Floor:
    """The process and the connection to it; `with` it.

    Args:
        payloads: what is sent, by task; all of one size.
        options: of `gearshift.Session`.

    Raises:
        OSError: on entering, or on `send`: the process has ended.
    """

    def __init__(self, payloads: Mapping[str, Payload], options: Mapping[str, Any]) -> None:
        self._requests = {
            task: _NUMBER.pack(place) + payload.tensor
            for place, (task, payload) in enumerate(payloads.items())
        }
        (shape,) = {payload.shape for payload in payloads.values()}
        ours, theirs = _connected()
        self._socket = ours
        self._socket.settimeout(START_SECONDS)
        self._buffer = memoryview(bytearray(READ_BYTES))
        arguments = theirs, list(payloads), shape, dict(options)
        # Not forked: a session has threads.
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=answer, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Floor:
        try:
            self._receive()
        except OSError:
            self.__exit__()
            raise
        self._socket.settimeout(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.join(PATIENCE)
        self._process.kill()

    def send(self, task: str) -> float:
        """Seconds until the last byte of the output."""
        begin = time.perf_counter()
        self._socket.sendall(self._requests[task])
        self._receive()
        return time.perf_counter() - begin

    def _receive(self) -> None:
        expected: int | None = None
        received = 0
        while expected is None or received < expected:
            count = self._socket.recv_into(self._buffer)
            if not count:
                raise ConnectionResetError(0, "the process that shows the least cost has ended")
            received += count
            if expected is None and received >= _NUMBER.size:
                expected = _NUMBER.size + _NUMBER.unpack_from(self._buffer)[0]


def answer(
    connection: socket.socket,
    tasks: Sequence[str],
    shape: tuple[int, ...],
    options: Mapping[str, Any],
) -> None:
    """The process: ready, then one output for each tensor, until the other end closes."""
    from gearshift import Session

    session = Session(**options)
    for task in tasks:
        session.run_normalised(random_image(*shape[2:]), task)
    connection.sendall(_NUMBER.pack(0))
    buffer = bytearray(_NUMBER.size + 4 * math.prod(shape))
    tensor = np.frombuffer(buffer, np.float32, offset=_NUMBER.size).reshape(shape)
    while _fill(connection, memoryview(buffer)):
        task = tasks[_NUMBER.unpack_from(buffer)[0]]
        output = session.run_normalised(tensor, task)
        data = output.reshape(-1).view(np.uint8).data
        sent = connection.sendmsg([_NUMBER.pack(len(data)), data]) - _NUMBER.size
        if sent < len(data):
            connection.sendall(data[sent:])


def _fill(connection: socket.socket, buffer: memoryview) -> bool:
    """False: the other end has closed."""
    received = 0
    while received < len(buffer):
        count = connection.recv_into(buffer[received:])
        if not count:
            return False
        received += count
    return True


def _connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on this machine, which nobody else can open."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        ours = socket.socket()
        for end in (listener, ours):
            send_unpaced(end, "127.0.0.1")
        listener.listen()
        ours.connect(listener.getsockname())
        while True:
            theirs, address = listener.accept()
            if address == ours.getsockname():
                break
            theirs.close()
    for end in (ours, theirs):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs
