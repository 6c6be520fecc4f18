"""The protocol over gRPC, for a `grpc.aio` server."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias, cast

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gearshift.errors import GearshiftError
from gearshift.server.errors import RequestError, TooManyRequests
from gearshift.server.limits import Limits
from gearshift.server.oip import describe
from gearshift.server.oip.generated import inference_pb2 as messages
from gearshift.server.oip.grpc_infer import read_infer, write_answer
from gearshift.server.oip.repository import Repository
from gearshift.server.oip.request import NO_SHARED_MEMORY
from gearshift.server.service import Service

SERVICE = "inference.GRPCInferenceService"
"""What clients call: the protocol's name, not that of our file's package."""
MOST_IN_STREAM = 4
"""Requests of one stream that are at work at a time."""
NEAR_BYTES = 10**6
"""Requests up to this are read on the event loop: a thread would cost more."""
ABORT_RAISES = "grpc.aio's abort always raises"
INTERNAL = "an error of the server's own; its log has more"

Context: TypeAlias = grpc.aio.ServicerContext
Handler = Callable[[Any, Context], Awaitable[Message]]

log = logging.getLogger(__name__)


class Servicer:
    """The methods of one service; see `add_to_server`."""

    def __init__(self, service: Service, limits: Limits, allow_repository: bool = False) -> None:
        self._service = service
        self._limits = limits
        self._repository = Repository(service, allow_repository)

    def methods(self) -> dict[str, Handler]:
        """Those with one request and one answer, by name."""
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ServerMetadata": self.server_metadata,
            "ModelReady": self.model_ready,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.load,
            "RepositoryModelUnload": self.unload,
        }

    async def server_live(self, request: Message, context: Context) -> Message:
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, request: Message, context: Context) -> Message:
        return messages.ServerReadyResponse(ready=self._service.ready)

    async def server_metadata(self, request: Message, context: Context) -> Message:
        return ParseDict(describe.server_metadata(), messages.ServerMetadataResponse())

    async def model_ready(
        self, request: messages.ModelReadyRequest, context: Context
    ) -> messages.ModelReadyResponse:
        ready = describe.is_ready(self._service, request.name, request.version)
        return messages.ModelReadyResponse(ready=ready)

    async def model_metadata(
        self, request: messages.ModelMetadataRequest, context: Context
    ) -> Message:
        said = describe.model_metadata(self._service, request.name, request.version)
        return ParseDict(said, messages.ModelMetadataResponse())

    async def model_config(self, request: messages.ModelConfigRequest, context: Context) -> Message:
        said = describe.model_config(self._service, request.name, request.version)
        return ParseDict({"config": said}, messages.ModelConfigResponse())

    async def model_statistics(
        self, request: messages.ModelStatisticsRequest, context: Context
    ) -> Message:
        said = describe.model_statistics(self._service, request.name, request.version)
        return ParseDict(said, messages.ModelStatisticsResponse())

    async def repository_index(
        self, request: messages.RepositoryIndexRequest, context: Context
    ) -> Message:
        said = self._repository.index(only_ready=request.ready)
        return ParseDict({"models": said}, messages.RepositoryIndexResponse())

    async def load(self, request: messages.RepositoryModelLoadRequest, context: Context) -> Message:
        await self._repository.load(request.model_name, request.parameters)
        return messages.RepositoryModelLoadResponse()

    async def unload(
        self, request: messages.RepositoryModelUnloadRequest, context: Context
    ) -> Message:
        await self._repository.unload(request.model_name)
        return messages.RepositoryModelUnloadResponse()

    async def model_infer(
        self, request: messages.ModelInferRequest, context: Context
    ) -> messages.ModelInferResponse:
        """One request; raises what `read_infer` and the service raise."""
        seconds = context.time_remaining()
        size = request.ByteSize()
        if size > NEAR_BYTES:
            asked = await asyncio.to_thread(
                read_infer, self._service, self._limits, request, seconds
            )
        else:
            asked = read_infer(self._service, self._limits, request, seconds)
        return write_answer(request, await self._service.infer(asked))

    async def model_stream_infer(
        self, requests: AsyncIterator[messages.ModelInferRequest], context: Context
    ) -> AsyncIterator[messages.ModelStreamInferResponse]:
        """Answers in the order of their requests, a few of which are at work at a time."""
        tasks: asyncio.Queue[asyncio.Task[messages.ModelStreamInferResponse] | None]
        tasks = asyncio.Queue(MOST_IN_STREAM)
        begun: set[asyncio.Task[Any]] = set()
        room = asyncio.Semaphore(MOST_IN_STREAM)

        async def read() -> None:
            try:
                await room.acquire()
                async for request in requests:
                    task = asyncio.create_task(self._stream_answer(request, context))
                    begun.add(task)
                    tasks.put_nowait(task)
                    await room.acquire()
            finally:
                await tasks.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await tasks.get()) is not None:
                answer = await task
                begun.discard(task)
                room.release()
                yield answer
            # Says why nothing more is read.
            await reader
        finally:
            # The client has gone, or all is answered.
            for left in (reader, *begun):
                left.cancel()

    async def _stream_answer(
        self, request: messages.ModelInferRequest, context: Context
    ) -> messages.ModelStreamInferResponse:
        """An answer or an error, which leaves the rest of the stream alone."""
        try:
            answer = await self.model_infer(request, context)
            return messages.ModelStreamInferResponse(infer_response=answer)
        except Exception as error:
            code, text, _ = ending(error)
            return messages.ModelStreamInferResponse(
                error_message=f"[{code.name}] {text}",
                infer_response=messages.ModelInferResponse(
                    model_name=request.model_name, id=request.id
                ),
            )


def ending(error: Exception) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """A failed call's code, details and trailing metadata.

    What nobody raised on purpose goes to the log, and not to the client.
    """
    if isinstance(error, RequestError):
        trailing: tuple[tuple[str, str], ...] = ()
        if isinstance(error, TooManyRequests):
            # Clients with a retry policy obey the second by themselves.
            trailing = (
                ("retry-after", str(max(1, math.ceil(error.retry_after)))),
                ("grpc-retry-pushback-ms", str(math.ceil(1e3 * error.retry_after))),
            )
        return grpc.StatusCode[error.code], str(error), trailing
    if isinstance(error, GearshiftError):
        return grpc.StatusCode.INTERNAL, str(error), ()
    log.error("gRPC call failed", exc_info=error)
    return grpc.StatusCode.INTERNAL, INTERNAL, ()


async def _abort(context: Context, error: Exception) -> NoReturn:
    await context.abort(*ending(error))
    raise AssertionError(ABORT_RAISES)


def _guarded(handler: Handler) -> Handler:
    async def answer(request: Message, context: Context) -> Message:
        try:
            return await handler(request, context)
        except Exception as error:
            await _abort(context, error)

    return answer


def _parser(message: type[Message]) -> Callable[[bytes], Message]:
    return cast("Callable[[bytes], Message]", message.FromString)


class _SharedMemory(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Refuses the calls of the protocol's shared memory in words."""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if not (call.method.startswith(f"/{SERVICE}/") and "SharedMemory" in call.method):
            return None

        async def refuse(request: bytes, context: Context) -> bytes:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_SHARED_MEMORY)
            raise AssertionError(ABORT_RAISES)

        return grpc.unary_unary_rpc_method_handler(refuse)


def handlers(servicer: Servicer) -> tuple[grpc.GenericRpcHandler, ...]:
    """For `grpc.aio.Server.add_generic_rpc_handlers`."""
    methods = servicer.methods()
    made = {}
    for method in messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        parse = _parser(GetMessageClass(method.input_type))
        write = GetMessageClass(method.output_type).SerializeToString
        if method.name == "ModelStreamInfer":
            made[method.name] = grpc.stream_stream_rpc_method_handler(
                servicer.model_stream_infer, parse, write
            )
        else:
            made[method.name] = grpc.unary_unary_rpc_method_handler(
                _guarded(methods[method.name]), parse, write
            )
    return grpc.method_handlers_generic_handler(SERVICE, made), _SharedMemory()


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Options of a `grpc.aio.server` that hold `limits`; messages are measured decompressed too."""
    return [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
    ]


def add_to_server(
    server: grpc.aio.Server, service: Service, limits: Limits, allow_repository: bool = False
) -> None:
    """Serve the protocol.

    Args:
        server: not started yet, and made with `server_options`.
        service: what the methods ask.
        limits: of each request.
        allow_repository: whether clients may load and unload models.
    """
    server.add_generic_rpc_handlers(handlers(Servicer(service, limits, allow_repository)))
