"""What the scheduler knows when it decides: who waits, what ran last, how often requests come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gearshift.scheduler.entry import Batch, Entry, Key
from gearshift.scheduler.rates import Rate
from gearshift.scheduler.service_times import MOST_KEYS, ServiceTimes
from gearshift.scheduler.settings import SchedulerSettings

ARRIVAL_MEMORY = 0.25
"""Seconds over which arrivals of one key are averaged."""


@dataclass
class State:
    """Of one scheduler; policies read it."""

    settings: SchedulerSettings
    times: ServiceTimes = field(default_factory=ServiceTimes)
    waiting: dict[Key, list[Entry]] = field(default_factory=dict)
    """By key, in the order of arrival; no key without entries."""
    queued: int = 0
    """Entries in `waiting`."""
    queued_bytes: int = 0
    running: Batch | None = None
    last: Key | None = None
    """Of the batch that was started last."""
    stayed_seconds: float = 0.0
    """Work since the last switch."""
    arrivals: dict[Key, Rate] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """All that wait, key by key."""
        for entries in self.waiting.values():
            yield from entries

    def add(self, entry: Entry, now: float) -> None:
        self.waiting.setdefault(entry.key, []).append(entry)
        self.queued += 1
        self.queued_bytes += entry.nbytes
        rate = self.arrivals.pop(entry.key, None) or Rate(ARRIVAL_MEMORY)
        rate.add(entry.images, now)
        self.arrivals[entry.key] = rate
        if len(self.arrivals) > MOST_KEYS:
            del self.arrivals[next(iter(self.arrivals))]

    def remove(self, entry: Entry) -> bool:
        """Whether it was there."""
        entries = self.waiting.get(entry.key, [])
        if entry not in entries:
            return False
        entries.remove(entry)
        if not entries:
            del self.waiting[entry.key]
        self.queued -= 1
        self.queued_bytes -= entry.nbytes
        return True

    def queued_of_task(self, key: Key) -> int:
        """Entries that wait for the key's task, whatever their image size."""
        return sum(len(entries) for other, entries in self.waiting.items() if other[:3] == key[:3])

    def useful_batch(self, key: Key) -> int:
        """Images beyond which a batch gains nothing worth waiting for."""
        settings = self.settings
        return self.times.useful_batch(key, settings.most_batch, settings.least_gain)

    def backlog_seconds(self, another: Entry | None = None) -> float:
        """Expected work of all that wait, and of another one, key by key in useful batches, with a
        switch before each key but those of the task that was last."""
        images = {key: sum(one.images for one in entries) for key, entries in self.waiting.items()}
        if another is not None:
            images[another.key] = images.get(another.key, 0) + another.images
        switched = [key for key in images if key.is_switch_from(self.last)]
        seconds = sum(self._seconds(key, number) for key, number in images.items())
        return seconds + sum(self.times.switch(key) for key in switched)

    def _seconds(self, key: Key, images: int) -> float:
        useful = self.useful_batch(key)
        whole, rest = divmod(images, useful)
        seconds = whole * self.times.seconds(key, useful)
        return seconds + (self.times.seconds(key, rest) if rest else 0.0)

    def running_seconds(self, now: float) -> float:
        """Expected rest of the batch that runs."""
        if self.running is None:
            return 0.0
        return max(0.0, self.running.started + self.running.expected_seconds - now)
