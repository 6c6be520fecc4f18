"""The service: models, their versions, and requests to them, whatever protocol they came by.

Everything here runs on one event loop. Batches run on one worker thread, models are opened on
others; neither touches what the loop's thread owns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gearshift.errors import InputError
from gearshift.graph.card import TaskCard
from gearshift.scheduler import Entry
from gearshift.server.dispatcher import Dispatcher, Done
from gearshift.server.errors import NotFound, Unavailable
from gearshift.server.model_slot import ModelSlot
from gearshift.server.observer import (
    BatchEvent,
    NoObserver,
    Observer,
    Observers,
    RequestEvent,
)
from gearshift.server.requests import (
    InferAnswer,
    InferRequest,
    ModelInfo,
    ModelSpec,
    ServiceSettings,
)
from gearshift.server.served_model import ServedModel, check_finite
from gearshift.server.statistics import Statistics, VersionStatistics

__all__ = [
    "BatchEvent",
    "InferAnswer",
    "InferRequest",
    "ModelInfo",
    "ModelSpec",
    "NoObserver",
    "Observer",
    "Observers",
    "RequestEvent",
    "Service",
    "ServiceSettings",
    "Statistics",
    "VersionStatistics",
]

INLINE_NUMBERS = 2**20
"""Up to so many, an image's numbers are looked through on the event loop (0.2 ms)."""
ENDING = "the server is ending: ask another one"


class Service:
    """Serves models; all methods are called on one event loop.

    `start` must have ended before the first `infer` is answered; before that, models are LOADING.
    """

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        settings: ServiceSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        """
        Raises:
            InputError: no model, or two of one name.
        """
        names = [spec.name for spec in specs]
        if not names:
            raise InputError("there is no model to serve: name at least one")
        if twice := {name for name in names if names.count(name) > 1}:
            raise InputError(f"two models have the name {min(twice)!r}: give one another name")
        self.settings = settings or ServiceSettings()
        self._slots = {spec.name: ModelSlot(spec) for spec in specs}
        self._observer = Observers(observer or NoObserver())
        self._dispatcher = Dispatcher(self.settings, self._observer)
        self._reloads: set[asyncio.Task[ModelInfo]] = set()
        self._ending = False

    @property
    def ready(self) -> bool:
        """Every model is open and warm (but for those unloaded on purpose), and none is refused."""
        return not self._ending and all(slot.as_wished for slot in self._slots.values())

    @property
    def queued(self) -> dict[tuple[str, str], int]:
        """Requests that wait, by model and task."""
        return self._dispatcher.scheduler.queued_by_task

    @property
    def in_progress(self) -> dict[tuple[str, str], int]:
        """Requests that were accepted and are not answered yet, by model and task."""
        return dict(self._dispatcher.in_progress)

    async def start(self) -> None:
        """Open and warm every model, all tasks; ready afterwards.

        Raises:
            GearshiftError: the first model that cannot be opened or run.
        """
        for slot in self._slots.values():
            async with slot.lock:
                await self._load(slot)

    async def load(self, name: str) -> ModelInfo:
        """Open the model again, from its folder as it is now, beside the version that is served;
        once warm, it takes over. No request is dropped: those that wait are answered by the old,
        which still reads its files: put new ones in their place by renaming, as exporting does.

        Raises:
            NotFound: no model has this name.
            Unavailable: it cannot be opened; the old version goes on.
        """
        if self._ending:
            raise Unavailable(ENDING)
        # Whoever asked may go away: what was begun is finished all the same.
        task = asyncio.ensure_future(self._reload(self._slot(name)))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        return await asyncio.shield(task)

    async def unload(self, name: str) -> None:
        """Refuse new requests to the model; those that wait are still answered.

        Raises:
            NotFound: no model has this name.
        """
        slot = self._slot(name)
        async with slot.lock:
            slot.unload()
            self._observer.model_changed(name, None, slot.state)

    def models(self) -> list[ModelInfo]:
        """All, in the order in which they were given."""
        return [slot.info() for slot in self._slots.values()]

    def model(self, name: str, version: str | None = None) -> ModelInfo:
        """A model that is served.

        Raises:
            NotFound: no model has this name, or another version was asked for.
            Unavailable: it is loading or unloaded.
        """
        slot = self._slot(name)
        slot.get(version)
        return slot.info()

    def statistics(self, name: str) -> Statistics:
        """What each version has done. Raises NotFound."""
        return self._slot(name).statistics()

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Wait for a turn, and for the result. Cancelling takes the request out of the queue.

        Raises:
            RequestError: one of `gearshift.server.errors`.
        """
        served, task = self._checked(request)
        if request.image.size <= INLINE_NUMBERS:
            check_finite(request.image)
        else:
            await asyncio.to_thread(check_finite, request.image)
            # Another version may have come meanwhile.
            served, task = self._checked(request)
        return await self._dispatcher.run(request, served, task)

    def submit(self, request: InferRequest, done: Done) -> Entry:
        """The same for an image of at most `INLINE_NUMBERS` and a caller that does not wait: `done`
        gets the answer or the error. The caller calls `ended` once, when the answer is on its way
        or nobody waits for it.

        Raises:
            RequestError: the request was refused; there is nothing to end.
        """
        served, task = self._checked(request)
        check_finite(request.image)
        return self._dispatcher.submit(request, served, task, done)

    def ended(self, entry: Entry, result: InferAnswer | BaseException) -> None:
        """What was submitted has come to `result`; `CancelledError`: nobody waits for it."""
        self._dispatcher.ended(entry, result)

    async def drain(self, seconds: float) -> None:
        """Refuse new requests, and wait at most so long for those that were accepted."""
        self._ending = True
        await self._dispatcher.wait_until_idle(seconds)

    async def close(self) -> None:
        """End: whatever still waits is refused; the batch that runs is waited for."""
        self._ending = True
        await self._dispatcher.close()

    def _checked(self, request: InferRequest) -> tuple[ServedModel, TaskCard]:
        if self._ending:
            raise Unavailable(ENDING)
        served = self._slot(request.model).get(request.version)
        served.check(request, self.settings)
        return served, served.task(request.task)

    def _slot(self, name: str) -> ModelSlot:
        if name not in self._slots:
            choice = ", ".join(self._slots)
            raise NotFound(f"there is no model {name[:80]!r}: choose from {choice}")
        return self._slots[name]

    async def _reload(self, slot: ModelSlot) -> ModelInfo:
        async with slot.lock:
            try:
                await self._load(slot)
            except Exception as error:
                old = f": version {slot.served.version} goes on" if slot.served else ""
                raise Unavailable(
                    f"model {slot.spec.name} was not loaded ({error}){old}"
                ) from error
            return slot.info()

    async def _load(self, slot: ModelSlot) -> None:
        name = slot.spec.name
        scheduler = self._dispatcher.scheduler
        if slot.served is None:
            self._observer.model_changed(name, None, "LOADING")
        served = await slot.load(scheduler.times, scheduler.settings.most_batch)
        self._observer.model_changed(name, served.version, "READY")
