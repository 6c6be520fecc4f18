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

from gearshift.server.auth import ApiKeys
from gearshift.server.guard import Guard
from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions

from ..oip.wire import LENGTH, binary_request
from ..waiting import wait_until
from .exchanges import SECONDS, TARGET, ask, raw, read_answers, without_times

KEY = "a-key-of-enough-length"


@pytest.fixture
def connection(live: Any) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(live.http, timeout=SECONDS)
    yield made
    made.close()


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


def test_larger_bodies_than_allowed_are_the_applications(
    make_live: Callable[..., Any], image: np.ndarray, asked_application: list[str]
) -> None:
    live = make_live(ListenerOptions(limits=Limits(body_bytes=image.nbytes)))
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    assert ask(connection, *binary_request(image))[0] == 413
    assert asked_application == [TARGET]
    connection.close()


def test_traced_requests_are_the_applications(
    make_live: Callable[..., Any],
    image: np.ndarray,
    asked_application: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live = make_live()
    monkeypatch.setattr(Guard, "traced", True)
    connection = http.client.HTTPConnection(live.http, timeout=SECONDS)
    assert ask(connection, *binary_request(image))[0] == 200
    assert asked_application == [TARGET]
    connection.close()
