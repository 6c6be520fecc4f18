"""Who may wait, and who is refused at once.

Bursts are welcome up to the bounds of the settings. When the queue is full and more work comes than
can be done, even in the cheapest batches, it would stay full, and everybody would wait long for
nothing. So from then on only as much may wait as one useful batch takes (times `overload_wait`):
requests are answered within about two batches, or refused at once. This ends when for a while less
has been asked for, refused work included, than can be done.
"""

from __future__ import annotations

from gearshift.errors import GearshiftError
from gearshift.scheduler.entry import Entry
from gearshift.scheduler.rates import Rate
from gearshift.scheduler.state import State

SHORT_MEMORY = 0.25
LONG_MEMORY = 0.5
"""Seconds over which the work that is asked for is averaged, to see an overload begin and end."""
LEAST_RETRY_SECONDS = 1e-3


class QueueFull(GearshiftError):
    """Nothing of the request was begun."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a place is expected."""


class Admission:
    """Of one scheduler."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._offered = Rate(LONG_MEMORY)
        self._offered_lately = Rate(SHORT_MEMORY)
        self.overloaded = False
        """More has come, lately, than can be done."""

    def check(self, entry: Entry, now: float) -> None:
        """Count the request; raises QueueFull when it may not wait."""
        state, settings = self._state, self._state.settings
        useful = state.useful_batch(entry.key)
        batch_seconds = state.times.seconds(entry.key, useful)
        work = batch_seconds * entry.images / useful
        self._offered.add(work, now)
        self._offered_lately.add(work, now)
        if state.queued == 0:
            # Whatever the bounds say, one may wait: else a large request would never be served.
            self._end_overload(now)
            return
        if state.queued >= settings.most_queued:
            if self._offered_lately.per_second(now) >= 1.0:
                self.overloaded = True
                # The longer average has not seen it yet.
                self._offered.set_per_second(self._offered_lately.per_second(now), now)
            self._refuse(f"{state.queued} requests are waiting, and no more may", now)
        if state.queued_bytes + entry.nbytes > settings.most_queued_bytes:
            size = f"{state.queued_bytes / 1e6:,.0f} MB of images"
            self._refuse(f"{size} are waiting, and this request's would be too much", now)
        if state.queued_of_task(entry.key) >= settings.most_queued_task:
            self._refuse(
                f"{settings.most_queued_task} requests are waiting for task {entry.key.task} of "
                f"model {entry.key.model}, and no more may",
                now,
            )
        self._end_overload(now)
        most_seconds = settings.overload_wait * batch_seconds
        if self.overloaded and state.backlog_seconds(entry) > most_seconds:
            self._refuse("more requests arrive than can be served", now)

    def _end_overload(self, now: float) -> None:
        if self._offered.per_second(now) < 1.0:
            self.overloaded = False

    def _refuse(self, reason: str, now: float) -> None:
        seconds = self._state.running_seconds(now) + self._state.backlog_seconds()
        seconds = max(seconds, LEAST_RETRY_SECONDS)
        raise QueueFull(f"{reason}: try again in {seconds:.3f} s", seconds)
