"""One inference over gRPC: the message's tensors, raw or number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.server.errors import InvalidRequest
from gearshift.server.limits import Limits
from gearshift.server.oip import tensors
from gearshift.server.oip.generated import inference_pb2 as messages
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

CONTENTS = {"FP32": "fp32_contents", "UINT8": "uint_contents"}
"""The field of `InferTensorContents` for each datatype of the input."""


def read_infer(
    service: Service,
    limits: Limits,
    request: messages.ModelInferRequest,
    seconds: float | None = None,
) -> InferRequest:
    """The request in a message, of which the client waits for `seconds` more.

    Raises:
        RequestError: of every kind that a request can be refused for before it is queued.
    """
    parameters = {name: _value(given) for name, given in request.parameters.items()}
    target = find_target(service, request.model_name, request.model_version, parameters.get("task"))
    check_numbers(len(request.inputs), len(request.outputs), limits)
    for output in request.outputs:
        own = {name: _value(given) for name, given in output.parameters.items()}
        check_output(output.name, own)
    image = tensors.normalised(_input(request), target.card)
    return infer_request(target, image, request.id, parameters, seconds)


def _input(request: messages.ModelInferRequest) -> NDArray[np.generic]:
    """The one input, in its datatype and shape."""
    given, raw = request.inputs[0], request.raw_input_contents
    datatype, shape = tensors.check_input(given.name, given.datatype, tuple(given.shape))
    check_no_shared_memory(given.parameters)
    if not raw:
        numbers: Any = getattr(given.contents, CONTENTS[datatype])
        kind = np.float32 if datatype == "FP32" else np.uint32
        return tensors.from_numbers(np.array(numbers, kind), datatype, shape)
    if len(raw) != 1 or given.HasField("contents"):
        raise InvalidRequest(
            f"{len(raw)} raw_input_contents for 1 input, which has "
            f"{'contents' if given.HasField('contents') else 'no contents'}: give one of them"
        )
    return tensors.from_bytes(raw[0], datatype, shape)


def write_answer(
    request: messages.ModelInferRequest, answer: InferAnswer
) -> messages.ModelInferResponse:
    """The answer's message; the output is raw, least significant byte first."""
    said = messages.ModelInferResponse(
        model_name=request.model_name,
        model_version=answer.version,
        id=request.id,
        raw_output_contents=[tensors.to_bytes(answer.output)],
    )
    said.outputs.add(name=tensors.OUTPUT, datatype="FP32", shape=answer.output.shape)
    for name, value in answer_parameters(answer).items():
        if isinstance(value, bool):
            said.parameters[name].bool_param = value
        elif isinstance(value, int):
            said.parameters[name].int64_param = value
        else:
            said.parameters[name].string_param = value
    return said


def _value(given: messages.InferParameter) -> Any:
    """A parameter's value in Python; None where it has none."""
    choice = given.WhichOneof("parameter_choice")
    return None if choice is None else getattr(given, choice)
