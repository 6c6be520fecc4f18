"""Requests that wait: clients that leave, full queues, timeouts, priorities; both transports."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np

from gearshift.server.oip import grpc_service

from ..waiting import wait_until
from .wire import binary_request, grpc_output, message, open_stub, post, refused

MakeImage = Callable[..., np.ndarray]


def test_a_client_that_leaves_frees_its_place(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server()
    gate.close()
    body, headers = binary_request(make_image())
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    text = f"POST /v2/models/random/infer HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}"
    host, port = server.http.split(":")
    runs = socket.create_connection((host, int(port)))
    runs.sendall(text.encode() + b"\r\n\r\n" + body)
    wait_until(lambda: len(gate.batches) == 1)
    waits = socket.create_connection((host, int(port)))
    waits.sendall(text.encode() + b"\r\n\r\n" + body)
    wait_until(lambda: server.queued() == 1)
    waits.close()
    wait_until(lambda: server.queued() == 0)
    gate.open()
    assert runs.recv(12) == b"HTTP/1.1 200"
    runs.close()
    (statistics,) = server.service.statistics("random").versions
    wait_until(lambda: statistics.cancelled == 1)
    assert statistics.success.count == 1


def test_beyond_the_queue_comes_429_with_a_time_to_retry(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server(most_queued=1)
    gate.close()
    wire = binary_request(make_image())
    with (
        httpx.Client(base_url=f"http://{server.http}", timeout=30) as http,
        ThreadPoolExecutor(2) as threads,
    ):
        first = threads.submit(post, http, *wire)
        wait_until(lambda: len(gate.batches) == 1)
        second = threads.submit(post, http, *wire)
        wait_until(lambda: server.queued() == 1)
        refused = post(http, *wire)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "try again" in refused.json()["error"]
        gate.open()
        assert first.result().status_code == second.result().status_code == 200


def test_a_request_waits_no_longer_than_its_timeout(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server()
    gate.close()
    timed = {"task": "depth", "timeout": 30_000}
    with (
        httpx.Client(base_url=f"http://{server.http}", timeout=30) as http,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(post, http, *binary_request(make_image()))
        wait_until(lambda: len(gate.batches) == 1)
        late = post(http, *binary_request(make_image(), parameters=timed))
        assert late.status_code == 504
        gate.open()
        assert first.result().status_code == 200


def test_a_cancelled_call_frees_its_place(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server()
    gate.close()
    with open_stub(server) as stub:
        runs = stub.ModelInfer.future(message(make_image()))
        wait_until(lambda: len(gate.batches) == 1)
        waits = stub.ModelInfer.future(message(make_image(), "edges"))
        stream = stub.ModelStreamInfer(iter([message(make_image(), "rooms")] * 3))
        wait_until(lambda: server.queued() == 4)
        waits.cancel()
        wait_until(lambda: server.queued() == 3)
        stream.cancel()
        wait_until(lambda: server.queued() == 0)
        gate.open()
        assert grpc_output(runs.result(30)).shape == (1, 1, 24, 40)
        (statistics,) = server.service.statistics("random").versions
        wait_until(lambda: statistics.cancelled == 4)
        assert statistics.success.count == 1


def test_a_stream_has_a_few_requests_at_work_at_a_time(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server()
    gate.close()
    many = 3 * grpc_service.MOST_IN_STREAM
    with open_stub(server) as stub:
        answers = stub.ModelStreamInfer(iter([message(make_image())] * many))
        wait_until(lambda: len(gate.batches) == 1)
        wait_until(lambda: server.queued() == grpc_service.MOST_IN_STREAM - 1)
        time.sleep(0.05)
        assert server.queued() == grpc_service.MOST_IN_STREAM - 1
        gate.open()
        assert [answer.error_message for answer in answers] == [""] * many


def test_beyond_the_queue_calls_are_refused_with_a_time_to_retry(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server(most_queued=1)
    gate.close()
    with open_stub(server) as stub:
        first = stub.ModelInfer.future(message(make_image()))
        wait_until(lambda: len(gate.batches) == 1)
        second = stub.ModelInfer.future(message(make_image()))
        wait_until(lambda: server.queued() == 1)
        code, details, trailing = refused(lambda: stub.ModelInfer(message(make_image())))
        assert code == "RESOURCE_EXHAUSTED"
        assert "try again" in details
        assert int(trailing["retry-after"]) >= 1
        assert int(trailing["grpc-retry-pushback-ms"]) > 0
        gate.open()
        assert first.result(30).model_version == second.result(30).model_version == "1"


def test_deadlines_and_timeouts_end_the_waiting(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server()
    gate.close()
    timed = message(make_image())
    timed.parameters["timeout"].int64_param = 30_000
    with open_stub(server) as stub:
        first = stub.ModelInfer.future(message(make_image()))
        wait_until(lambda: len(gate.batches) == 1)
        code, details, _ = refused(lambda: stub.ModelInfer(timed))
        assert code == "DEADLINE_EXCEEDED"
        assert "waited" in details
        code, _, _ = refused(lambda: stub.ModelInfer(message(make_image()), timeout=0.05))
        assert code == "DEADLINE_EXCEEDED"
        wait_until(lambda: server.queued() == 0)
        gate.open()
        assert first.result(30).model_name == "random"


def test_the_urgent_runs_before_the_patient(
    start_server: Callable[..., Any], make_image: MakeImage, gate: Any
) -> None:
    server = start_server()
    gate.close()
    ended: list[str] = []
    with open_stub(server) as stub:
        first = stub.ModelInfer.future(message(make_image()))
        wait_until(lambda: len(gate.batches) == 1)
        calls = []
        for task, priority in (("rooms", 5), ("edges", 1), ("normals", 3)):
            asked = message(make_image(), task)
            asked.parameters["priority"].uint64_param = priority
            calls.append(stub.ModelInfer.future(asked))
            calls[-1].add_done_callback(lambda _, task=task: ended.append(task))
            wait_until(lambda: server.queued() == len(calls))
        gate.open()
        answers = [call.result(30) for call in (first, *calls)]
        wait_until(lambda: len(ended) == 3)
    assert [dict(a.parameters)["batch_size"].int64_param for a in answers] == [1] * 4
    assert ended == ["edges", "normals", "rooms"]
