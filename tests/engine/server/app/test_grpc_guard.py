"""What every gRPC call meets, whatever its method."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from gearshift.server.auth import ApiKeys
from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions
from gearshift.server.oip.generated import inference_pb2 as messages

from ..waiting import wait_until

KEY = "a-key-of-enough-length"
SERVICE = "/inference.GRPCInferenceService/"
MOST = 100_000


@pytest.fixture(scope="module")
def guarded(make_live: Callable[..., Any]) -> Any:
    limits = Limits(body_bytes=MOST, all_bodies_bytes=MOST, header_bytes=4_000)
    return make_live(ListenerOptions(keys=ApiKeys(frozenset({KEY})), limits=limits))


@pytest.fixture
def channel(guarded: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{guarded.listeners.grpc_port}") as opened:
        yield opened


def lines(live: Any, number: int) -> list[dict[str, Any]]:
    """The log's, once there are so many."""
    wait_until(lambda: live.log.getvalue().count("\n") >= number)
    return [json.loads(line) for line in live.log.getvalue().splitlines()]


def request(task: str = "depth") -> bytes:
    tensor = np.zeros((1, 3, 24, 40), "<f4").tobytes()
    message = messages.ModelInferRequest(model_name="random", raw_input_contents=[tensor])
    message.parameters["task"].string_param = task
    message.inputs.add(name="image", datatype="FP32", shape=[1, 3, 24, 40])
    return message.SerializeToString()


def refused(call: Callable[..., Any], sent: bytes, *metadata: tuple[str, str]) -> Any:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        call(sent, timeout=60, metadata=[("x-api-key", KEY), *metadata])
    return error.value


def test_only_health_is_told_without_a_key(channel: grpc.Channel, guarded: Any) -> None:
    for method in ("ServerLive", "ServerReady"):
        channel.unary_unary(SERVICE + method)(b"", timeout=60)
    before = len(lines(guarded, 0))
    for method in ("ServerMetadata", "ModelInfer", "RepositoryIndex"):
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(SERVICE + method)(b"", timeout=60)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "x-api-key" in error.value.details()
    told = lines(guarded, before + 3)[before:]
    assert [line["method"] for line in told] == ["ServerMetadata", "ModelInfer", "RepositoryIndex"]
    assert {line["code"] for line in told} == {"UNAUTHENTICATED"}


def test_a_stream_asks_for_the_key_too(channel: grpc.Channel) -> None:
    call = channel.stream_stream(SERVICE + "ModelStreamInfer")
    with pytest.raises(grpc.RpcError) as error:
        list(call(iter([request()]), timeout=60))
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    answers = list(call(iter([request()] * 3), timeout=60, metadata=[("x-api-key", KEY)]))
    assert len(answers) == 3
    for answer in answers:
        assert not messages.ModelStreamInferResponse.FromString(answer).error_message


def test_a_call_is_a_line_with_the_clients_id(channel: grpc.Channel, guarded: Any) -> None:
    infer = channel.unary_unary(SERVICE + "ModelInfer")
    before = len(lines(guarded, 0))
    infer(request(), timeout=60, metadata=[("x-api-key", KEY), ("x-request-id", "mine-7")])
    refused(infer, request("nothing"), ("x-request-id", "mine-8"))
    found = {line["id"]: line for line in lines(guarded, before + 2)}
    assert (found["mine-7"]["code"], found["mine-7"]["level"]) == ("OK", "info")
    assert found["mine-8"]["code"] == "NOT_FOUND"
    assert "nothing" in found["mine-8"]["error"]
    assert KEY not in guarded.log.getvalue()


def test_damaged_and_too_long_messages_are_refused(channel: grpc.Channel, guarded: Any) -> None:
    infer = channel.unary_unary(SERVICE + "ModelInfer")
    damaged = refused(infer, b"\xff" * 50)
    assert damaged.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(infer, bytes(MOST + 1)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    large = refused(infer, request(), ("x-large", "a" * 10_000))
    assert large.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    infer(request(), timeout=60, metadata=[("x-api-key", KEY)])


def test_messages_at_work_are_bounded_together(channel: grpc.Channel, guarded: Any) -> None:
    """Part of the limit is held by others, as bodies of HTTP requests would."""
    held = guarded.listeners._held
    infer = channel.unary_unary(SERVICE + "ModelInfer")
    held.add(MOST - 100)
    try:
        error = refused(infer, request())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: held.size == MOST - 100)
    finally:
        held.remove(MOST - 100)
    infer(request(), timeout=60, metadata=[("x-api-key", KEY)])
    wait_until(lambda: held.size == 0)


def test_made_up_methods_add_no_series(channel: grpc.Channel, guarded: Any) -> None:
    for number in range(5):
        method = f"{SERVICE}SystemSharedMemory{number}"
        code = refused(channel.unary_unary(method), b"").code()
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert refused(channel.unary_unary(f"/x/{number}"), b"").code() is code
    text = guarded.telemetry.metrics.text().decode()
    assert 'gearshift_grpc_calls_total{code="UNIMPLEMENTED",method="other"} 5.0' in text
    assert "SharedMemory" not in text


def test_a_stream_that_sends_nothing_for_long_is_ended(make_live: Callable[..., Any]) -> None:
    """At its beginning, and after messages; one that goes on sending is not."""
    live = make_live(ListenerOptions(limits=Limits(stream_seconds=0.5)))
    sent = threading.Event()

    def messages_of(number: int) -> Iterator[bytes]:
        for _ in range(number):
            yield request()
            time.sleep(0.2)
        sent.set()
        # For as long as the test: an iterator that ends would end the stream.
        ended.wait(60)

    for number in (0, 5):
        ended = threading.Event()
        sent.clear()
        with grpc.insecure_channel(f"127.0.0.1:{live.listeners.grpc_port}") as channel:
            stream = channel.stream_stream(SERVICE + "ModelStreamInfer")(messages_of(number))
            answers = [
                messages.ModelStreamInferResponse.FromString(next(stream)) for _ in range(number)
            ]
            with pytest.raises(grpc.RpcError) as error:
                next(stream)
            assert sent.is_set()
            ended.set()
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "nothing for 0.5 s" in error.value.details()
        assert [answer.error_message for answer in answers] == [""] * number
    line = lines(live, 2)[-1]
    assert (line["event"], line["code"]) == ("call", "DEADLINE_EXCEEDED")
    assert live.held() == 0
