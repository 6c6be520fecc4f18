"""Requests and answers as they go over the wire, written and read by hand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

LENGTH = "inference-header-content-length"


def binary_request(image: np.ndarray, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers; `changes` are fields of the request, or of its input with `input_`."""
    data = image.tobytes()
    given = {
        "name": "image",
        "datatype": "UINT8" if image.dtype == np.uint8 else "FP32",
        "shape": list(image.shape),
        "parameters": {"binary_data_size": len(data)},
    }
    request: dict[str, Any] = {
        "parameters": {"task": "depth", "binary_data_output": True},
        "inputs": [given],
    }
    for name, value in changes.items():
        if name.startswith("input_"):
            given[name.removeprefix("input_")] = value
        else:
            request[name] = value
    text = json.dumps(request).encode()
    return text + data, {LENGTH: str(len(text))}


def post(
    http: httpx.Client, body: bytes, headers: dict[str, str] | None = None, model: str = "random"
) -> httpx.Response:
    return http.post(f"/v2/models/{model}/infer", content=body, headers=headers)


def rest_output(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[LENGTH])
    said = json.loads(answer.content[:length])["outputs"]
    assert [output["name"] for output in said] == ["output"]
    data = answer.content[length:]
    assert said[0]["parameters"] == {"binary_data_size": len(data)}
    return np.frombuffer(data, "<f4").reshape(said[0]["shape"])


@contextlib.contextmanager
def open_stub(server: Any) -> Iterator[Any]:
    with grpc.insecure_channel(
        server.grpc, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def message(image: np.ndarray, task: str = "depth") -> service_pb2.ModelInferRequest:
    made = service_pb2.ModelInferRequest(model_name="random", raw_input_contents=[image.tobytes()])
    made.inputs.add(name="image", datatype="FP32", shape=image.shape)
    made.parameters["task"].string_param = task
    return made


def grpc_output(answer: service_pb2.ModelInferResponse) -> np.ndarray:
    (output,) = answer.outputs
    assert (output.name, output.datatype) == ("output", "FP32")
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(tuple(output.shape))


def refused(call: Callable[[], Any]) -> tuple[str, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code().name, error.details(), dict(error.trailing_metadata())
