"""REST requests that are wrong, each in one way, and what they are told."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from .wire import LENGTH, binary_request, post

MakeImage = Callable[..., np.ndarray]
SHAPE = [1, 3, 24, 40]


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "no input": ({"inputs": []}, 400, "0 inputs"),
    "inputs missing": ({"inputs": None}, 400, "inputs: give a JSON array"),
    "two inputs": ({"inputs": [{}, {}]}, 400, "2 inputs"),
    "too many inputs": ({"inputs": [{}] * 17}, 413, "at most 16 inputs"),
    "input is no object": ({"inputs": [5]}, 400, "entry of inputs"),
    "name": ({"input_name": "picture"}, 400, "'picture' is not known"),
    "name is no text": ({"input_name": {"a": 1}}, 400, "is not known"),
    "datatype": ({"input_datatype": "FP64"}, 400, "'FP64'"),
    "datatype is no text": ({"input_datatype": ["FP32"]}, 400, "FP32"),
    "axes missing": ({"input_shape": [3, 24, 40]}, 400, "[3, 24, 40]"),
    "channels": ({"input_shape": [1, 4, 24, 30]}, 400, "(N,3,H,W)"),
    "layout of the other datatype": ({"input_shape": [1, 24, 40, 3]}, 400, "(N,3,H,W)"),
    "empty": ({"input_shape": [0, 3, 24, 40]}, 400, "(N,3,H,W)"),
    "negative": ({"input_shape": [-1, 3, 24, 40]}, 400, "(N,3,H,W)"),
    "huge": ({"input_shape": [1, 3, 2**62, 2**62]}, 400, "1,048,576"),
    "beyond 64 bits": ({"input_shape": [1, 3, 10**30, 1]}, 400, "(N,3,H,W)"),
    "fraction": ({"input_shape": [1, 3, 24.0, 40]}, 400, "(N,3,H,W)"),
    "truth": ({"input_shape": [True, 3, 24, 40]}, 400, "(N,3,H,W)"),
    "shape is text": ({"input_shape": "1,3,24,40"}, 400, "(N,3,H,W)"),
    "shape is nothing": ({"input_shape": None}, 400, "(N,3,H,W)"),
    "more elements than bytes": ({"input_shape": [2, 3, 24, 40]}, 400, "23,040"),
    "not whole patches": ({"input_shape": [1, 3, 20, 48]}, 400, "multiples of the patch size 8"),
    "size of the tensor": ({"input_parameters": {"binary_data_size": 5}}, 400, "is 5, but 11,520"),
    "size is no number": ({"input_parameters": {"binary_data_size": "x"}}, 400, "binary_data_size"),
    "no size": ({"input_parameters": {}}, 400, "no parameter binary_data_size"),
    "parameters of the input": ({"input_parameters": 3}, 400, "input's parameters"),
    "both forms": ({"input_data": [1]}, 400, "both data and binary_data_size"),
    "shared memory": (
        {"input_parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}},
        400,
        "no shared memory",
    ),
    "no task": ({"parameters": {}}, 400, "name a task"),
    "unknown task": ({"parameters": {"task": "Depth"}}, 404, "no task 'Depth': it has rooms"),
    "task is no text": ({"parameters": {"task": 1}}, 400, "parameter task"),
    "parameters": ({"parameters": []}, 400, "parameters: give a JSON object"),
    "priority": ({"parameters": {"task": "depth", "priority": -1}}, 400, "priority is -1"),
    "priority level": ({"parameters": {"task": "depth", "priority": 9}}, 400, "priority 9"),
    "priority is text": (
        {"parameters": {"task": "depth", "priority": "1"}},
        400,
        "priority is '1'",
    ),
    "timeout": ({"parameters": {"task": "depth", "timeout": -1}}, 400, "microseconds"),
    "timeout is a truth": ({"parameters": {"task": "depth", "timeout": True}}, 400, "timeout"),
    "huge timeout": ({"parameters": {"task": "depth", "timeout": 10**300}}, 400, "timeout"),
    "sequence": ({"parameters": {"task": "depth", "sequence_id": 7}}, 400, "sequence_id"),
    "id": ({"id": 5}, 400, "id is 5"),
    "long id": ({"id": "x" * 257}, 400, "256 characters"),
    "outputs": ({"outputs": {}}, 400, "outputs: give a JSON array"),
    "two outputs": ({"outputs": [{"name": "output"}] * 2}, 400, "2 outputs"),
    "too many outputs": ({"outputs": [{"name": "output"}] * 17}, 413, "at most 16 outputs"),
    "output": ({"outputs": [{"name": "labels"}]}, 400, "'labels' is not known"),
    "classes": (
        {"outputs": [{"name": "output", "parameters": {"classification": 3}}]},
        400,
        "classification",
    ),
    "output in shared memory": (
        {"outputs": [{"name": "output", "parameters": {"shared_memory_region": "r"}}]},
        400,
        "no shared memory",
    ),
    "form": (
        {"outputs": [{"name": "output", "parameters": {"binary_data": 1}}]},
        400,
        "true or false",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(
    http: httpx.Client, make_image: MakeImage, wrong: str
) -> None:
    changes, status, words = WRONG[wrong]
    body, headers = binary_request(make_image(), **changes)
    answer = post(http, body, headers)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([0.5] * 2879, "2,879 numbers"),
        ([0.5] * 2881, "2,881 numbers"),
        ([], "0 numbers"),
        ([[0.5] * 1440, [None] * 1440], "others than numbers"),
        (["x"] * 2880, "no array of numbers"),
        ("x", "no array"),
        (None, "no array"),
        ([1e39] * 2880, "NaN or infinity"),
    ],
)
def test_wrong_numbers_in_json_are_refused(http: httpx.Client, data: Any, words: str) -> None:
    given = {"name": "image", "datatype": "FP32", "shape": SHAPE, "data": data}
    answer = post(http, json.dumps({"inputs": [given]}).encode(), model="random:depth")
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("value", [-1, 256, 0.5, 10**30])
def test_pixels_in_json_are_whole_numbers_to_255(http: httpx.Client, value: float) -> None:
    given = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [value] * 192}
    answer = post(http, json.dumps({"inputs": [given]}).encode(), model="random:depth")
    assert answer.status_code == 400
    assert "numbers" in answer.json()["error"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(
    http: httpx.Client, make_image: MakeImage, value: float
) -> None:
    image = make_image()
    image[0, 2, 11, 7] = value
    answer = post(http, *binary_request(image))
    assert answer.status_code == 400
    assert "NaN or infinity" in answer.json()["error"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("-1", "no number"),
        ("1e3", "no number"),
        ("9" * 30, "no number"),
        ("", "no number"),
        ("99999999", "the whole body has"),
        ("10", "no valid JSON"),
        ("0", "no valid JSON"),
    ],
)
def test_a_wrong_length_of_the_json_is_refused(
    http: httpx.Client, make_image: MakeImage, header: str, words: str
) -> None:
    body, _ = binary_request(make_image())
    answer = post(http, body, {LENGTH: header})
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_binary_tensors_without_the_length_are_refused(
    http: httpx.Client, make_image: MakeImage
) -> None:
    body, headers = binary_request(make_image())
    assert post(http, body).status_code == 400
    answer = post(http, body[: int(headers[LENGTH])])
    assert "inference-header-content-length" in answer.json()["error"]


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"5", b'"x"', b"{", b"\xff\xfe", b"[" * 10_000, b"{}"]
)
def test_what_is_no_request_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = post(http, body)
    assert answer.status_code in (400, 413)
    assert answer.json().keys() == {"error"}


@pytest.mark.parametrize(
    ("encoding", "content", "status", "words"),
    [
        ("br", b"x", 400, "'br' is not known"),
        ("gzip", b"xyz", 400, "damaged"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-3], 400, "cut off"),
        ("deflate", zlib.compress(b"\0" * 10**8, 9), 413, "64,000,000"),
    ],
)
def test_compressed_bodies_that_are_wrong_or_bombs_are_refused(
    http: httpx.Client, encoding: str, content: bytes, status: int, words: str
) -> None:
    answer = post(http, content, {"content-encoding": encoding})
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nothing", 404),
        ("GET", "/v2/models/nothing/config", 404),
        ("GET", "/v2/models/nothing/stats", 404),
        ("GET", "/v2/models/nothing/ready", 503),
        ("GET", "/v2/models/random:nothing", 404),
        ("GET", "/v2/models/random/versions/7", 404),
        ("GET", "/v2/models/random/versions/7/stats", 404),
        ("GET", "/v2/models/random/versions/7/config", 404),
        ("POST", "/v2/models/nothing/infer", 400),
        ("POST", "/v2/models/random", 405),
        ("GET", "/v2/models/random/infer", 405),
        ("GET", "/v2/models/random/trace/setting", 404),
        ("POST", "/v2/repository/models/random/load", 403),
        ("GET", "/v2/systemsharedmemory/status", 400),
        ("POST", "/v2/cudasharedmemory/region/a/register", 400),
    ],
)
def test_paths_that_lead_nowhere(http: httpx.Client, method: str, path: str, status: int) -> None:
    assert http.request(method, path).status_code == status


@pytest.mark.parametrize("body", [b"[]", b"x", b"{" + b" " * 100_001 + b"}"])
def test_a_wrong_body_of_the_index_is_refused(http: httpx.Client, body: bytes) -> None:
    assert http.post("/v2/repository/index", content=body).status_code == 400
