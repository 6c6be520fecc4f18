"""The bare socket: it gives a session's own outputs, and ends with its caller."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest

from gearshift import Session
from gearshift_bench.serve import floor
from gearshift_bench.serve.floor import Floor
from gearshift_bench.serve.payload import make_payloads

OPTIONS = {"model": "demo", "backend": "native", "threads": 1}


def test_it_answers_with_the_sessions_outputs() -> None:
    """Large ones and small ones, in any order, over the socket itself."""
    ours, theirs = floor._connected()
    tasks = ("semseg", "depth")
    arguments = theirs, tasks, (1, 3, 128, 128), OPTIONS
    thread = threading.Thread(target=floor.answer, args=arguments)
    thread.start()
    stream = ours.makefile("rwb")
    assert stream.read(8) == bytes(8)
    session = Session(**OPTIONS)
    random = np.random.default_rng(3)
    for place in (0, 1, 1, 0):
        image = random.normal(size=(1, 3, 128, 128)).astype(np.float32)
        stream.write(struct.pack("<q", place) + image.tobytes())
        stream.flush()
        (size,) = struct.unpack("<q", stream.read(8))
        assert stream.read(size) == session.run_normalised(image, tasks[place]).tobytes()
    stream.close()
    ours.close()
    thread.join(60)
    assert not thread.is_alive()
    theirs.close()


def test_it_is_a_process_that_is_timed_and_ended() -> None:
    payloads = make_payloads(["depth", "semseg"], 128, 128)
    with Floor(payloads, OPTIONS) as made:
        assert 0 < made.send("semseg") < 60
        assert 0 < made.send("depth") < 60
        process = made._process
        assert process.is_alive()
    assert not process.is_alive()


def test_a_process_that_cannot_begin_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    payloads = make_payloads(["depth"], 128, 128)
    with pytest.raises(OSError, match="has ended"), Floor(payloads, {"model": "no-such-model"}):
        pass
    assert "no-such-model" in capfd.readouterr().err


def test_only_its_own_other_end_is_connected() -> None:
    ours, theirs = floor._connected()
    assert ours.getpeername() == theirs.getsockname()
    assert theirs.getpeername() == ours.getsockname()
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    ours.close()
    theirs.close()
