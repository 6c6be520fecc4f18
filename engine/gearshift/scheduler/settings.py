"""What bounds the queues, and how long a request may be held back for others."""

from __future__ import annotations

from dataclasses import dataclass

from gearshift.errors import InputError


@dataclass(frozen=True)
class SchedulerSettings:
    """Of one scheduler. Times in seconds.

    Raises:
        InputError: a number that means nothing.
    """

    most_queued: int = 32
    """Requests that wait, of all models and tasks."""
    most_queued_task: int = 24
    """Requests that wait for one task of one model: the others find places beside it."""
    most_queued_bytes: int = 512 * 10**6
    """Of the images that wait."""
    most_batch: int = 8
    """Images in one batch, and in one request."""
    least_gain: float = 0.1
    """A batch grows while its images get cheaper by this share; 0: as large as it can be."""
    longest_wait_seconds: float = 0.005
    """To wait for more of the same task on idle hardware; 0: never."""
    priority_levels: int = 5
    """Levels are 1 (most urgent) to this."""
    default_priority: int = 3
    patience_seconds: float = 0.05
    """A request of level n is due n times this after its arrival, or sooner for its deadline."""
    switch_share: float = 0.1
    """Of the time, that switching tasks may cost before the scheduler stays on a task for longer
    than the order of the due times says."""
    overload_wait: float = 2.0
    """Times of what a request takes on idle hardware, within which it is answered or refused when
    more come than can be served; see `gearshift.scheduler.admission`."""

    def __post_init__(self) -> None:
        counts = ("most_queued", "most_queued_task", "most_queued_bytes", "most_batch")
        for name in (*counts, "priority_levels"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give at least 1")
        for name in ("longest_wait_seconds", "patience_seconds", "overload_wait"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} {getattr(self, name)}: give 0 or more")
        for name in ("least_gain", "switch_share"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give a share from 0 up to 1")
        if not 1 <= self.default_priority <= self.priority_levels:
            raise InputError(
                f"default_priority {self.default_priority} is none of the levels "
                f"1 to {self.priority_levels}"
            )
