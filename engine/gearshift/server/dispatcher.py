"""Between the event loop, the scheduler and the worker: requests in, answers out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from gearshift.errors import GearshiftError, InputError
from gearshift.graph.card import TaskCard
from gearshift.scheduler import Batch, Entry, Key, QueueFull, Scheduler
from gearshift.server.errors import (
    InvalidRequest,
    RequestError,
    TimedOut,
    TooManyRequests,
    Unavailable,
)
from gearshift.server.observer import BatchEvent, Observer, Outcome, RequestEvent
from gearshift.server.requests import InferAnswer, InferRequest, ServiceSettings
from gearshift.server.served_model import BatchResult, Floats, ServedModel
from gearshift.server.worker import Worker

NEAR_SECONDS = 0.02
"""A batch that takes no longer, as far as is known, may hold up the event loop."""
CLOSE_SECONDS = 10.0
"""To wait for the batch that runs at the end."""


@dataclass(eq=False)
class Waiting:
    """The payload of the scheduler's entries."""

    served: ServedModel
    task: TaskCard
    event: RequestEvent
    image: Floats
    done: Done


Done = Callable[[InferAnswer | RequestError], None]
"""Takes a request's answer, or the error that it has come to; raises nothing."""


class Dispatcher:
    """Keeps one worker busy with what the scheduler chooses. Lives on one event loop."""

    def __init__(self, settings: ServiceSettings, observer: Observer) -> None:
        self.scheduler = Scheduler(settings.scheduler)
        self._default_timeout = settings.default_timeout
        self._observer = observer
        self._worker: Worker | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.in_progress: Counter[tuple[str, str]] = Counter()
        """Requests that were accepted and are not answered yet, by model and task."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, request: InferRequest, served: ServedModel, task: TaskCard) -> InferAnswer:
        """As `submit`, and wait for the answer. Cancelling takes the request out of the queue.

        Raises:
            RequestError: one of `gearshift.server.errors`.
        """
        answer: asyncio.Future[InferAnswer] = asyncio.get_running_loop().create_future()
        entry = self.submit(request, served, task, partial(_settle, answer))
        try:
            result = await answer
        except BaseException as error:
            self.ended(entry, error)
            raise
        self.ended(entry, result)
        return result

    def submit(
        self, request: InferRequest, served: ServedModel, task: TaskCard, done: Done
    ) -> Entry:
        """Let a request wait that `served` has checked, until `done` gets its answer; whoever
        submits it calls `ended` once, when the answer is on its way or nobody waits for it.

        Raises:
            TooManyRequests: too many wait; there is nothing to end.
        """
        number, _, height, width = request.image.shape
        timeout = self._default_timeout if request.timeout is None else request.timeout
        name, version = served.spec.name, served.version
        event = RequestEvent(
            request.id, name, version, task.name, height, width, number, request.priority, timeout
        )
        # A loop's own clock may be that of its turn's begin, in whole milliseconds.
        now = time.monotonic()
        entry = Entry(
            Key(name, version, task.name, height, width),
            now,
            number,
            request.priority or None,
            None if timeout is None else now + timeout,
            Waiting(served, task, event, request.image, done),
        )
        try:
            self.scheduler.submit(entry, now)
        except QueueFull as full:
            served.statistics.rejected += 1
            self._observer.rejected(event, str(full))
            raise TooManyRequests(str(full), full.retry_after) from None
        self.in_progress[name, task.name] += 1
        self._idle.clear()
        self._observer.accepted(event, self.scheduler.queued)
        self._pump()
        return entry

    def ended(self, entry: Entry, result: InferAnswer | BaseException) -> None:
        """Count a request that was submitted, with what it came to; one that was cancelled leaves
        the queue."""
        waiting = _waiting(entry)
        seconds = time.monotonic() - entry.arrival
        queue_seconds, compute_seconds = seconds, 0.0
        outcome: Outcome = "failed"
        if isinstance(result, InferAnswer):
            outcome = "success"
            queue_seconds, compute_seconds = result.queue_seconds, result.compute_seconds
        elif isinstance(result, asyncio.CancelledError):
            outcome = "cancelled"
            self.scheduler.cancel(entry)
        elif isinstance(result, TimedOut):
            outcome = "timed_out"
        statistics = waiting.served.statistics
        statistics.count_request(outcome, entry.images, seconds, queue_seconds, compute_seconds)
        self._observer.request_finished(waiting.event, outcome, queue_seconds, compute_seconds)
        self.in_progress[entry.key.model, entry.key.task] -= 1
        if not any(self.in_progress.values()):
            self._idle.set()

    async def wait_until_idle(self, seconds: float) -> None:
        """Until every accepted request is answered, but at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def close(self) -> None:
        """Refuse what waits, and end the worker after the batch that it runs."""
        for entry in self.scheduler.clear():
            _refuse(entry, Unavailable("the server ended before the request's turn came"))
        if self._timer is not None:
            self._timer.cancel()
        if self._worker is not None:
            await self._worker.close(CLOSE_SECONDS)
            self._worker = None

    def _pump(self) -> None:
        """Give the worker its next batch if it has none, and come back when it is time to."""
        now = time.monotonic()
        for entry in self.scheduler.expired(now):
            seconds = now - entry.arrival
            _refuse(entry, TimedOut(f"the request waited {seconds:.3f} s, as long as it may"))
        decision = self.scheduler.next(now)
        if isinstance(decision, Batch):
            self._start(decision)
        again = [self.scheduler.next_deadline(), decision if isinstance(decision, float) else None]
        when = min((one for one in again if one is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if when is None else loop.call_later(max(when - now, 0.0), self._pump)

    def _start(self, batch: Batch) -> None:
        if self._worker is None:
            self._worker = Worker()
        waiting = [_waiting(entry) for entry in batch.entries]
        first = waiting[0]
        event = BatchEvent(
            batch.key.model,
            batch.key.version,
            batch.key.task,
            batch.images,
            tuple(one.event.id for one in waiting),
            batch.switched,
        )
        images = [one.image for one in waiting]
        job = partial(first.served.run, batch.key.task, images)
        run = self._worker.run_here if self._is_near(batch) else self._worker.run
        run(job, partial(self._finish, batch, event))
        self._observer.batch_started(event)

    def _is_near(self, batch: Batch) -> bool:
        # Where more come, it is better to read those meanwhile, and to refuse them soon.
        if self.scheduler.queued or self.scheduler.overloaded:
            return False
        return 0 < batch.expected_seconds <= NEAR_SECONDS

    def _finish(self, batch: Batch, event: BatchEvent, result: BatchResult) -> None:
        now = time.monotonic()
        # The worker has its next batch before anybody looks at this one, if there is a next one.
        busy = self.scheduler.queued > 0
        if busy:
            self._next(batch, now, result)
        self._answer(batch, result)
        if not busy:
            self._next(batch, now, result)
        # Those who waited go on first.
        asyncio.get_running_loop().call_soon(self._count, batch, event, result)

    def _next(self, batch: Batch, now: float, result: BatchResult) -> None:
        self.scheduler.finished(batch, now, learn=result.error is None)
        self._pump()

    def _answer(self, batch: Batch, result: BatchResult) -> None:
        for entry, output in zip(batch.entries, result.outputs, strict=True):
            waiting = _waiting(entry)
            if isinstance(output, Exception):
                waiting.done(_request_error(output))
                continue
            waiting.done(
                InferAnswer(
                    output,
                    batch.key.model,
                    batch.key.version,
                    waiting.task,
                    batch.started - entry.arrival,
                    result.seconds,
                    batch.images,
                    None if result.stats is None else result.stats.tokens_per_expert,
                    batch.switched,
                )
            )

    def _count(self, batch: Batch, event: BatchEvent, result: BatchResult) -> None:
        statistics = _waiting(batch.entries[0]).served.statistics
        statistics.count_batch(batch.images, result.seconds, batch.switched)
        self._observer.batch_finished(event, result.seconds, result.stats, result.error)


def _waiting(entry: Entry) -> Waiting:
    return cast(Waiting, entry.payload)


def _refuse(entry: Entry, error: RequestError) -> None:
    _waiting(entry).done(error)


def _settle(answer: asyncio.Future[InferAnswer], result: InferAnswer | RequestError) -> None:
    if answer.done():
        return  # Nobody waits for it any more.
    if isinstance(result, RequestError):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _request_error(error: Exception) -> RequestError:
    """What the client is told; the cause stays attached for the log."""
    if isinstance(error, RequestError):
        return error
    told: RequestError
    if isinstance(error, InputError):
        told = InvalidRequest(str(error))
    elif isinstance(error, GearshiftError):
        told = Unavailable(str(error))
    else:
        told = RequestError("the request failed for a fault of the server, which has logged it")
    told.__cause__ = error
    return told
