"""Who wants to know what the service does: metrics, traces, logs, recorders."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from gearshift.backends import Stats

Outcome = Literal["success", "failed", "timed_out", "cancelled"]
"""How an accepted request ended: cancelled requests are those whose client went away."""


@dataclass(frozen=True)
class RequestEvent:
    """One request, once it is known what it asks for."""

    id: str
    model: str
    version: str
    task: str
    height: int
    width: int
    images: int
    priority: int
    """As the request had it; 0 is the default level."""
    timeout: float | None


@dataclass(frozen=True)
class BatchEvent:
    """One batch."""

    model: str
    version: str
    task: str
    images: int
    requests: tuple[str, ...]
    """Their ids."""
    switched: bool
    """Another task ran before."""


class Observer(Protocol):
    """All are called on the event loop's thread and must return soon; what they raise is logged.

    `accepted`, `rejected` and `request_finished` run in the context of the request's own task, if
    it has one (see `gearshift.server.direct`).
    """

    def accepted(self, request: RequestEvent, queued: int) -> None:
        """It waits; `queued` requests do, this one included."""
        ...

    def rejected(self, request: RequestEvent, reason: str) -> None:
        """A queue was full."""
        ...

    def batch_started(self, batch: BatchEvent) -> None:
        """Its requests wait no longer."""
        ...

    def batch_finished(
        self, batch: BatchEvent, seconds: float, stats: Stats | None, error: Exception | None
    ) -> None:
        """It took `seconds`; told after its requests have ended. Without an error there are the
        session's stats of the run."""
        ...

    def request_finished(
        self, request: RequestEvent, outcome: Outcome, queue_seconds: float, compute_seconds: float
    ) -> None:
        """An accepted request is answered, or nobody waits for it any more."""
        ...

    def model_changed(self, name: str, version: str | None, state: str) -> None:
        """A model was loaded, is loading, or is gone."""
        ...


class NoObserver:
    """Wants to know nothing: a base for observers of a few events."""

    def accepted(self, request: RequestEvent, queued: int) -> None: ...

    def rejected(self, request: RequestEvent, reason: str) -> None: ...

    def batch_started(self, batch: BatchEvent) -> None: ...

    def batch_finished(
        self, batch: BatchEvent, seconds: float, stats: Stats | None, error: Exception | None
    ) -> None: ...

    def request_finished(
        self, request: RequestEvent, outcome: Outcome, queue_seconds: float, compute_seconds: float
    ) -> None: ...

    def model_changed(self, name: str, version: str | None, state: str) -> None: ...


EVENTS = [name for name in vars(NoObserver) if not name.startswith("_")]


class Observers:
    """Several as one; an error of one of them is logged, and disturbs nobody."""

    def __init__(self, *observers: Observer) -> None:
        self._observers: list[Observer] = []
        for one in observers:
            self._observers += one._observers if isinstance(one, Observers) else [one]
        self._told = {event: self._who(event) for event in EVENTS}

    def _who(self, event: str) -> list[Callable[..., None]]:
        """Those who do not leave it to `NoObserver`."""
        ignored = getattr(NoObserver, event)
        return [
            getattr(observer, event)
            for observer in self._observers
            if getattr(type(observer), event) is not ignored
        ]

    def accepted(self, request: RequestEvent, queued: int) -> None:
        self._tell("accepted", request, queued)

    def rejected(self, request: RequestEvent, reason: str) -> None:
        self._tell("rejected", request, reason)

    def batch_started(self, batch: BatchEvent) -> None:
        self._tell("batch_started", batch)

    def batch_finished(
        self, batch: BatchEvent, seconds: float, stats: Stats | None, error: Exception | None
    ) -> None:
        self._tell("batch_finished", batch, seconds, stats, error)

    def request_finished(
        self, request: RequestEvent, outcome: Outcome, queue_seconds: float, compute_seconds: float
    ) -> None:
        self._tell("request_finished", request, outcome, queue_seconds, compute_seconds)

    def model_changed(self, name: str, version: str | None, state: str) -> None:
        self._tell("model_changed", name, version, state)

    def _tell(self, event: str, *values: object) -> None:
        for tell in self._told[event]:
            try:
                tell(*values)
            except Exception:
                logging.getLogger("gearshift").exception("an observer failed at %s", event)
