"""Requests made of right and wrong parts: each is read, or refused on purpose."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gearshift.server.errors import RequestError
from gearshift.server.limits import Limits
from gearshift.server.oip import grpc_infer, rest_infer
from gearshift.server.oip.generated import inference_pb2 as messages

LIMITS = Limits(body_bytes=10**5)
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just("a\n\x1b[1m")
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
"""A value that seldom fits."""


def rest_request(form: str) -> tuple[dict[str, Any], bytes]:
    """A right request and its binary tail: `floats` and `pixels` in binary, `numbers` in JSON."""
    given = {
        "floats": {
            "datatype": "FP32",
            "shape": [1, 3, 8, 8],
            "parameters": {"binary_data_size": 768},
        },
        "pixels": {
            "datatype": "UINT8",
            "shape": [1, 8, 8, 3],
            "parameters": {"binary_data_size": 192},
        },
        "numbers": {"datatype": "FP32", "shape": [1, 3, 8, 8], "data": [[[0.5] * 8] * 8] * 3},
    }[form]
    request = {
        "id": "a",
        "parameters": {
            "task": "depth",
            "priority": 1,
            "timeout": 10**6,
            "binary_data_output": True,
        },
        "inputs": [{"name": "image", **given}],
        "outputs": [{"name": "output", "parameters": {"binary_data": True}}],
    }
    return request, {"floats": bytes(768), "pixels": bytes(192), "numbers": b""}[form]


PLACES = (
    ("id",),
    ("parameters",),
    *(("parameters", name) for name in ("task", "priority", "timeout", "sequence_id")),
    ("parameters", "binary_data_output"),
    ("inputs",),
    ("inputs", 0),
    *(("inputs", 0, name) for name in ("name", "datatype", "shape", "data", "parameters")),
    ("inputs", 0, "parameters", "binary_data_size"),
    *(("inputs", 0, "shape", axis) for axis in range(4)),
    ("outputs",),
    ("outputs", 0),
    ("outputs", 0, "name"),
    ("outputs", 0, "parameters", "binary_data"),
)
SPOILED = st.lists(st.tuples(st.sampled_from(PLACES), ODD), max_size=2)
"""Where a right request is made wrong, and by what."""


def spoil(request: dict[str, Any], place: tuple[Any, ...], value: Any) -> None:
    holder: Any = request
    for step in place[:-1]:
        holder = holder.get(step) if isinstance(holder, dict) else item(holder, step)
    if isinstance(holder, dict) or item(holder, place[-1]) is not None:
        holder[place[-1]] = value


def item(holder: Any, step: Any) -> Any:
    """Of a list; None where there is none."""
    return holder[step] if isinstance(holder, list) and step in range(len(holder)) else None


FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check_refusal(error: RequestError) -> None:
    assert str(error).isprintable()


def check_read(request: Any) -> None:
    assert request.image.dtype == np.float32
    assert request.image.shape[1] == 3
    assert request.image.flags.c_contiguous
    assert request.task in ("depth", "rooms", "normals", "edges")
    assert request.timeout is None or request.timeout > 0


@FUZZ
@given(
    form=st.sampled_from(["floats", "pixels", "numbers"]),
    spoiled=SPOILED,
    model=st.sampled_from(["random"] * 8 + ["random:depth", "random:rooms", "random:", "", ":"]),
    encoding=st.sampled_from([None] * 8 + ["identity", "gzip", "br"]),
    shift=st.just(0) | st.integers(-3, 3),
)
def test_rest_requests_are_read_or_refused(
    server: Any,
    form: str,
    spoiled: list[tuple[tuple[Any, ...], Any]],
    model: str,
    encoding: str | None,
    shift: int,
) -> None:
    request, tail = rest_request(form)
    for place, value in spoiled:
        spoil(request, place, value)
    text = json.dumps(request).encode()
    headers = {rest_infer.HEADER_LENGTH: str(len(text) + shift)}
    if encoding is not None:
        headers["content-encoding"] = encoding
    try:
        read = rest_infer.read_infer(server.service, LIMITS, model, "", text + tail, headers)
    except RequestError as error:
        assert spoiled or shift or encoding or model not in ("random", "random:depth")
        check_refusal(error)
    else:
        check_read(read.infer)


@FUZZ
@given(body=st.binary(max_size=300), length=st.none() | st.integers(0, 300).map(str))
def test_any_bytes_over_rest_are_read_or_refused(
    server: Any, body: bytes, length: str | None
) -> None:
    headers = {} if length is None else {rest_infer.HEADER_LENGTH: length}
    with pytest.raises(RequestError):
        rest_infer.read_infer(server.service, LIMITS, "random:depth", "", body, headers)


VALUES = st.one_of(
    st.builds(messages.InferParameter, int64_param=st.integers(-(2**63), 2**63 - 1)),
    st.builds(messages.InferParameter, uint64_param=st.integers(0, 2**64 - 1)),
    st.builds(messages.InferParameter, string_param=st.sampled_from(["depth", "rooms", "x", ""])),
    st.builds(messages.InferParameter, bool_param=st.booleans()),
    st.builds(messages.InferParameter, double_param=st.floats()),
    st.builds(messages.InferParameter),
)


def right_message() -> messages.ModelInferRequest:
    made = messages.ModelInferRequest(model_name="random", id="a", raw_input_contents=[bytes(768)])
    made.inputs.add(name="image", datatype="FP32", shape=[1, 3, 8, 8])
    made.outputs.add(name="output")
    made.parameters["task"].string_param = "depth"
    return made


CHANGES = st.one_of(
    st.tuples(
        st.just("parameters"),
        st.dictionaries(
            st.sampled_from(["task", "priority", "timeout", "sequence_id", "x"]), VALUES, max_size=2
        ),
    ),
    st.tuples(
        st.just("model_name"), st.sampled_from(["random:depth", "random:x", "", "\U0001f40d\n"])
    ),
    st.tuples(st.just("model_version"), st.sampled_from(["1", "-1", "9" * 99])),
    st.tuples(st.just("id"), st.text(max_size=3)),
    st.tuples(
        st.just("raw_input_contents"),
        st.sampled_from([[], [b""], [b"x"] * 3, [bytes(767)], [b"\xff" * 768], [bytes(192)]]),
    ),
    st.tuples(
        st.just("outputs"),
        st.sampled_from([[], ["x"], ["output", "output"]]).map(
            lambda names: [
                messages.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names
            ]
        ),
    ),
    st.tuples(
        st.just("inputs"),
        st.lists(
            st.builds(
                messages.ModelInferRequest.InferInputTensor,
                name=st.sampled_from(["image", "image", ""]),
                datatype=st.sampled_from(["FP32", "UINT8", "BYTES"]),
                shape=st.sampled_from([[1, 3, 8, 8], [1, 8, 8, 3], [-1, 3, 8, 8], [2**62] * 4, []]),
                contents=st.none()
                | st.builds(
                    messages.InferTensorContents,
                    fp32_contents=st.sampled_from([[0.5] * 192, [], [1.0]]),
                    uint_contents=st.sampled_from([[7] * 192, [256] * 192, []]),
                ),
                parameters=st.dictionaries(
                    st.sampled_from(["shared_memory_region", "x"]), VALUES, max_size=1
                ),
            ),
            max_size=2,
        ),
    ),
)


@st.composite
def changed_messages(draw: st.DrawFn) -> messages.ModelInferRequest:
    """A right request with up to three of its fields replaced."""
    request = right_message()
    for field, value in draw(st.lists(CHANGES, max_size=3)):
        request.ClearField(field)
        request.MergeFrom(messages.ModelInferRequest(**{field: value}))
    return request


def check_message(server: Any, request: messages.ModelInferRequest) -> None:
    try:
        read = grpc_infer.read_infer(server.service, LIMITS, request)
    except RequestError as error:
        assert request != right_message()
        check_refusal(error)
    else:
        check_read(read)


@FUZZ
@given(request=changed_messages())
def test_messages_are_read_or_refused(server: Any, request: messages.ModelInferRequest) -> None:
    check_message(server, request)


@FUZZ
@given(request=changed_messages(), where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=4))
def test_damaged_messages_are_read_or_refused(
    server: Any, request: messages.ModelInferRequest, where: float, junk: bytes
) -> None:
    wire = bytearray(request.SerializeToString())
    at = int(where * len(wire))
    wire[at : at + len(junk)] = junk
    try:
        damaged = messages.ModelInferRequest.FromString(bytes(wire))
    except DecodeError:
        return  # gRPC refuses it before us.
    check_message(server, damaged)
