"""One inference over REST: JSON with a header of its own length, tensors in binary behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.server.errors import InvalidRequest
from gearshift.server.limits import Limits, inflate
from gearshift.server.oip import tensors
from gearshift.server.oip.json_tensors import JsonText, number_text
from gearshift.server.oip.request import (
    answer_parameters,
    check_no_shared_memory,
    check_numbers,
    check_output,
    find_target,
    infer_request,
)
from gearshift.server.requests import InferAnswer, InferRequest
from gearshift.server.service import Service

HEADER_LENGTH = "inference-header-content-length"
"""The header that says where the JSON ends and binary tensors begin. The content type does not."""
SMALL_HEADER = 2_000
"""Bytes of JSON that are remembered."""


@dataclass(frozen=True)
class RestRequest:
    """What is asked of the service, and what the answer must repeat or look like."""

    infer: InferRequest
    model_name: str
    """As the client has it: perhaps `model:task`."""
    identity: str | None
    binary: bool
    """The output's form, else numbers in the JSON."""


@dataclass(frozen=True)
class Header:
    """What the JSON of a request says, the numbers of its tensor aside."""

    text: JsonText
    parameters: Mapping[str, Any]
    identity: str | None
    datatype: str
    shape: tuple[int, ...]
    data: Any
    """A mark of `text`, if it is given there at all."""
    size: Any
    """Of the tensor behind the JSON, as the client says it; None: there is none."""
    binary: bool
    """The output's form."""


def read_infer(
    service: Service,
    limits: Limits,
    model_name: str,
    version: str,
    body: bytes | memoryview,
    headers: Mapping[str, str],
) -> RestRequest:
    """The request in a body.

    Raises:
        RequestError: of every kind that a request can be refused for before it is queued.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    plain = inflate(bytes(body), encoding, limits) if encoding else body
    text, binary = split_body(plain, headers.get(HEADER_LENGTH))
    if len(binary) and len(text) <= SMALL_HEADER:
        header = _same_header(bytes(text), limits)
    else:
        header = read_header(text, limits)
    target = find_target(service, model_name, version, header.parameters.get("task"))
    image = tensors.normalised(_tensor(header, binary), target.card)
    infer = infer_request(target, image, header.identity or "", header.parameters)
    return RestRequest(infer, model_name, header.identity, header.binary)


def read_header(text: bytes | memoryview, limits: Limits) -> Header:
    """A request's JSON.

    Raises:
        InvalidRequest: it is none, or asks for what the model has not.
        TooLarge: it is over a limit.
    """
    parsed = JsonText(text, limits)
    request = _object(parsed.value, "the request")
    parameters = _object(request.get("parameters", {}), "parameters")
    identity = request.get("id")
    if not isinstance(identity, str | None):
        raise InvalidRequest(f"id is {tensors.shown(identity)}: give a text")
    inputs = _objects(request.get("inputs"), "inputs")
    outputs = _objects(request.get("outputs", []), "outputs")
    check_numbers(len(inputs), len(outputs), limits)
    form = _output_form(outputs, parameters)
    given = inputs[0]
    datatype, shape = tensors.check_input(
        given.get("name"), given.get("datatype"), given.get("shape")
    )
    own = _object(given.get("parameters", {}), "the input's parameters")
    check_no_shared_memory(own)
    size = own.get("binary_data_size")
    if size is not None and "data" in given:
        raise InvalidRequest(f"input {tensors.IMAGE} has both data and binary_data_size: give one")
    return Header(parsed, parameters, identity, datatype, shape, given.get("data"), size, form)


_same_header = lru_cache(maxsize=64)(read_header)
"""A client that sends tensors in binary says the same before each of them."""


def split_body(
    body: bytes | memoryview, header_length: str | None
) -> tuple[bytes | memoryview, memoryview]:
    """The JSON, and the binary tensors behind it.

    Raises:
        InvalidRequest: the length is no number, or more than there is.
    """
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 20):
        raise InvalidRequest(f"{HEADER_LENGTH} {header_length[:40]!r} is no number of bytes")
    length = int(header_length)
    if length > len(body):
        raise InvalidRequest(
            f"{HEADER_LENGTH} is {length:,}, but the whole body has {len(body):,} bytes"
        )
    view = memoryview(body)
    return view[:length], view[length:]


def _tensor(header: Header, binary: memoryview) -> NDArray[np.generic]:
    """The one input, in its datatype and shape."""
    if header.size is None:
        if len(binary):
            raise InvalidRequest(
                f"{len(binary):,} bytes stand behind the JSON, but input {tensors.IMAGE} has no "
                "parameter binary_data_size"
            )
        numbers = header.text.numbers(header.data)
        return tensors.from_numbers(numbers, header.datatype, header.shape)
    if type(header.size) is not int or header.size != len(binary):
        raise InvalidRequest(
            f"binary_data_size is {tensors.shown(header.size)}, but {len(binary):,} bytes stand "
            f"behind the JSON: is {HEADER_LENGTH} sent?"
        )
    return tensors.from_bytes(binary, header.datatype, header.shape)


def _output_form(outputs: list[dict[str, Any]], parameters: dict[str, Any]) -> bool:
    """Whether the output goes in binary."""
    binary = parameters.get("binary_data_output", False)
    for output in outputs:
        own = _object(output.get("parameters", {}), "the output's parameters")
        check_output(output.get("name"), own)
        binary = own.get("binary_data", binary)
    if not isinstance(binary, bool):
        raise InvalidRequest("binary_data and binary_data_output are true or false")
    return binary


def write_answer(
    asked: RestRequest, answer: InferAnswer
) -> tuple[list[bytes | memoryview], dict[str, str]]:
    """The body in pieces, and the headers that say what it is.

    Raises:
        InvalidRequest: JSON was asked for, and cannot say what the output holds.
    """
    names, output = _frame(asked.model_name, answer.version, answer.output.shape, asked.binary)
    identity = "" if asked.identity is None else f'"id": {json.dumps(asked.identity)}, '
    parameters = json.dumps(answer_parameters(answer))
    text = f'{{{names}, {identity}"parameters": {parameters}, "outputs": [{output}]}}'.encode()
    if asked.binary:
        data = tensors.to_buffer(answer.output)
        headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
        return [text, data], headers
    # The output comes last, so that its numbers can be put in before the closing brackets.
    try:
        numbers = b"".join(number_text(answer.output))
    except ValueError:
        raise InvalidRequest(
            f"{tensors.OUTPUT} holds NaN or infinity, which JSON has not: ask for binary_data"
        ) from None
    return [text.removesuffix(b"}]}") + b', "data": [', numbers, b"]}]}"], {
        "content-type": "application/json"
    }


@lru_cache(maxsize=64)
def _frame(model_name: str, version: str, shape: tuple[int, ...], binary: bool) -> tuple[str, str]:
    """What the JSON of many answers has in common: the names, and the output."""
    names = json.dumps({"model_name": model_name, "model_version": version})
    output: dict[str, Any] = {"name": tensors.OUTPUT, "datatype": "FP32", "shape": list(shape)}
    if binary:
        output["parameters"] = {"binary_data_size": 4 * math.prod(shape)}
    return names[1:-1], json.dumps(output)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what}: give a JSON object, not {type(value).__name__}")
    return value


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{what}: give a JSON array of objects, not {type(value).__name__}")
    return [_object(entry, f"an entry of {what}") for entry in value]
