"""Messages that would become many objects are refused before they are parsed."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError

from gearshift.server.errors import TooLarge
from gearshift.server.oip.generated import inference_pb2 as messages
from gearshift.server.oip.message_size import MOST_FIELDS, MOST_PACKED_BYTES, check_message

INFER = messages.ModelInferRequest.DESCRIPTOR


def honest() -> messages.ModelInferRequest:
    made = messages.ModelInferRequest(
        model_name="random", model_version="1", id="ü", raw_input_contents=[bytes(10**7)]
    )
    for name, value in (("task", "depth"), ("x" * 300, "y" * 70_000)):
        made.parameters[name].string_param = value
    made.parameters["timeout"].int64_param = -1
    made.parameters["flag"].bool_param = True
    made.parameters["share"].double_param = 0.5
    image = made.inputs.add(name="image", datatype="FP32", shape=[1, 3, 2**40, 2**63 - 1])
    image.contents.fp32_contents.extend(np.zeros(3 * 10**6).tolist())
    image.contents.uint_contents.extend([300] * 10**6)
    image.parameters["a"].uint64_param = 2**64 - 1
    made.outputs.add(name="output").parameters["b"].int64_param = 3
    return made


def test_an_honest_message_passes() -> None:
    check_message(honest().SerializeToString(), INFER)
    check_message(b"", INFER)


MANY = MOST_FIELDS + 1
TENSOR = b"\x2a"
"""Tag of `inputs`."""


def field(tag: bytes, content: bytes) -> bytes:
    size, length = b"", len(content)
    while length >= 0x80:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return tag + size + bytes([length]) + content


@pytest.mark.parametrize(
    "data",
    [
        b"\x22\x03\x0a\x01a" * MANY,
        b"\x2a\x00" * MANY,
        b"\x32\x00" * MANY,
        b"\x3a\x00" * MANY,
        b"\xf8\x07\x01" * MANY,
        b"\xfb\x07\xfc\x07" * MANY,
        field(TENSOR, b"\x18\x01" * MANY),
        field(TENSOR, b"\x22\x00" * MANY),
        field(TENSOR, field(b"\x2a", b"\x35\x00\x00\x80\x3f" * MANY)),
        field(TENSOR, field(b"\x2a", b"\x42\x00" * MANY)),
        field(TENSOR, field(b"\x1a", b"\x01" * (MOST_PACKED_BYTES + 1))),
        field(TENSOR, field(b"\x2a", field(b"\x22", b"\x01" * (MOST_PACKED_BYTES + 1)))),
    ],
    ids=[
        "parameters", "inputs", "outputs", "raw contents", "unknown fields", "unknown groups",
        "unpacked axes", "the tensor's parameters", "unpacked numbers", "byte strings",
        "packed axes", "packed numbers",
    ],
)  # fmt: skip
def test_one_that_becomes_many_objects_is_refused(data: bytes) -> None:
    messages.ModelInferRequest.FromString(data)
    with pytest.raises(TooLarge, match="raw_input_contents"):
        check_message(data, INFER)


def test_the_server_says_so(server: Any) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            infer(b"\x2a\x00" * MANY, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "fields" in caught.value.details()


def test_damage_is_no_fault_of_ours() -> None:
    """Whatever the bytes, it is counted, refused or called damaged."""
    made = honest()
    made.raw_input_contents[0] = b"abc"
    del made.inputs[0].contents.fp32_contents[5:]
    del made.inputs[0].contents.uint_contents[5:]
    data = made.SerializeToString()
    random = np.random.default_rng(4)
    damaged = 0
    for _ in range(3000):
        changed = bytearray(data[: random.integers(len(data) + 1)])
        for place in random.integers(0, max(1, len(changed)), random.integers(6)):
            changed[place : place + 1] = random.bytes(1)
        try:
            check_message(bytes(changed), INFER)
        except DecodeError:
            damaged += 1
            with pytest.raises(DecodeError):
                messages.ModelInferRequest.FromString(bytes(changed))
    assert damaged > 1000
