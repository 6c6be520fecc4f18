"""What stands between a gRPC call and its method: the key, bytes held, the log, telemetry."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from gearshift.server.auth import ApiKeys
from gearshift.server.errors import RequestError
from gearshift.server.limits import HeldBytes, Limits
from gearshift.server.logs import Log, request_id
from gearshift.server.oip.generated import inference_pb2 as messages
from gearshift.server.oip.message_size import check_message
from gearshift.server.telemetry import Telemetry

OPEN_METHODS = frozenset({"ServerLive", "ServerReady"})
"""What anybody may call; logged only when they fail."""
METHODS = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
"""By the names that metrics may have as a label: a client can make up others."""

Context: TypeAlias = grpc.aio.ServicerContext
Parser: TypeAlias = Callable[[bytes], Any]


class GrpcGuard(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Around every method that the server has."""

    def __init__(
        self, held: HeldBytes, limits: Limits, keys: ApiKeys, log: Log, telemetry: Telemetry
    ) -> None:
        self._held = held
        self._limits = limits
        self._keys = keys
        self._log = log
        self._telemetry = telemetry

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(details)
        if handler is None:
            return None
        metadata = {k: v for k, v in details.invocation_metadata if isinstance(v, str)}
        method = details.method.rpartition("/")[2]
        name = method if method in METHODS else "other"
        # Messages are parsed here: grpc itself would log each damaged one as a fault of ours.
        parse, write = handler.request_deserializer or bytes, handler.response_serializer
        if handler.stream_stream is not None:
            wrapped = self._stream(handler.stream_stream, parse, name, metadata)
            return grpc.stream_stream_rpc_method_handler(wrapped, None, write)
        wrapped = self._unary(handler.unary_unary, parse, name, metadata)
        return grpc.unary_unary_rpc_method_handler(wrapped, None, write)

    def _unary(
        self, method: Callable[..., Any], parse: Parser, name: str, metadata: Mapping[str, str]
    ) -> Any:
        async def call(data: bytes, context: Context) -> Any:
            with self._told(name, metadata, context):
                size = len(data)
                try:
                    await self._admit(name, metadata, size, context)
                    request = await _parsed(parse, data, name, context)
                    del data
                    return await method(request, context)
                finally:
                    self._held.remove(size)

        return call

    def _stream(
        self, method: Callable[..., Any], parse: Parser, name: str, metadata: Mapping[str, str]
    ) -> Any:
        async def call(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            sizes: deque[int] = deque()

            async def counted() -> AsyncIterator[Any]:
                async for data in self._not_idle(requests, context):
                    sizes.append(len(data))
                    await self._admit(name, metadata, len(data), context)
                    yield await _parsed(parse, data, name, context)

            with self._told(name, metadata, context):
                try:
                    await self._admit(name, metadata, 0, context)
                    # One answer a request, in their order.
                    async for answer in method(counted(), context):
                        self._held.remove(sizes.popleft())
                        yield answer
                finally:
                    self._held.remove(sum(sizes))

        return call

    async def _not_idle(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        """The messages of a stream, which is ended when none comes for long."""
        seconds = self._limits.stream_seconds
        while True:
            try:
                async with asyncio.timeout(seconds):
                    data = await anext(requests)
            except StopAsyncIteration:
                return
            except TimeoutError:
                text = f"the stream sent nothing for {seconds:g} s: open another one when needed"
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
            yield data

    async def _admit(
        self, name: str, metadata: Mapping[str, str], size: int, context: Context
    ) -> None:
        """Count `size`, whatever comes of it, and end a call that may not be."""
        try:
            self._held.add(size)
            if name not in OPEN_METHODS:
                self._keys.check(metadata)
        except RequestError as error:
            await context.abort(grpc.StatusCode[error.code], str(error))

    @contextmanager
    def _told(self, name: str, metadata: Mapping[str, str], context: Context) -> Iterator[None]:
        """A span around the call; its end, in the log and the metrics."""
        identity = request_id(metadata.get("x-request-id"))
        begun = time.perf_counter()
        code = "UNKNOWN"
        with self._telemetry.span(name, metadata):
            try:
                yield
                code = "OK"
            except (asyncio.CancelledError, GeneratorExit):
                code = "CANCELLED"
                raise
            except Exception:
                code = _code(context)
                raise
            finally:
                self._telemetry.called(name, code)
                if code != "OK" or name not in OPEN_METHODS:
                    self._log.write(
                        "call",
                        "warning" if code in ("INTERNAL", "UNKNOWN") else "info",
                        id=identity,
                        method=name,
                        code=code,
                        ms=1e3 * (time.perf_counter() - begun),
                        error=context.details() or None,
                    )


async def _parsed(parse: Parser, data: bytes, name: str, context: Context) -> Any:
    try:
        if name in METHODS:
            check_message(data, METHODS[name].input_type)
        return parse(data)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is damaged")
    except RequestError as error:
        await context.abort(grpc.StatusCode[error.code], str(error))


def _code(context: Context) -> str:
    """The name of the status that a call was ended with."""
    number = context.code()
    for code in grpc.StatusCode:
        if number in (code, code.value[0]):
            return "UNKNOWN" if code is grpc.StatusCode.OK else str(code.name)
    return "UNKNOWN"
