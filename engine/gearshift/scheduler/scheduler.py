"""The scheduler: submit, cancel, next, finished."""

from __future__ import annotations

from gearshift.errors import InputError
from gearshift.scheduler.admission import Admission
from gearshift.scheduler.entry import Batch, Entry
from gearshift.scheduler.policies import DuePolicy, Policy
from gearshift.scheduler.service_times import ServiceTimes
from gearshift.scheduler.settings import SchedulerSettings
from gearshift.scheduler.state import State


class Scheduler:
    """Decides what runs next on one piece of hardware, one batch at a time.

    Not thread-safe. `now` is in seconds on one clock that never goes back; the scheduler has no
    other. No request starves: `DuePolicy` says and proves the bound.
    """

    def __init__(
        self, settings: SchedulerSettings | None = None, policy: Policy | None = None
    ) -> None:
        self.settings = settings or SchedulerSettings()
        self._policy = policy or DuePolicy()
        self._state = State(self.settings)
        self._admission = Admission(self._state)
        self._submitted = 0

    @property
    def queued(self) -> int:
        """Entries that wait."""
        return self._state.queued

    @property
    def queued_by_task(self) -> dict[tuple[str, str], int]:
        """Entries that wait, by model and task."""
        counts: dict[tuple[str, str], int] = {}
        for entry in self._state.entries():
            name = entry.key.model, entry.key.task
            counts[name] = counts.get(name, 0) + 1
        return counts

    @property
    def running(self) -> Batch | None:
        """The batch that `next` gave and `finished` has not yet been told of."""
        return self._state.running

    @property
    def overloaded(self) -> bool:
        """More has come, lately, than can be done: the queue is kept short."""
        return self._admission.overloaded

    @property
    def times(self) -> ServiceTimes:
        """What has been learnt; a caller that has measured batches beforehand tells it here."""
        return self._state.times

    def submit(self, entry: Entry, now: float) -> None:
        """Let a request wait.

        Raises:
            QueueFull: too many wait; the request was not taken.
            InputError: a number of images or a priority that the settings do not allow.
        """
        settings = self.settings
        if not 1 <= entry.images <= settings.most_batch:
            raise InputError(
                f"a request of {entry.images} images: give 1 to {settings.most_batch} at a time"
            )
        level = settings.default_priority if entry.priority is None else entry.priority
        if not 1 <= level <= settings.priority_levels:
            raise InputError(f"priority {level}: give 1 (urgent) to {settings.priority_levels}")
        answered = self._admission.check(entry, now)
        self._submitted += 1
        entry.number = self._submitted
        patience = settings.patience_seconds
        if self.overloaded:
            # Else others might overtake it for longer than it was taken in for.
            patience = min(patience, answered / settings.default_priority)
        entry.due = entry.arrival + level * patience
        if entry.deadline is not None:
            latest = entry.deadline - self.times.seconds(entry.key, entry.images)
            entry.due = max(entry.arrival, min(entry.due, latest))
        self._state.add(entry, now)

    def cancel(self, entry: Entry) -> bool:
        """Take a request out of the queue; False when it is no longer there."""
        return self._state.remove(entry)

    def clear(self) -> list[Entry]:
        """Take all out that wait."""
        waiting = list(self._state.entries())
        for entry in waiting:
            self._state.remove(entry)
        return waiting

    def expired(self, now: float) -> list[Entry]:
        """Take those out of the queue whose deadlines have passed."""
        late = [
            entry
            for entry in self._state.entries()
            if entry.deadline is not None and entry.deadline <= now
        ]
        for entry in late:
            self._state.remove(entry)
        return late

    def next_deadline(self) -> float | None:
        """The earliest deadline of those that wait."""
        deadlines = (entry.deadline for entry in self._state.entries())
        return min((one for one in deadlines if one is not None), default=None)

    def next(self, now: float) -> Batch | float | None:
        """A batch to run now; or when to ask again; or None: nothing waits, or one runs already.

        Ask again also after every `submit`.
        """
        state = self._state
        if state.running is not None or not state.queued:
            return None
        chosen = self._policy.choose(state, now)
        if isinstance(chosen, float):
            return chosen
        for entry in chosen:
            state.remove(entry)
        key = chosen[0].key
        switched = key.is_switch_from(state.last)
        images = sum(entry.images for entry in chosen)
        expected = self.times.seconds(key, images) + (self.times.switch(key) if switched else 0.0)
        if switched:
            state.stayed_seconds = 0.0
        state.last = key
        state.running = Batch(key, chosen, now, switched, expected, images)
        return state.running

    def finished(self, batch: Batch, now: float, learn: bool = True) -> None:
        """The batch is done. What it took is learnt, unless it failed (`learn=False`)."""
        state = self._state
        if batch is not state.running:
            raise ValueError("this batch is not the one that runs")
        seconds = max(0.0, now - batch.started)
        state.running = None
        state.stayed_seconds += seconds
        if learn:
            self.times.observe(batch.key, batch.images, seconds, batch.switched)
