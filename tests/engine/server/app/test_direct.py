"""Requests that the connection answers itself, just as the application would."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gearshift.scheduler import SchedulerSettings
from gearshift.server.auth import ApiKeys
from gearshift.server.guard import Guard
from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions
from gearshift.server.requests import ServiceSettings

from ..oip.wire import LENGTH, binary_request
from ..waiting import wait_until

SECONDS = 60
KEY = "a-key-of-enough-length"
TARGET = "/v2/models/random/infer"
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def asked_application(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the requests that reached it."""
    paths: list[str] = []
    application = Guard.__call__

    async def counted(self: Guard, scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await application(self, scope, receive, send)

    monkeypatch.setattr(Guard, "__call__", counted)
    return paths


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(1, 3, 24, 40)).astype(np.float32)


@pytest.fixture
def connection(live: Any) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(live.http, timeout=SECONDS)
    yield made
    made.close()


def ask(
    connection: http.client.HTTPConnection,
    body: bytes,
    headers: dict[str, str],
    target: str = TARGET,
    method: str = "POST",
) -> Answer:
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def raw(body: bytes, headers: dict[str, str], target: str = TARGET) -> bytes:
    """As it goes over the wire."""
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_answers(plain: socket.socket, number: int) -> list[Answer]:
    """So many answers that come one behind the other."""
    file = plain.makefile("rb")
    answers = []
    for _ in range(number):
        status = int(file.readline().split()[1])
        found = http.client.parse_headers(file)
        headers = {k.lower(): v for k, v in found.items()}
        answers.append((status, headers, file.read(int(headers["content-length"]))))
    return answers


def without_times(answer: Answer) -> tuple[int, dict[str, str], Any, bytes]:
    """What two answers to one request have in common."""
    status, headers, body = answer
    changing = {"date", "x-request-id", "connection", "content-length", LENGTH}
    kept = {name: value for name, value in headers.items() if name not in changing}
    length = int(headers.get(LENGTH, len(body)))
    said = json.loads(body[:length])
    for name in ("queue_us", "compute_us", "switched"):
        said.get("parameters", {}).pop(name, None)
    return status, kept, said, body[length:]


@pytest.mark.parametrize("target", [TARGET, "/v2/models/random/versions/1/infer"])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
@pytest.mark.parametrize("task", ["rooms", "depth"])
def test_the_answer_is_the_applications(
    connection: http.client.HTTPConnection,
    image: np.ndarray,
    asked_application: list[str],
    target: str,
    datatype: str,
    task: str,
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 24, 40, 3), np.uint8)
    given = image if datatype == "FP32" else pixels
    asked = {"task": task, "binary_data_output": True}
    body, headers = binary_request(given, parameters=asked, id="seven")
    direct = ask(connection, body, headers, target)
    assert asked_application == []
    general = ask(connection, body, {**headers, "connection": "close"}, target)
    assert asked_application == [target]
    assert without_times(direct) == without_times(general)
    assert direct[0] == 200
    assert set(direct[1]) == set(general[1]) - {"connection"}


