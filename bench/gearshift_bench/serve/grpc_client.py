"""A client of the protocol's gRPC form that sends messages encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gearshift.errors import BackendError
from gearshift_bench.serve.drive import PATIENCE
from gearshift_bench.serve.outcome import Reply, TimedReply
from gearshift_bench.serve.payload import Payload, answered

try:
    import grpc
    from google.protobuf.json_format import MessageToDict

    from gearshift.server.oip.generated import inference_pb2 as messages
except ImportError as error:
    raise BackendError(f"gRPC: {error}; pip install 'gearshift[serve]'") from None

SERVICE = "/inference.GRPCInferenceService"
MOST_BYTES = 256_000_000
"""Of an answer."""


class GrpcClient:
    """A server's gRPC form; every request over one connection."""

    def __init__(self, host: str, port: int, tls: bool = False, api_key: str | None = None) -> None:
        self._address = f"{host}:{port}"
        self._tls = tls
        self._channel = self._open(grpc.aio)
        self._blocking: list[grpc.Channel] = []
        self._metadata = [("authorization", f"Bearer {api_key}")] if api_key else []

    def _open(self, kind: Any) -> Any:
        """A channel of `grpc` or `grpc.aio`."""
        options = [("grpc.max_receive_message_length", MOST_BYTES)]
        if self._tls:
            return kind.secure_channel(self._address, grpc.ssl_channel_credentials(), options)
        return kind.insecure_channel(self._address, options)

    async def models(self) -> list[str]:
        """Names of the models that are ready.

        Raises:
            OSError: no answer, or not a good one.
        """
        reply = messages.RepositoryIndexResponse.FromString(
            await self._call("RepositoryIndex", messages.RepositoryIndexRequest(ready=True))
        )
        return [model.name for model in reply.models]

    async def config(self, model: str) -> dict[str, Any]:
        """A model's configuration as JSON has it. Raises OSError."""
        reply = messages.ModelConfigResponse.FromString(
            await self._call("ModelConfig", messages.ModelConfigRequest(name=model))
        )
        return MessageToDict(reply.config, preserving_proto_field_name=True)

    def prepare(self, model: str, payloads: dict[str, Payload]) -> Callable[[str], Any]:
        """Encode the request of each task; the function that sends one and waits for its end."""
        encoded = _encoded(model, payloads)
        call = self._channel.unary_unary(f"{SERVICE}/ModelInfer")

        async def send(task: str) -> Reply:
            try:
                return _read(await call(encoded[task], metadata=self._metadata))
            except grpc.RpcError as error:
                return _unanswered(error)

        return send

    def prepare_blocking(
        self, model: str, payloads: dict[str, Payload]
    ) -> Callable[[str], TimedReply]:
        """The same for one request at a time, without what an event loop costs the client."""
        encoded = _encoded(model, payloads)
        channel = self._open(grpc)
        self._blocking.append(channel)
        call = channel.unary_unary(f"{SERVICE}/ModelInfer")

        def send(task: str) -> TimedReply:
            begin = time.perf_counter()
            try:
                answer = call(encoded[task], metadata=self._metadata, timeout=PATIENCE)
            except grpc.RpcError as error:
                return time.perf_counter() - begin, _unanswered(error)
            seconds = time.perf_counter() - begin
            return seconds, _read(answer)

        return send

    async def _call(self, method: str, message: Any) -> bytes:
        call = self._channel.unary_unary(f"{SERVICE}/{method}")
        try:
            answer: bytes = await call(
                message.SerializeToString(), metadata=self._metadata, timeout=10
            )
        except grpc.aio.AioRpcError as error:
            raise ConnectionRefusedError(
                0, f"{method} answers {error.code().name}: {error.details()}"
            ) from None
        return answer

    async def close(self) -> None:
        """End the connections."""
        await self._channel.close()
        while self._blocking:
            self._blocking.pop().close()


def _encoded(model: str, payloads: dict[str, Payload]) -> dict[str, bytes]:
    return {task: _encode(model, payload).SerializeToString() for task, payload in payloads.items()}


def _unanswered(error: Any) -> Reply:
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Reply("refused")
    return Reply("failed", f"{error.code().name}: {error.details()}")


def _encode(model: str, payload: Payload) -> Any:
    request = messages.ModelInferRequest(model_name=model, raw_input_contents=[payload.tensor])
    request.parameters["task"].string_param = payload.task
    request.inputs.add(name="image", datatype="FP32", shape=payload.shape)
    return request


def _read(data: bytes) -> Reply:
    answer = messages.ModelInferResponse.FromString(data)
    if not answer.raw_output_contents or not answer.raw_output_contents[0]:
        return Reply("failed", "answer without a tensor")
    chosen = {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in answer.parameters.items()
    }
    return answered(chosen)
