"""Who may wait, and who is refused at once.

Bursts are welcome up to the bounds of the settings, and so are many clients each of which waits for
its answer before it asks again. But where requests go on coming faster than they can be done, a
queue only makes everybody wait for nothing. That is told by two signs together: a request would be
answered late (`LATE`), and what waits has grown beyond the usual (`GROWTH`). What comes when the
waiting begins, after a pause (`SETTLING`) or much faster than the rest (`BURST`) is no growth: it
is a burst, or clients that start together.

In such an overload a request is taken only if it is expected to be answered within `overload_wait`
times of what it takes on idle hardware, and is refused at once otherwise. But one may always wait
for the rest of a batch (`REST`), so that hardware which is slow for a while does not idle for long.
The overload ends when for a while less has been asked for, refused work included, than can be done.
"""

from __future__ import annotations

from collections import deque
from math import exp

from gearshift.errors import GearshiftError
from gearshift.scheduler.entry import Entry
from gearshift.scheduler.rates import Rate
from gearshift.scheduler.state import State

# In times of what requests of late take on idle hardware:
LATE = 4.0
SETTLING = 2.0
USUAL_MEMORY = 10.0
"""After which what waits has become the usual."""
END_MEMORY = 40.0
"""Over which the work that is asked for is averaged, to see an overload end."""

BURST = 9
"""Requests that come within `SETTLING`: four times as fast as they can be done."""
LEAST_SETTLING_SECONDS = 0.02
"""Clients that start together need some time for that, however fast their requests are done."""
GROWTH = 2.5
"""Of the requests that are best run together: where those go, as many may come."""
OVERLOAD = 2.0
"""Of the work that can be done: what is taken for asked for when an overload begins."""
FULL = 0.5
"""Of the work that can be done: if so much has been asked for, it is no burst that fills a queue.
A flood that begins has not raised the average to 1 by then."""
REST = 2 / 3
"""Of a batch, for which one may wait whatever is expected. At 1, on simulated hardware a third
slower than when it was idle, p99 in an overload is 15 % longer, and 6 % more is done."""
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
        self._offered = Rate(END_MEMORY)
        self._mean = 0.0
        """Seconds that a request of late takes on idle hardware."""
        self._settled = 0.0
        """Some time after a request last came that none was waiting before, after a pause, or in a
        burst."""
        self._came: deque[float] = deque([0.0], maxlen=BURST)
        """When the last requests did."""
        self._usual = 0.0
        """Requests that wait, on the average of late, or now if that is less."""
        self._updated = 0.0
        self.overloaded = False
        """More comes than can be done."""

    def check(self, entry: Entry, now: float) -> float:
        """Count the request; the seconds after which it is expected to be answered.

        Raises:
            QueueFull: it may not wait.
        """
        state = self._state
        alone = state.times.unloaded(entry.key, entry.images) + state.times.switch(entry.key)
        self._count(entry, alone, now)
        if state.queued == 0 and state.running is None:
            answered = alone
        else:
            answered = state.running_seconds(now) + state.backlog_seconds(entry)
        self._settle(now)
        if state.queued == 0:
            # Whatever the bounds say, one may wait: else a large request would never be served.
            self._usual = 0.0
        else:
            growth = self._growth(now)
            self._check_bounds(entry, now)
            many = GROWTH * state.useful_batch(entry.key)
            if not self.overloaded and answered > LATE * alone and growth > many:
                self._begin_overload(OVERLOAD, now)
        late = answered > state.settings.overload_wait * alone
        if self.overloaded and late and (state.queued or not self._soon_idle(now)):
            self._refuse("more requests arrive than can be served", now)
        return answered

    def _begin_overload(self, least: float, now: float) -> None:
        """Of the work that can be done, at least so much has been asked for."""
        self.overloaded = True
        # The average has not seen it yet.
        self._offered.set_per_second(max(least, self._offered.per_second(now)), now)

    def _settle(self, now: float) -> None:
        settling = max(SETTLING * self._mean, LEAST_SETTLING_SECONDS)
        paused = now - self._came[-1] > settling
        self._came.append(now)
        burst = len(self._came) == BURST and now - self._came[0] < SETTLING * self._mean
        if paused or burst or self._state.queued == 0:
            self._settled = now + settling

    def _soon_idle(self, now: float) -> bool:
        running = self._state.running
        if running is None:
            return True
        return self._state.running_seconds(now) <= REST * running.expected_seconds

    def _check_bounds(self, entry: Entry, now: float) -> None:
        state, settings = self._state, self._state.settings
        if state.queued >= settings.most_queued:
            if self._offered.per_second(now) >= FULL:
                self._begin_overload(1.0, now)
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

    def _count(self, entry: Entry, alone: float, now: float) -> None:
        if not alone:
            return  # Nothing like it has run: nobody knows what work it is.
        self._mean += (alone - self._mean) * (NEWEST if self._mean else 1.0)
        self._offered.memory = END_MEMORY * self._mean
        useful = self._state.useful_batch(entry.key)
        work = self._state.times.seconds(entry.key, useful) * entry.images / useful
        self._offered.add(work, now)
        if self._offered.per_second(now) < 1.0:
            self.overloaded = False

    def _growth(self, now: float) -> float:
        """Requests that wait beyond the usual."""
        passed, self._updated = now - self._updated, now
        waiting = self._state.queued
        if now < self._settled or waiting < self._usual:
            self._usual = waiting
        elif self._mean:
            self._usual += (waiting - self._usual) * (1 - exp(-passed / USUAL_MEMORY / self._mean))
        return waiting - self._usual

    def _refuse(self, reason: str, now: float) -> None:
        seconds = self._state.running_seconds(now) + self._state.backlog_seconds()
        seconds = max(seconds, LEAST_RETRY_SECONDS)
        raise QueueFull(f"{reason}: try again in {seconds:.3f} s", seconds)