@pytest.mark.parametrize("gap", range(16))
def test_the_tensor_may_begin_anywhere(
    connection: http.client.HTTPConnection, image: np.ndarray, session: Any, gap: int
) -> None:
    body, headers = binary_request(image, id="x" * gap)
    _, _, answer = without_times(ask(connection, body, headers))[1:]
    assert answer == session.run_normalised(image, "depth").tobytes()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"connection": "close"}, 200),
        ({"accept-encoding": "gzip"}, 200),
        ({"content-encoding": "identity"}, 200),
        ({"expect": "100-continue"}, 200),
        ({LENGTH: "-1"}, 400),
        ({LENGTH: "1e3"}, 400),
        ({LENGTH: "100000"}, 400),
        ({"origin": "http://elsewhere"}, 403),
    ],
)
def test_what_is_out_of_the_ordinary_is_the_applications(
    connection: http.client.HTTPConnection,
    image: np.ndarray,
    asked_application: list[str],
    changes: dict[str, str],
    status: int,
) -> None:
    body, headers = binary_request(image)
    assert ask(connection, body, {**headers, **changes})[0] == status
    assert asked_application == [TARGET]


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/v2/models/random%3Adepth/infer", "POST", 200),
        (f"{TARGET}?a=b", "POST", 200),
        (f"{TARGET}/", "POST", 404),
        (TARGET, "PUT", 405),
        ("/v2/models/../models/random/infer", "POST", 404),
    ],
)
def test_other_targets_are_the_applications(
    connection: http.client.HTTPConnection,
    image: np.ndarray,
    asked_application: list[str],
    target: str,
    method: str,
    status: int,
) -> None:
    assert ask(connection, *binary_request(image), target, method)[0] == status
    assert len(asked_application) == 1


def test_an_output_in_json_is_written_by_the_application(
    connection: http.client.HTTPConnection,
    image: np.ndarray,
    asked_application: list[str],
    live: Any,
) -> None:
    """Which has threads for it. That the body was received does not count twice."""
    body, headers = binary_request(image, parameters={"task": "depth"})
    status, _, answer = ask(connection, body, headers)
    assert status == 200
    assert len(json.loads(answer)["outputs"][0]["data"]) > 0
    assert asked_application == [TARGET]
    assert live.held() == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_body_may_come_in_any_pieces(
    live: Any, image: np.ndarray, asked_application: list[str], session: Any, seed: int
) -> None:
    random = np.random.default_rng(seed)
    data = raw(*binary_request(image))
    cuts = sorted(random.integers(1, len(data), 9).tolist())
    with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            plain.sendall(data[begin:end])
            time.sleep(0.002)
        (answer,) = read_answers(plain, 1)
    assert without_times(answer)[3] == session.run_normalised(image, "depth").tobytes()
    assert asked_application == []


def test_requests_behind_one_another_are_answered_in_their_order(
    live: Any, image: np.ndarray, session: Any
) -> None:
    """Those that come while one is at work are the application's; then the connection goes on."""
    sent, expected = b"", []
    for number, task in enumerate(("depth", "rooms", "", "normals", "edges")):
        asked = {"task": task, "binary_data_output": True}
        if task:
            sent += raw(*binary_request(image + number, parameters=asked, id=str(number)))
            expected.append(session.run_normalised(image + number, task).tobytes())
        else:
            sent += b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
            expected.append(b"")
    with socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS) as plain:
        for _ in range(2):
            plain.sendall(sent)
            answers = read_answers(plain, len(expected))
            assert [status for status, _, _ in answers] == [200] * len(expected)
            assert [without_times(answer)[3] for answer in answers] == expected
    assert live.held() == 0


@pytest.mark.parametrize(
    ("changes", "model", "status", "words"),
    [
        ({"parameters": {"task": "Depth"}}, "random", 404, "no task 'Depth'"),
        ({"input_shape": [1, 3, 24, 41]}, "random", 400, "bytes"),
        ({"id": 5}, "random", 400, "id is 5"),
        ({}, "other", 404, "no model 'other'"),
        ({}, "random:rooms", 400, "one task"),
    ],
)
def test_a_refusal_is_the_applications_word_for_word(
    connection: http.client.HTTPConnection,
    image: np.ndarray,
    asked_application: list[str],
    changes: dict[str, Any],
    model: str,
    status: int,
    words: str,
) -> None:
    body, headers = binary_request(image, **changes)
    target = f"/v2/models/{model}/infer"
    direct = ask(connection, body, headers, target)
    assert asked_application == []
    general = ask(connection, body, {**headers, "connection": "close"}, target)
    assert without_times(direct) == without_times(general)
    assert (direct[0], set(direct[1])) == (status, set(general[1]) - {"connection"})
    assert words in json.loads(direct[2])["error"]


