"""OpenTelemetry traces, where they are configured: a span a request, and in it queue and compute.

Configured by the standard's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER`, ...) and sent by OTLP over HTTP from a thread of its own. A client's
`traceparent` is continued.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gearshift.errors import InputError
from gearshift.server.observer import NoObserver, Outcome, RequestEvent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""One of them set: traces are wanted."""


class Tracing(NoObserver):
    """Makes spans with `provider`."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("gearshift.server")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str]) -> Iterator[None]:
        """Around one request; `headers` (or a call's metadata) may hold a `traceparent`."""
        context = self._propagator.extract(dict(headers))
        with self._tracer.start_as_current_span(
            name, context, self._trace.SpanKind.SERVER, record_exception=False
        ):
            yield

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """What the current span was: an HTTP request."""
        span = self._trace.get_current_span()
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)

    def called(self, method: str, code: str) -> None:
        """What the current span was: a gRPC call."""
        span = self._trace.get_current_span()
        span.update_name(method)
        span.set_attribute("rpc.system", "grpc")
        span.set_attribute("rpc.method", method)
        span.set_attribute("rpc.grpc.status_code", code)
        if code in ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
            span.set_status(self._trace.StatusCode.ERROR)

    def request_finished(
        self, request: RequestEvent, outcome: Outcome, queue_seconds: float, compute_seconds: float
    ) -> None:
        end = time.time_ns()
        computed = end - round(1e9 * compute_seconds)
        arrived = computed - round(1e9 * queue_seconds)
        attributes: dict[str, str | int] = {
            "gearshift.model": request.model,
            "gearshift.version": request.version,
            "gearshift.task": request.task,
            "gearshift.images": request.images,
            "gearshift.outcome": outcome,
        }
        self._trace.get_current_span().set_attributes(attributes)
        self._tracer.start_span("queue", start_time=arrived).end(computed)
        if compute_seconds:
            self._tracer.start_span("compute", start_time=computed).end(end)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.force_flush(5_000)
        self._provider.shutdown()


def tracing_from_environment() -> Tracing | None:
    """Tracing by the standard's variables; None where they ask for none.

    Raises:
        InputError: they do, and the packages are missing.
    """
    if not any(os.environ.get(variable) for variable in VARIABLES):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise InputError(
            f"traces are asked for by {' or '.join(VARIABLES)}, but {error.name} is not "
            "installed: pip install 'gearshift[telemetry]'"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME", "gearshift")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
