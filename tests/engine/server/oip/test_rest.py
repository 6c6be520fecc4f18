"""REST as it goes over the wire."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from gearshift import Session
from gearshift.errors import InputError

from .wire import LENGTH, binary_request, post, rest_output

MakeImage = Callable[..., np.ndarray]


@pytest.mark.parametrize("padding", range(5))
@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain; charset=x"])
def test_the_length_decides_where_tensors_begin_not_the_content_type(
    http: httpx.Client, session: Session, make_image: MakeImage, padding: int, content_type: str
) -> None:
    image = make_image()
    # Spaces move the tensor to addresses where float32 is not aligned.
    body, headers = binary_request(image, id=" " * padding)
    if content_type is not None:
        headers["content-type"] = content_type
    np.testing.assert_array_equal(
        rest_output(post(http, body, headers)), session.run_normalised(image, "depth")
    )


@pytest.mark.parametrize("path", ["random:edges", "random%3Aedges", "random:edges/versions/1"])
def test_the_alias_may_be_escaped(
    http: httpx.Client, session: Session, make_image: MakeImage, path: str
) -> None:
    image = make_image()
    body, headers = binary_request(image, parameters={"binary_data_output": True})
    output = rest_output(post(http, body, headers, path))
    np.testing.assert_array_equal(output, session.run_normalised(image, "edges"))


def test_alias_and_parameter_may_agree_but_not_differ(
    http: httpx.Client, make_image: MakeImage
) -> None:
    body, headers = binary_request(make_image())
    assert post(http, body, headers, "random:depth").status_code == 200
    answer = post(http, body, headers, "random:edges")
    assert answer.status_code == 400
    assert "names one task" in answer.json()["error"]


def test_numbers_in_json_are_the_default_answer(
    http: httpx.Client, session: Session, make_image: MakeImage
) -> None:
    image = make_image(batch=2)
    request = {
        "id": "a",
        "parameters": {"task": "rooms"},
        "inputs": [
            {
                "name": "image",
                "datatype": "FP32",
                "shape": list(image.shape),
                "data": image.tolist(),
            }
        ],
    }
    answer = post(http, json.dumps(request, indent=2).encode())
    assert answer.headers["content-type"] == "application/json"
    assert LENGTH not in answer.headers
    said = answer.json()
    assert (said["model_name"], said["model_version"], said["id"]) == ("random", "1", "a")
    expected = session.run_normalised(image, "rooms")
    (output,) = said["outputs"]
    assert output["datatype"] == "FP32"
    assert output["shape"] == list(expected.shape)
    np.testing.assert_array_equal(np.array(output["data"], np.float32), expected.ravel())


@pytest.mark.parametrize(
    ("accepted", "used"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("GZIP", "gzip"),
        ("gzip, deflate", None),
        ("gzip;q=0", None),
        ("br", None),
        ("identity", None),
        ("*", None),
    ],
)
def test_answers_are_compressed_for_those_who_ask_for_one_encoding(
    http: httpx.Client, session: Session, make_image: MakeImage, accepted: str, used: str | None
) -> None:
    image = make_image()
    body, headers = binary_request(image)
    with http.stream(
        "POST",
        "/v2/models/random/infer",
        content=body,
        headers={**headers, "accept-encoding": accepted},
    ) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == used
        length = int(answer.headers[LENGTH])
    plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[used](raw)
    output = np.frombuffer(plain[length:], "<f4").reshape(1, 1, 24, 40)
    np.testing.assert_array_equal(output, session.run_normalised(image, "depth"))


def test_an_output_that_json_cannot_say_is_refused_with_the_remedy(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(self: Session, image: np.ndarray, task: str) -> np.ndarray:
        return np.full((1, 1, 24, 40), np.inf, np.float32)

    monkeypatch.setattr(Session, "run_checked", overflow)
    image = np.zeros((1, 3, 24, 40), np.float32)
    answer = post(http, *binary_request(image, parameters={"task": "depth"}))
    assert answer.status_code == 400
    assert "ask for binary_data" in answer.json()["error"]
    assert np.isinf(rest_output(post(http, *binary_request(image)))).all()


def test_health_answers(http: httpx.Client) -> None:
    for path in ("live", "ready"):
        assert http.get(f"/v2/health/{path}").json() == {path: True}
    ready = http.get("/v2/models/random/versions/1/ready").json()
    assert ready == {"name": "random", "ready": True}


@pytest.mark.parametrize(
    ("body", "names"),
    [(b"", 1), (b"{}", 1), (b'{"ready": true}', 1), (b'{"ready": false}', 1), (b" \n", 1)],
)
def test_the_repository_index_takes_a_body_or_none(
    http: httpx.Client, body: bytes, names: int
) -> None:
    assert len(http.post("/v2/repository/index", content=body).json()) == names


def test_an_unloaded_model_is_in_the_index_and_not_ready(
    start_server: Callable[..., Any],
) -> None:
    server = start_server(allow_reload=True)
    with httpx.Client(base_url=f"http://{server.http}") as http:
        assert http.post("/v2/repository/models/random/unload").status_code == 200
        (entry,) = http.post("/v2/repository/index").json()
        assert (entry["name"], entry["version"], entry["state"]) == ("random", "", "UNAVAILABLE")
        assert http.post("/v2/repository/index", json={"ready": True}).json() == []
        assert http.get("/v2/models/random").status_code == 503
        stats = http.get("/v2/models/random/stats").json()["model_stats"]
        assert [entry["version"] for entry in stats] == ["1"]


def test_an_error_of_the_session_is_the_clients_or_ours(
    http: httpx.Client, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Session, image: np.ndarray, task: str) -> np.ndarray:
        raise error

    monkeypatch.setattr(Session, "run_checked", fail)
    error: Exception = InputError("not so")
    answer = post(http, *binary_request(make_image()))
    assert (answer.status_code, answer.json()) == (400, {"error": "not so"})
    error = ZeroDivisionError("a secret")
    answer = post(http, *binary_request(make_image()))
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_large_json_body_loses_nothing(
    http: httpx.Client, session: Session, make_image: MakeImage
) -> None:
    side = 256
    image = make_image(height=side, width=side)
    given = {
        "name": "image",
        "datatype": "FP32",
        "shape": [1, 3, side, side],
        "data": image.ravel().tolist(),
    }
    body = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    assert len(body) > 3_000_000
    output = rest_output(post(http, body, model="random:edges"))
    np.testing.assert_array_equal(output, session.run_normalised(image, "edges"))
