"""Submitting, cancelling, expiring, and what `next` says in between."""

from __future__ import annotations

import pytest

from gearshift.errors import InputError
from gearshift.scheduler import Batch, Entry, Key, QueueFull, Scheduler, SchedulerSettings

DEPTH = Key("m", "1", "depth", 24, 40)
EDGES = Key("m", "1", "edges", 24, 40)


def test_an_idle_scheduler_has_nothing_to_do() -> None:
    scheduler = Scheduler()
    assert scheduler.next(0.0) is None
    assert scheduler.next_deadline() is None
    assert scheduler.expired(5.0) == []


def test_one_batch_runs_at_a_time() -> None:
    scheduler = Scheduler()
    first, second = Entry(DEPTH, 1.0), Entry(EDGES, 1.0)
    scheduler.submit(first, 1.0)
    scheduler.submit(second, 1.0)
    batch = scheduler.next(1.0)
    assert isinstance(batch, Batch)
    assert (batch.entries, batch.images, batch.switched) == ([first], 1, True)
    assert scheduler.running is batch
    assert scheduler.next(1.1) is None
    scheduler.finished(batch, 1.2)
    other = scheduler.next(1.2)
    assert isinstance(other, Batch)
    assert other.entries == [second]
    with pytest.raises(ValueError, match="not the one that runs"):
        scheduler.finished(batch, 1.3)


def test_requests_of_one_key_run_together_up_to_the_batch_limit() -> None:
    scheduler = Scheduler(SchedulerSettings(most_batch=5))
    entries = [Entry(DEPTH, 0.0, images) for images in (2, 1, 1, 3, 1)]
    for entry in entries:
        scheduler.submit(entry, 0.0)
    sizes = []
    while isinstance(batch := scheduler.next(0.0), Batch):
        sizes.append([entry.images for entry in batch.entries])
        scheduler.finished(batch, 0.0)
    assert sizes == [[2, 1, 1], [3, 1]]


@pytest.mark.parametrize(
    "other",
    [
        DEPTH._replace(model="n"),
        DEPTH._replace(version="2"),
        DEPTH._replace(task="edges"),
        DEPTH._replace(height=32),
        DEPTH._replace(width=32),
    ],
)
def test_another_model_version_task_or_size_is_another_batch(other: Key) -> None:
    scheduler = Scheduler()
    scheduler.submit(Entry(DEPTH, 0.0), 0.0)
    scheduler.submit(Entry(other, 0.0), 0.0)
    batch = scheduler.next(0.0)
    assert isinstance(batch, Batch)
    assert batch.images == 1
    scheduler.finished(batch, 0.0)
    second = scheduler.next(0.0)
    assert isinstance(second, Batch)
    assert second.switched == (other[:3] != DEPTH[:3])


def test_a_cancelled_request_never_runs() -> None:
    scheduler = Scheduler()
    gone, kept = Entry(DEPTH, 0.0), Entry(DEPTH, 0.0)
    scheduler.submit(gone, 0.0)
    scheduler.submit(kept, 0.0)
    assert scheduler.cancel(gone)
    assert not scheduler.cancel(gone)
    batch = scheduler.next(0.0)
    assert isinstance(batch, Batch)
    assert batch.entries == [kept]
    assert not scheduler.cancel(kept)
    assert scheduler.queued == 0


def test_requests_expire_at_their_deadline() -> None:
    scheduler = Scheduler()
    entries = [Entry(DEPTH, 0.0, deadline=deadline) for deadline in (3.0, None, 1.0, 2.0)]
    for entry in entries:
        scheduler.submit(entry, 0.0)
    assert scheduler.next_deadline() == 1.0
    assert scheduler.expired(0.999) == []
    assert scheduler.expired(2.0) == [entries[2], entries[3]]
    assert scheduler.next_deadline() == 3.0
    assert scheduler.queued == 2
    assert scheduler.clear() == [entries[0], entries[1]]
    assert scheduler.queued == 0


def test_counts_by_task_take_all_sizes_and_versions_together() -> None:
    scheduler = Scheduler()
    for key in (DEPTH, DEPTH._replace(height=8), DEPTH._replace(version="2"), EDGES):
        scheduler.submit(Entry(key, 0.0), 0.0)
    assert scheduler.queued_by_task == {("m", "depth"): 3, ("m", "edges"): 1}


@pytest.mark.parametrize("images", [0, -1, 9])
def test_a_number_of_images_outside_the_limits_is_refused(images: int) -> None:
    scheduler = Scheduler(SchedulerSettings(most_batch=8))
    with pytest.raises(InputError, match="give 1 to 8"):
        scheduler.submit(Entry(DEPTH, 0.0, images), 0.0)
    assert scheduler.queued == 0


@pytest.mark.parametrize("priority", [0, -3, 6])
def test_a_priority_outside_the_levels_is_refused(priority: int) -> None:
    with pytest.raises(InputError, match="1 \\(urgent\\) to 5"):
        Scheduler().submit(Entry(DEPTH, 0.0, priority=priority), 0.0)


def test_the_bounds_of_the_queue() -> None:
    settings = SchedulerSettings(most_queued=5, most_queued_task=3, overload_wait=100.0)
    scheduler = Scheduler(settings)
    for _ in range(3):
        scheduler.submit(Entry(DEPTH, 0.0), 0.0)
    with pytest.raises(QueueFull, match="3 requests are waiting for task depth of model m"):
        scheduler.submit(Entry(DEPTH._replace(height=8), 0.0), 0.0)
    scheduler.submit(Entry(EDGES, 0.0), 0.0)
    scheduler.submit(Entry(EDGES, 0.0), 0.0)
    with pytest.raises(QueueFull, match="5 requests are waiting") as full:
        scheduler.submit(Entry(EDGES, 0.0), 0.0)
    assert full.value.retry_after > 0
    assert scheduler.queued == 5
    assert scheduler.cancel(next(iter(scheduler.clear()))) is False
    scheduler.submit(Entry(DEPTH, 0.0), 0.0)


def test_the_bytes_of_what_waits_are_bounded() -> None:
    scheduler = Scheduler(SchedulerSettings(most_queued_bytes=3 * 4 * 100 * 100 * 4))
    large = DEPTH._replace(height=100, width=100)
    first = Entry(large, 0.0, images=3)
    assert first.nbytes == 360_000
    scheduler.submit(first, 0.0)
    scheduler.submit(Entry(large, 0.0, images=1), 0.0)
    with pytest.raises(QueueFull, match="MB of images"):
        scheduler.submit(Entry(DEPTH._replace(height=8, width=8), 0.0), 0.0)
    assert scheduler.cancel(first)
    scheduler.submit(Entry(large, 0.0, images=3), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"most_queued": 0},
        {"most_batch": -1},
        {"most_queued_bytes": 0},
        {"longest_wait_seconds": -0.1},
        {"patience_seconds": float("nan")},
        {"overload_wait": float("inf")},
        {"least_gain": 1.0},
        {"switch_share": -0.1},
        {"default_priority": 6},
        {"priority_levels": 0},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SchedulerSettings(**wrong)  # type: ignore[arg-type]
