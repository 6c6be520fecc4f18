"""Metrics and traces as one: what is told of each HTTP request and each gRPC call."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from gearshift.server.metrics import Metrics
from gearshift.server.observer import Observer, Observers
from gearshift.server.tracing import Tracing


class Telemetry:
    """Of one server."""

    def __init__(self, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self.metrics = metrics
        self.tracing = tracing

    @property
    def observer(self) -> Observer:
        """For the service."""
        if self.tracing is None:
            return self.metrics
        return Observers(self.metrics, self.tracing)

    def span(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Around one request, whose headers may continue a client's trace."""
        return nullcontext() if self.tracing is None else self.tracing.span(name, headers)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request is over; `route` is its pattern. Called in its span."""
        self.metrics.answered(route, method, status, seconds)
        if self.tracing is not None:
            self.tracing.answered(route, method, status, seconds)

    def called(self, method: str, code: str) -> None:
        """A gRPC call is over. Called in its span."""
        self.metrics.called(method, code)
        if self.tracing is not None:
            self.tracing.called(method, code)
