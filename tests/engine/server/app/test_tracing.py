"""Traces: a span a request, its parts inside, sent to a collector."""

from __future__ import annotations

import http.server
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from gearshift.errors import InputError
from gearshift.server.listeners import ListenerOptions, Listeners
from gearshift.server.logs import Log
from gearshift.server.metrics import Metrics
from gearshift.server.telemetry import Telemetry
from gearshift.server.tracing import VARIABLES, Tracing, tracing_from_environment

pytest.importorskip("opentelemetry.sdk.trace")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def traced() -> tuple[Tracing, Any]:
    """Tracing into memory, and the memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return Tracing(provider), memory


def test_a_request_is_a_span_of_the_clients_trace_with_queue_and_compute_inside(
    traced: tuple[Tracing, Any],
    make_application: Callable[..., Any],
    photo: Callable[..., bytes],
) -> None:
    tracing, memory = traced
    app = make_application(telemetry=Telemetry(Metrics(), tracing))
    answer = app.ask("POST", "/v1/random/depth", photo(), {"traceparent": PARENT})
    assert answer.status == 200
    spans = {span.name: span for span in memory.get_finished_spans()}
    request = spans["POST /v1/{model}/{task}"]
    assert set(spans) == {request.name, "queue", "compute"}
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["gearshift.task"] == "depth"
    for name in ("queue", "compute"):
        assert spans[name].parent.span_id == request.context.span_id
        assert spans[name].start_time <= spans[name].end_time
    assert spans["queue"].end_time == spans["compute"].start_time


def test_a_failed_request_is_told_by_its_span(
    traced: tuple[Tracing, Any], make_application: Callable[..., Any]
) -> None:
    tracing, memory = traced
    app = make_application(telemetry=Telemetry(Metrics(), tracing))
    app.ask("POST", "/v1/nothing/depth", b"x", {"traceparent": "nonsense"})
    (span,) = memory.get_finished_spans()
    assert span.attributes["http.response.status_code"] == 404
    assert span.parent is None


def endless() -> Iterator[bytes]:
    """One request of a stream that its client never ends."""
    yield b""
    threading.Event().wait(8)


def test_grpc_calls_and_streams_are_spans_too(
    traced: tuple[Tracing, Any],
    start_service: Callable[..., Any],
    loop_thread: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracing, memory = traced
    telemetry = Telemetry(Metrics(), tracing)
    service = start_service(None, telemetry.observer)
    options = ListenerOptions(port=0, grpc_port=0)
    listeners = Listeners(service, options, Log("json", io.StringIO()), telemetry)
    loop_thread.run(listeners.open())
    try:
        with grpc.insecure_channel(f"127.0.0.1:{listeners.grpc_port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
            call(b"", timeout=60, metadata=[("traceparent", PARENT)])
            stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            answers = stream(endless(), timeout=60, metadata=[("traceparent", PARENT)])
            assert next(answers)
            answers.cancel()
    finally:
        loop_thread.run(listeners.close(5))
    spans = {span.name: span for span in memory.get_finished_spans()}
    assert set(spans) == {"ServerMetadata", "ModelStreamInfer"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert spans["ServerMetadata"].attributes["rpc.grpc.status_code"] == "OK"
    # grpc.aio may tell of the requests' end before it tells that the client cancelled.
    code = spans["ModelStreamInfer"].attributes["rpc.grpc.status_code"]
    assert code in ("CANCELLED", "OK")
    assert not [record for record in caplog.records if "opentelemetry" in record.name]


def test_without_the_variables_there_are_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert tracing_from_environment() is None


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[0], "http://127.0.0.1:9/v1/traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InputError, match=r"gearshift\[telemetry\]"):
        tracing_from_environment()


def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv(VARIABLES[0], f"http://127.0.0.1:{server.server_port}/v1/traces")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-cameras")
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_COMPRESSION", raising=False)
        tracing = tracing_from_environment()
        assert tracing is not None
        with tracing.span("GET", {}):
            tracing.answered("/ready", "GET", 503, 0.1)
        tracing.close()
        server.shutdown()
        thread.join()
    (sent,) = (ExportTraceServiceRequest.FromString(data) for data in received)
    (resource,) = sent.resource_spans
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert named["service.name"] == "our-cameras"
    (span,) = resource.scope_spans[0].spans
    assert span.name == "GET /ready"
    assert span.status.code == 2


def test_a_server_without_traces_does_not_load_their_packages() -> None:
    code = (
        "import sys, gearshift.server.run\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
