"""A replica: one open model, and the tasks for which Ray sends requests to it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from ray import serve

from gearshift.errors import GearshiftError
from gearshift.scheduler import SchedulerSettings
from gearshift.server.errors import InvalidRequest, RequestError
from gearshift.server.requests import InferAnswer, InferRequest, ModelSpec, ServiceSettings
from gearshift.server.served_model import ServedModel, check_finite


@dataclass(frozen=True)
class Configuration:
    """What can change while the application runs, one replica after the other."""

    spec: ModelSpec
    version: str
    """Of the model, for clients that ask for one."""
    most_batch: int
    batch_wait_seconds: float

    @property
    def settings(self) -> ServiceSettings:
        """Bounds of a request."""
        return ServiceSettings(SchedulerSettings(most_batch=self.most_batch))

    def to_json(self) -> dict[str, Any]:
        """As Ray carries it."""
        return asdict(self)


def read_configuration(config: Mapping[str, Any]) -> Configuration:
    """The inverse of `to_json`."""
    spec = ModelSpec(**{**config["spec"], "approximate": tuple(config["spec"]["approximate"])})
    return Configuration(**{**config, "spec": spec})


@dataclass(frozen=True)
class _Job:
    """A request in the queue of its replica."""

    image: NDArray[np.float32]
    arrival: float


def _count_images(jobs: list[_Job]) -> int:
    return sum(len(job.image) for job in jobs)


class Engine:
    """The deployment behind the ingress.

    Args:
        tasks_kept: that Ray sends here by preference.
    """

    def __init__(self, tasks_kept: int) -> None:
        self._served: ServedModel | None = None
        self._settings = ServiceSettings()
        self._last: str | None = None
        """The task that ran last."""
        self._turn = asyncio.Lock()
        self._loads: Counter[str] = Counter()

        async def keep(task: str) -> str:
            # Every task's program is there from the start, and its experts come with its requests:
            # all that is left to do is to let Ray know that this replica runs the task.
            self._loads[task] += 1
            return task

        self._keep = serve.multiplexed(keep, max_num_models_per_replica=tasks_kept)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Open and warm what `config` says; Ray sends no requests here meanwhile.

        What `gearshift.Session` raises leaves the model that was there.
        """
        configuration = read_configuration(config)
        self._served = await asyncio.to_thread(_open_warm, configuration)
        self._settings = configuration.settings
        self._last = None
        batches = cast(Any, self._run)
        batches.set_max_batch_size(configuration.most_batch)
        batches.set_batch_wait_timeout_s(configuration.batch_wait_seconds)

    async def infer(self, request: InferRequest) -> InferAnswer:
        """One request, whose task is its `multiplexed_model_id`.

        Raises:
            RequestError: as `gearshift.server.service.Service.infer`.
        """
        served = self._opened()
        served.check(request, self._settings)
        await asyncio.to_thread(check_finite, request.image)
        task = served.task(request.task)
        arrival = asyncio.get_running_loop().time()
        await self._keep(task.name)
        answer = await self._run(_Job(request.image, arrival))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @serve.batch(batch_size_fn=_count_images)
    async def _run(self, jobs: list[_Job]) -> list[InferAnswer | Exception]:
        """Requests of one task, which Ray takes out of the queue together; in their order."""
        task = serve.get_multiplexed_model_id()
        by_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, job in enumerate(jobs):
            by_size[job.image.shape[1:]].append(place)
        answers: dict[int, InferAnswer | Exception] = {}
        for places in by_size.values():
            # Ray runs batches of several tasks at once; the hardware is one.
            async with self._turn:
                made = await self._run_together(task, [jobs[place] for place in places])
            answers.update(zip(places, made, strict=True))
        return [answers[place] for place in range(len(jobs))]

    async def _run_together(self, task: str, jobs: list[_Job]) -> list[InferAnswer | Exception]:
        served, last = self._opened(), self._last
        start = asyncio.get_running_loop().time()
        result = await asyncio.to_thread(served.run, task, [job.image for job in jobs])
        self._last = task
        experts = None if result.stats is None else result.stats.tokens_per_expert
        answers: list[InferAnswer | Exception] = []
        for job, output in zip(jobs, result.outputs, strict=True):
            if isinstance(output, Exception):
                answers.append(_request_error(output))
                continue
            answers.append(
                InferAnswer(
                    output,
                    served.spec.name,
                    served.version,
                    served.task(task),
                    queue_seconds=start - job.arrival,
                    compute_seconds=result.seconds,
                    batch=_count_images(jobs),
                    experts=experts,
                    switched=last not in (None, task),
                )
            )
        return answers

    def _opened(self) -> ServedModel:
        assert self._served is not None, "Ray calls reconfigure before it sends requests"
        return self._served

    async def loads(self) -> dict[str, int]:
        """How often this replica took up each task."""
        return dict(self._loads)


def _open_warm(configuration: Configuration) -> ServedModel:
    served = ServedModel(configuration.spec, configuration.version)
    for _ in served.warm(configuration.most_batch):
        pass
    return served


def _request_error(error: Exception) -> Exception:
    """What the client is told; faults of ours stay what they are."""
    if isinstance(error, GearshiftError) and not isinstance(error, RequestError):
        return InvalidRequest(str(error))
    return error
