"""The gRPC client against a tiny server: endings told apart, messages as the protocol has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from gearshift.server.oip.generated import inference_pb2 as messages
from gearshift_bench.serve.grpc_client import GrpcClient
from gearshift_bench.serve.outcome import Reply
from gearshift_bench.serve.payload import make_payloads

Infer = Callable[[Any, Any], Any]


def ask(infer: Infer, blocking: bool = False) -> Reply:
    """The reply to one request of task `near` to a server that answers it so."""

    async def main() -> Reply:
        handler = grpc.unary_unary_rpc_method_handler(
            infer,
            messages.ModelInferRequest.FromString,
            messages.ModelInferResponse.SerializeToString,
        )
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    "inference.GRPCInferenceService", {"ModelInfer": handler}
                )
            ]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        client = GrpcClient("127.0.0.1", port, api_key="secret-of-the-test")
        try:
            payloads = make_payloads(["near"], 8, 24)
            if blocking:
                send = client.prepare_blocking("toy", payloads)
                seconds, reply = await asyncio.to_thread(send, "near")
                assert seconds > 0
                return reply
            return await client.prepare("toy", payloads)("near")
        finally:
            await client.close()
            await server.stop(None)

    return asyncio.run(main())


def good(request: Any) -> Any:
    answer = messages.ModelInferResponse(model_name="toy", raw_output_contents=[bytes(8)])
    answer.outputs.add(name="output", datatype="FP32", shape=[1, 2])
    answer.parameters["queue_us"].int64_param = 500
    answer.parameters["compute_us"].int64_param = 7000
    answer.parameters["batch_size"].int64_param = 2
    return answer


@pytest.mark.parametrize("blocking", [False, True])
def test_an_answer_tells_its_times_and_batch(blocking: bool) -> None:
    async def infer(request: Any, context: Any) -> Any:
        return good(request)

    assert ask(infer, blocking) == Reply("answered", "", 0.0005, 0.007, 2)


def test_the_request_is_what_the_protocol_says() -> None:
    seen: list[Any] = []

    async def infer(request: Any, context: Any) -> Any:
        seen.append((request, dict(context.invocation_metadata())))
        return good(request)

    ask(infer)
    ((request, metadata),) = seen
    assert request.model_name == "toy"
    assert request.parameters["task"].string_param == "near"
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "FP32", [1, 3, 8, 24])
    assert np.isfinite(np.frombuffer(request.raw_input_contents[0], "<f4")).all()
    assert metadata["authorization"] == "Bearer secret-of-the-test"


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "refused"),
        (grpc.StatusCode.UNAVAILABLE, "failed"),
        (grpc.StatusCode.INTERNAL, "failed"),
    ],
)
def test_every_ending_is_told_apart(code: grpc.StatusCode, ending: str, blocking: bool) -> None:
    async def infer(request: Any, context: Any) -> Any:
        await context.abort(code, "because")

    reply = ask(infer, blocking)
    assert reply.ending == ending
    assert reply.detail == ("" if ending == "refused" else f"{code.name}: because")


def test_an_answer_without_a_tensor_is_a_failure() -> None:
    async def infer(request: Any, context: Any) -> Any:
        return messages.ModelInferResponse(model_name="toy")

    assert ask(infer).ending == "failed"
