"""Who may wait, and who is refused at once.

Bursts are welcome up to the bounds of the settings. But where requests go on coming faster than
they can be done, a queue only makes everybody wait for nothing. That is told by three signs
together: a request would be answered late (`LATE`), requests have waited for a while without a
break (`STANDING`), and lately more work has come than can be done, even in the cheapest batches.

In such an overload a request is taken only if it is expected to be answered within `overload_wait`
times of what it takes on idle hardware, and is refused at once otherwise. One may always wait, so
that the hardware never idles. The overload ends when for a while less has been asked for, refused
work included, than can be done.
"""

from __future__ import annotations

from gearshift.errors import GearshiftError
from gearshift.scheduler.entry import Entry
from gearshift.scheduler.rates import Rate
from gearshift.scheduler.state import State

LATE = 5.0
"""Times of what a request takes on idle hardware."""
STANDING = 2.0
SHORT_MEMORY = 6.0
LONG_MEMORY = 20.0
"""The same, of the requests that come: for how long some have waited, and over how long the work
that is asked for is averaged, to see an overload begin and end."""
BEGIN_LOAD = 1.2
END_LOAD = 1.0
"""Of the work that can be done."""
NEWEST = 0.1
"""Weight of the newest request in the mean of what they take."""
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
        self._mean = 0.0
        """Seconds that a request of late takes on idle hardware."""
        self._standing_since = 0.0
        """When a request last found that none was waiting."""
        self.overloaded = False
        """More comes than can be done."""

    def check(self, entry: Entry, now: float) -> float:
        """Count the request; the seconds after which it is expected to be answered.

        Raises:
            QueueFull: it may not wait.
        """
        state, settings = self._state, self._state.settings
        alone = state.times.unloaded(entry.key, entry.images) + state.times.switch(entry.key)
        self._count(entry, alone, now)
        if state.queued == 0:
            # Whatever the bounds say, one may wait: else a large request would never be served.
            self._standing_since = now
            return state.running_seconds(now) + alone
        answered = state.running_seconds(now) + state.backlog_seconds(entry)
        if state.queued >= settings.most_queued:
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
        if answered > LATE * alone and now - self._standing_since > STANDING * self._mean:
            self._begin_overload(now)
        if self.overloaded and answered > settings.overload_wait * alone:
            self._refuse("more requests arrive than can be served", now)
        return answered

    def _count(self, entry: Entry, alone: float, now: float) -> None:
        if not alone:
            return  # Nothing like it has run: nobody knows what work it is.
        self._mean += (alone - self._mean) * (NEWEST if self._mean else 1.0)
        self._offered.memory = LONG_MEMORY * self._mean
        self._offered_lately.memory = SHORT_MEMORY * self._mean
        useful = self._state.useful_batch(entry.key)
        work = self._state.times.seconds(entry.key, useful) * entry.images / useful
        self._offered.add(work, now)
        self._offered_lately.add(work, now)
        if self._offered.per_second(now) < END_LOAD:
            self.overloaded = False

    def _begin_overload(self, now: float) -> None:
        lately = self._offered_lately.per_second(now)
        if lately >= BEGIN_LOAD and not self.overloaded:
            self.overloaded = True
            # The longer average has not seen it yet.
            self._offered.set_per_second(max(lately, self._offered.per_second(now)), now)

    def _refuse(self, reason: str, now: float) -> None:
        seconds = self._state.running_seconds(now) + self._state.backlog_seconds()
        seconds = max(seconds, LEAST_RETRY_SECONDS)
        raise QueueFull(f"{reason}: try again in {seconds:.3f} s", seconds)
