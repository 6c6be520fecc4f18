"""What each model has done so far, as the protocol's statistics have it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gearshift.server.observer import Outcome


@dataclass(frozen=True)
class Total:
    """How often, and how long together."""

    count: int = 0
    seconds: float = 0.0

    def plus(self, seconds: float, count: int = 1) -> Total:
        return Total(self.count + count, self.seconds + seconds)


@dataclass
class VersionStatistics:
    """Of one version of one model, since it was loaded."""

    version: str
    images: int = 0
    """That were computed, of requests that succeeded."""
    last_request: float = 0.0
    """When the last one succeeded, in seconds since 1970; 0: none has."""
    success: Total = Total()
    """Requests from arrival to answer."""
    fail: Total = Total()
    """Requests that were accepted and got an error."""
    queue: Total = Total()
    """Of successful requests: waiting."""
    compute: Total = Total()
    """Of successful requests: their batches."""
    cancelled: int = 0
    """Requests whose clients went away."""
    timed_out: int = 0
    """Requests that waited beyond their timeout; they count as failed too."""
    rejected: int = 0
    """Requests that were refused because a queue was full."""
    switches: int = 0
    """Batches before which another task ran."""
    batches: Mapping[int, Total] = field(default_factory=dict)
    """Batches and their time, by the number of their images."""

    def count_request(
        self,
        outcome: Outcome,
        images: int,
        seconds: float,
        queue_seconds: float,
        compute_seconds: float,
    ) -> None:
        """An accepted request ended, `seconds` after its arrival."""
        if outcome == "success":
            self.images += images
            self.last_request = time.time()
            self.success = self.success.plus(seconds)
            self.queue = self.queue.plus(queue_seconds)
            self.compute = self.compute.plus(compute_seconds)
        elif outcome == "cancelled":
            self.cancelled += 1
        else:
            self.fail = self.fail.plus(seconds)
            self.timed_out += outcome == "timed_out"

    def count_batch(self, images: int, seconds: float, switched: bool) -> None:
        self.batches = {**self.batches, images: self.batches.get(images, Total()).plus(seconds)}
        self.switches += switched

    def copy(self) -> VersionStatistics:
        """As it is now."""
        return replace(self)


@dataclass(frozen=True)
class Statistics:
    """Of one model: one entry a version, oldest first."""

    name: str
    versions: tuple[VersionStatistics, ...]
