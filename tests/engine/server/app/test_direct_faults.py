"""Requests that the connection answers itself, when clients or the server do not keep to plan."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gearshift.scheduler import SchedulerSettings
from gearshift.server.direct import DirectRequest
from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions
from gearshift.server.requests import ServiceSettings

from ..oip.wire import binary_request
from ..waiting import wait_until
from .exchanges import SECONDS, ask, raw, read_answers, without_times


def test_a_client_that_leaves_is_told_of_and_costs_nothing(
    make_live: Callable[..., Any], image: np.ndarray, gate: Any
) -> None:
    """While its body comes, while it waits, and while its batch runs."""
    live = make_live()
    gate.close()
    data = raw(*binary_request(image))
    running, waiting, sending = (
        socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) for _ in range(3)
    )
    running.sendall(data)
    wait_until(lambda: len(gate.batches) == 1)
    waiting.sendall(data)
    wait_until(lambda: live.queued() == 1)
    sending.sendall(data[:-1])
    wait_until(lambda: live.held() > 2.9 * image.nbytes)
    for plain in (sending, waiting, running):
        plain.close()
    wait_until(lambda: live.held() == 0 and live.queued() == 0)
    gate.open()
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    assert ask(connection, *binary_request(image))[0] == 200
    lines = [json.loads(line) for line in live.log.getvalue().splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request"] == [499] * 3 + [200]
    (version,) = live.service.statistics("random").versions
    assert (version.cancelled, version.success.count, version.fail.count) == (2, 1, 0)
    assert [line for line in lines if line["level"] == "error"] == []
    connection.close()


def test_a_connection_that_was_closed_meanwhile_disturbs_nobody(
    make_live: Callable[..., Any], image: np.ndarray, gate: Any, session: Any
) -> None:
    """Nonsense behind a request closes the connection before the request is answered."""
    live = make_live(settings=ServiceSettings(SchedulerSettings(least_gain=0.0)))
    gate.close()
    data = raw(*binary_request(image))
    address = ("127.0.0.1", live.listeners.port)
    first, broken, good = (socket.create_connection(address, SECONDS) for _ in range(3))
    first.sendall(data)
    wait_until(lambda: len(gate.batches) == 1)
    broken.sendall(data)
    wait_until(lambda: live.queued() == 1)
    good.sendall(data)
    wait_until(lambda: live.queued() == 2)
    broken.sendall(b"nonsense\r\n\r\n")
    gate.open()
    expected = session.run_normalised(image, "depth")
    for plain in (first, good):
        (answer,) = read_answers(plain, 1)
        assert np.allclose(np.frombuffer(without_times(answer)[3], "<f4"), expected.ravel())
    while broken.recv(65536):
        pass
    for plain in (first, broken, good):
        plain.close()
    wait_until(lambda: live.held() == 0)
    assert '"level": "error"' not in live.log.getvalue()


def test_a_body_that_does_not_come_in_time_is_told_so(
    make_live: Callable[..., Any], image: np.ndarray, asked_application: list[str]
) -> None:
    live = make_live(ListenerOptions(limits=Limits(body_seconds=0.3)))
    data = raw(*binary_request(image))
    for part in (len(data) - image.nbytes, len(data) - 1):
        with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as plain:
            plain.sendall(data[:part])
            ((status, headers, body),) = read_answers(plain, 1)
            assert (status, headers["connection"]) == (504, "close")
            assert "0.3 s" in json.loads(body)["error"]
            assert plain.recv(1) == b""
    assert asked_application == []
    assert live.held() == 0


def test_after_a_refusal_the_connection_may_idle(
    make_live: Callable[..., Any], image: np.ndarray
) -> None:
    """As long as after any answer: the client owes nothing."""
    live = make_live(ListenerOptions(limits=Limits(header_seconds=0.1, body_seconds=0.1)))
    body, headers = binary_request(image)
    data = raw(body, headers, "/v2/models/none/infer")
    with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as plain:
        for status, sent in ((404, data), (200, raw(body, headers)), (404, data)):
            plain.sendall(sent)
            assert read_answers(plain, 1)[0][0] == status
            time.sleep(0.3)
        plain.sendall(data[:30])
        assert read_answers(plain, 1)[0][0] == 408


def test_an_idle_connection_keeps_no_tensor(
    make_live: Callable[..., Any], image: np.ndarray
) -> None:
    """After an answer, after a refusal, and after one that the application gave."""
    live = make_live()
    json_answer = {"task": "depth"}
    for number, changes in enumerate(({}, {"id": 5}, {"parameters": json_answer})):
        with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as plain:
            plain.sendall(raw(*binary_request(image + number, **changes)))
            assert read_answers(plain, 1)[0][0] == (400 if "id" in changes else 200)
            wait_until(lambda: live.held() == 0)
            gc.collect()
            kept = [found for found in gc.get_objects() if type(found) is DirectRequest]
            assert kept or number == 2
            assert [len(found.body) for found in kept] == [0] * len(kept)
            assert not [found for found in kept if found._asked or found._entry]


def test_bodies_are_held_to_what_all_may_have(
    make_live: Callable[..., Any], image: np.ndarray
) -> None:
    live = make_live(ListenerOptions(limits=Limits(all_bodies_bytes=int(1.5 * image.nbytes))))
    data = raw(*binary_request(image))
    with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as slow:
        slow.sendall(data[:-1])
        wait_until(lambda: live.held() > 0.9 * image.nbytes)
        connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
        status, headers, body = ask(connection, *binary_request(image))
        assert (status, headers["retry-after"]) == (503, "1")
        assert "come again" in json.loads(body)["error"]
        slow.sendall(data[-1:])
        assert read_answers(slow, 1)[0][0] == 200
    assert ask(connection, *binary_request(image))[0] == 200
    wait_until(lambda: live.held() == 0)
    connection.close()


def test_what_was_accepted_is_answered_though_the_server_ends(
    make_live: Callable[..., Any], image: np.ndarray, gate: Any, session: Any
) -> None:
    live = make_live(settings=ServiceSettings(SchedulerSettings(most_batch=1)))
    gate.close()
    open_ones = [
        socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) for _ in range(2)
    ]
    for number, plain in enumerate(open_ones):
        plain.sendall(raw(*binary_request(image)))
        wait_until(lambda number=number: len(gate.batches) + live.queued() == number + 1)  # type: ignore[misc]

    async def end() -> None:
        await live.service.drain(SECONDS)
        await live.listeners.close(SECONDS)

    ending = live.thread.begin(end())
    gate.open()
    for plain in open_ones:
        (answer,) = read_answers(plain, 1)
        assert without_times(answer)[3] == session.run_normalised(image, "depth").tobytes()
        assert plain.recv(1) == b""
        plain.close()
    ending.result(SECONDS)


def test_a_client_that_does_not_read_is_left_to_the_application(
    make_live: Callable[..., Any], image: np.ndarray, asked_application: list[str]
) -> None:
    """Which waits until it does: answers do not pile up in memory."""
    live = make_live()
    asked = {"task": "rooms", "binary_data_output": True}
    data = raw(*binary_request(np.tile(image, (8, 1, 1, 1)), parameters=asked))
    with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
        sent = 0
        while not asked_application:
            assert sent < 200, "the server takes in whatever is sent"
            plain.sendall(data)
            sent += 1
            time.sleep(0.02)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        answers = read_answers(plain, sent)
    assert {status for status, _, _ in answers} == {200}