def test_numbers_that_are_none_are_refused(
    connection: http.client.HTTPConnection, image: np.ndarray, asked_application: list[str]
) -> None:
    image[0, 1, 2, 3] = np.nan
    status, _, body = ask(connection, *binary_request(image))
    assert (status, asked_application) == (400, [])
    assert "NaN" in json.loads(body)["error"]


def test_it_is_counted_and_logged(
    make_live: Callable[..., Any], image: np.ndarray, asked_application: list[str]
) -> None:
    live = make_live()
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    body, headers = binary_request(image)
    status, answered, _ = ask(connection, body, {**headers, "X-Request-Id": "mine"})
    assert (status, answered["x-request-id"]) == (200, "mine")
    status, answered, _ = ask(connection, body, headers, "/v2/models/none/versions/1/infer")
    assert (status, len(answered["x-request-id"])) == (404, 16)
    assert asked_application == []
    lines = [json.loads(line) for line in live.log.getvalue().splitlines()]
    lines = [line for line in lines if line["event"] == "request"]
    assert [(line["id"], line["status"], line["path"]) for line in lines] == [
        ("mine", 200, TARGET),
        (answered["x-request-id"], 404, "/v2/models/none/versions/1/infer"),
    ]
    text = live.telemetry.metrics.text().decode()
    route = "/v2/models/{model}"
    assert f'{{method="POST",route="{route}/infer",status="200"}} 1.0' in text
    assert f'{{method="POST",route="{route}/versions/{{version}}/infer",status="404"}} 1.0' in text
    assert 'gearshift_requests_total{model="random",outcome="success",task="depth"} 1.0' in text
    assert 'gearshift_requests_in_progress{model="random",task="depth"} 0.0' in text
    connection.close()


def test_keys_are_asked_for(
    make_live: Callable[..., Any], image: np.ndarray, asked_application: list[str]
) -> None:
    live = make_live(ListenerOptions(keys=ApiKeys(frozenset({KEY}))))
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    body, headers = binary_request(image)
    assert ask(connection, body, headers)[0] == 401
    assert ask(connection, body, {**headers, "authorization": f"Bearer {KEY}x"})[0] == 401
    assert len(asked_application) == 2
    assert ask(connection, body, {**headers, "authorization": f"Bearer {KEY}"})[0] == 200
    assert len(asked_application) == 2
    connection.close()


def test_a_fault_is_a_500_that_tells_the_log_and_not_the_client(
    make_live: Callable[..., Any], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = make_live()

    def fault(*_: Any) -> Any:
        raise KeyError("a secret of the server")

    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    for where in ("service.Service.submit", "direct.write_answer"):
        with monkeypatch.context() as patch:
            patch.setattr(f"gearshift.server.{where}", fault)
            status, headers, body = ask(connection, *binary_request(image))
        assert status == 500
        assert "secret" not in body.decode()
        assert headers["x-request-id"] in json.loads(body)["error"]
        wait_until(lambda answered=headers: answered["x-request-id"] in live.log.getvalue())  # type: ignore[misc]
        line = json.loads(live.log.getvalue().splitlines()[-1])
        assert "a secret of the server" in line["error"]
        assert ask(connection, *binary_request(image))[0] == 200
    assert live.held() == 0
    connection.close()


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


def test_larger_bodies_than_allowed_are_the_applications(
    make_live: Callable[..., Any], image: np.ndarray, asked_application: list[str]
) -> None:
    live = make_live(ListenerOptions(limits=Limits(body_bytes=image.nbytes)))
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    assert ask(connection, *binary_request(image))[0] == 413
    assert asked_application == [TARGET]
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


def test_traced_requests_are_the_applications(
    live: Any, image: np.ndarray, asked_application: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "traced", True)
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    assert ask(connection, *binary_request(image))[0] == 200
    assert asked_application == [TARGET]
    connection.close()
