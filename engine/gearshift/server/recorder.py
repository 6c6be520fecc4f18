"""Keeps which requests came when, for `gearshift.scheduler.simulate`; never their images."""

from __future__ import annotations

import time
from pathlib import Path

from gearshift.scheduler.trace import TraceRequest, write_trace
from gearshift.server.observer import NoObserver, RequestEvent

MOST_REQUESTS = 1_000_000
"""That are kept; later ones are not."""


class Recorder(NoObserver):
    """An observer of all requests, those too for which a queue was full; `write` makes a trace."""

    def __init__(self) -> None:
        self._requests: list[TraceRequest] = []
        self._begun: float | None = None

    def accepted(self, request: RequestEvent, queued: int) -> None:
        self._keep(request)

    def rejected(self, request: RequestEvent, reason: str) -> None:
        self._keep(request)

    def write(self, path: Path) -> None:
        """The trace as a file; its beginning is the first request."""
        write_trace(self._requests, path)

    def _keep(self, request: RequestEvent) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun = now
        if len(self._requests) < MOST_REQUESTS:
            self._requests.append(
                TraceRequest(
                    round(now - self._begun, 6),
                    request.model,
                    request.task,
                    request.height,
                    request.width,
                    request.images,
                    request.priority,
                    request.timeout,
                )
            )
