"""What the server does, as numbers for Prometheus: `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gearshift.backends import Stats
from gearshift.server.observer import BatchEvent, NoObserver, Outcome, RequestEvent

Numbers = Callable[[], Mapping[tuple[str, str], int]]
"""Of requests, by model and task."""
Family = TypeVar("Family", Counter, Gauge, Histogram)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histograms."""
IMAGES = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds of the histogram of batch sizes."""


class Metrics(NoObserver):
    """Watches the service and the answers; each server has a registry of its own.

    Labels are routes, models, tasks and codes that exist here: what clients make up adds none.
    """

    def __init__(self) -> None:
        # A time stamp beside every series would double their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        seconds = partial(Histogram, buckets=SECONDS, registry=registry)
        images = partial(Histogram, buckets=IMAGES, registry=registry)
        model, task = ("model",), ("model", "task")
        self._requests = counter(
            "gearshift_requests", "Requests to the scheduler by their end.", (*task, "outcome")
        )
        self._request_seconds = seconds(
            "gearshift_request_seconds", "From arrival to answer, of requests that succeeded.", task
        )
        self._queue_seconds = seconds(
            "gearshift_queue_seconds", "Waiting for a batch, of requests that succeeded.", task
        )
        self._batch_seconds = seconds("gearshift_batch_seconds", "Computing one batch.", task)
        self._batch_images = images("gearshift_batch_images", "Images in a batch.", task)
        self._switches = counter(
            "gearshift_task_switches", "Batches before which another task ran.", model
        )
        self._experts = counter(
            "gearshift_expert_uses",
            "Experts of batches that were in fast memory (hit) or not (miss).",
            ("model", "result"),
        )
        self._moved = counter(
            "gearshift_expert_moved_bytes", "Experts' weights moved into fast memory.", model
        )
        self._activations = gauge(
            "gearshift_activation_bytes", "Memory of the last batch's activations.", model
        )
        self._ready = gauge("gearshift_model_ready", "1 where a model answers.", model)
        self._version = gauge(
            "gearshift_model_version", "The version that answers: how often it was loaded.", model
        )
        self._answers = counter(
            "gearshift_http_requests", "HTTP requests.", ("route", "method", "status")
        )
        self._answer_seconds = seconds(
            "gearshift_http_seconds", "From a request's headers to its whole answer.", ("route",)
        )
        self._calls = counter("gearshift_grpc_calls", "gRPC calls.", ("method", "code"))
        ProcessCollector(registry=registry)
        self._children: dict[tuple[object, ...], Counter | Gauge | Histogram] = {}

    def _of(self, family: Family, *labels: str) -> Family:
        """`family.labels(*labels)`, remembered: to look it up takes longer than to count."""
        child = self._children.get((family, *labels))
        if child is None:
            child = self._children[family, *labels] = family.labels(*labels)
        return cast(Family, child)

    def watch_requests(self, queued: Numbers, in_progress: Numbers) -> None:
        """Show how many wait, and how many are not answered yet, whenever the metrics are asked
        for."""
        for name, text, numbers in (
            ("gearshift_queue_depth", "Requests that wait for a batch.", queued),
            (
                "gearshift_requests_in_progress",
                "Accepted requests not yet answered.",
                in_progress,
            ),
        ):
            self._registry.register(_ByTask(name, text, numbers))

    def rejected(self, request: RequestEvent, reason: str) -> None:
        self._of(self._requests, request.model, request.task, "rejected").inc()

    def batch_finished(
        self, batch: BatchEvent, seconds: float, stats: Stats | None, error: Exception | None
    ) -> None:
        self._of(self._batch_seconds, batch.model, batch.task).observe(seconds)
        self._of(self._batch_images, batch.model, batch.task).observe(batch.images)
        if batch.switched:
            self._of(self._switches, batch.model).inc()
        if stats is None:
            return
        for result, number in (("hit", stats.expert_hits), ("miss", stats.expert_misses)):
            if number is not None:
                self._of(self._experts, batch.model, result).inc(number)
        if stats.moved_bytes is not None:
            self._of(self._moved, batch.model).inc(stats.moved_bytes)
        if stats.activation_bytes is not None:
            self._of(self._activations, batch.model).set(stats.activation_bytes)

    def request_finished(
        self, request: RequestEvent, outcome: Outcome, queue_seconds: float, compute_seconds: float
    ) -> None:
        labels = request.model, request.task
        self._of(self._requests, *labels, outcome).inc()
        if outcome == "success":
            self._of(self._queue_seconds, *labels).observe(queue_seconds)
            self._of(self._request_seconds, *labels).observe(queue_seconds + compute_seconds)

    def model_changed(self, name: str, version: str | None, state: str) -> None:
        self._of(self._ready, name).set(state == "READY")
        self._of(self._version, name).set(int(version) if version else 0)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request is over; `route` is its pattern, not its path."""
        self._of(self._answers, route, method, str(status)).inc()
        self._of(self._answer_seconds, route).observe(seconds)

    def called(self, method: str, code: str) -> None:
        """A gRPC call is over."""
        self._of(self._calls, method, code).inc()

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)

    def routes(self) -> list[Route]:
        """`/metrics`."""

        async def metrics(request: Request) -> Response:
            headers = {"content-type": CONTENT_TYPE_PLAIN_0_0_4}
            return Response(self.text(), headers=headers)

        return [Route("/metrics", metrics, methods=["GET"])]


class _ByTask(Collector):
    """A gauge that is looked at when it is asked for."""

    def __init__(self, name: str, text: str, numbers: Numbers) -> None:
        self._name = name
        self._text = text
        self._numbers = numbers

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._text, labels=("model", "task"))
        for labels, number in self._numbers().items():
            family.add_metric(labels, number)
        yield family
