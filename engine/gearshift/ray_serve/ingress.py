"""The front of the application: HTTP as `gearshift serve` speaks it, replicas behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.routing import Mount

from gearshift.errors import GearshiftError
from gearshift.graph import read_artifact
from gearshift.models import find_model
from gearshift.ray_serve.engine import Configuration, read_configuration
from gearshift.server.app import make_app
from gearshift.server.errors import (
    Forbidden,
    NotFound,
    TimedOut,
    TooManyRequests,
    Unavailable,
)
from gearshift.server.limits import Limits
from gearshift.server.logs import Log
from gearshift.server.metrics import Metrics
from gearshift.server.observer import Observer, Outcome, RequestEvent
from gearshift.server.requests import InferAnswer, InferRequest, ModelInfo
from gearshift.server.service import Service
from gearshift.server.statistics import Statistics, VersionStatistics
from gearshift.server.telemetry import Telemetry
from gearshift.server.tracing import tracing_from_environment

MOST_ATTEMPTS = 5
"""Replicas that may die under one request before it fails."""
RETRY_SECONDS = 1.0
"""After which a client who was refused may ask again."""


class Replicas:
    """All replicas as one: a request goes to one that keeps its task, and on if that one dies."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle
        self.deaths = 0
        """Times that a replica died under a request, which then went to another."""

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Of a request that names its task.

        Running one again does no harm: a replica's death only costs time.

        Raises:
            RequestError: what a replica finds wrong with it; TooManyRequests, the queue is full;
                Unavailable, `MOST_ATTEMPTS` replicas died.
        """
        handle = self._handle.options(multiplexed_model_id=request.task or "")
        for _ in range(MOST_ATTEMPTS):
            try:
                return cast(InferAnswer, await handle.infer.remote(request))
            except RayActorError:
                self.deaths += 1
            except BackPressureError as full:
                raise TooManyRequests(f"replicas are busy: {full}", RETRY_SECONDS) from None
            except RayTaskError as error:
                if isinstance(error.cause, GearshiftError):
                    raise error.cause from None
                raise
        raise Unavailable(f"{MOST_ATTEMPTS} replicas died under this request")


class ReplicatedService:
    """To the endpoints what `gearshift.server.service.Service` is, for one model on replicas."""

    def __init__(self, replicas: Replicas, observer: Observer) -> None:
        self._replicas = replicas
        self._observer = observer
        self._info: ModelInfo | None = None
        self._statistics: dict[str, VersionStatistics] = {}

    def configure(self, configuration: Configuration) -> None:
        """What is served from now on; its card is read here, its weights by the replicas."""
        spec = configuration.spec
        card = read_artifact(find_model(spec.model)).card
        self._info = ModelInfo(
            spec.name, configuration.version, "READY", "", card, spec.backend, spec.precision
        )
        self.settings = configuration.settings
        self._statistics.setdefault(configuration.version, VersionStatistics(configuration.version))
        self._observer.model_changed(spec.name, configuration.version, "READY")

    @property
    def ready(self) -> bool:
        return self._info is not None

    @property
    def queued(self) -> dict[tuple[str, str], int]:
        """Ray tells its own metrics of queues."""
        return {}

    def models(self) -> list[ModelInfo]:
        return [] if self._info is None else [self._info]

    def model(self, name: str, version: str | None = None) -> ModelInfo:
        """Raises NotFound."""
        info = self._info
        if info is None or name != info.name:
            raise NotFound(f"there is no model {name[:80]!r} here")
        if version not in (None, info.version):
            raise NotFound(f"model {name} has no version {version!r}: {info.version} is served")
        return info

    def statistics(self, name: str) -> Statistics:
        """Of the requests that came through this ingress. Raises NotFound."""
        self.model(name)
        return Statistics(name, tuple(entry.copy() for entry in self._statistics.values()))

    async def load(self, name: str) -> ModelInfo:
        """Raises Forbidden."""
        raise Forbidden("models are changed by deploying the Ray application again")

    async def unload(self, name: str) -> None:
        """Raises Forbidden."""
        await self.load(name)

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Raises RequestError, as `Service.infer`."""
        info = self.model(request.model, request.version)
        assert info.card is not None
        task = request.task
        if task is None and len(info.card.tasks) == 1:
            task = info.card.tasks[0].name
        if task not in {known.name for known in info.card.tasks}:
            known = ", ".join(known.name for known in info.card.tasks)
            raise NotFound(f"model {info.name} has no task {task!r}: choose from {known}")
        return await self._counted(replace(request, task=task), info)

    async def _counted(self, request: InferRequest, info: ModelInfo) -> InferAnswer:
        loop = asyncio.get_running_loop()
        statistics = self._statistics[str(info.version)]
        event = _event(request, str(info.version))
        self._observer.accepted(event, 0)
        outcome: Outcome = "failed"
        begun, queue, compute = loop.time(), 0.0, 0.0
        try:
            async with asyncio.timeout(request.timeout):
                answer = await self._replicas.infer(request)
            outcome, queue, compute = "success", answer.queue_seconds, answer.compute_seconds
            return answer
        except TimeoutError:
            outcome = "timed_out"
            raise TimedOut(f"the request's {request.timeout:g} s are over") from None
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            images = len(request.image)
            statistics.count_request(outcome, images, loop.time() - begun, queue, compute)
            self._observer.request_finished(event, outcome, queue, compute)


def _event(request: InferRequest, version: str) -> RequestEvent:
    number, _, height, width = request.image.shape
    return RequestEvent(
        request.id,
        request.model,
        version,
        str(request.task),
        height,
        width,
        number,
        request.priority,
        request.timeout,
    )


@serve.ingress()
class Ingress:
    """The deployment that Ray's HTTP proxy asks."""

    def __init__(self, engine: DeploymentHandle[Any]) -> None:
        self._telemetry = Telemetry(Metrics(), tracing_from_environment())
        self._service = ReplicatedService(Replicas(engine), self._telemetry.observer)

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Ray calls this before the first request, and when the application is updated."""
        self._service.configure(read_configuration(config))

    def __serve_build_asgi_app__(self) -> Starlette:
        """Ray calls this once, after the constructor."""
        # It has every method of Service that endpoints use.
        service = cast(Service, self._service)
        app = make_app(service, Limits(), Log("json"), self._telemetry)
        # Ray wants an application with a lifespan.
        return Starlette(routes=[Mount("", app)])
