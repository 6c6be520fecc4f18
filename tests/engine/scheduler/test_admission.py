"""Bursts are taken in, floods are not."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift.scheduler import Batch, Entry, Key, QueueFull, Scheduler, SchedulerSettings
from gearshift.scheduler.admission import REST
from gearshift.scheduler.simulate import Hardware, Simulated, Simulation
from gearshift.scheduler.trace import TraceRequest

KEY = Key("m", "1", "depth", 24, 40)
SECONDS = 0.01


def scheduler_that_knows(overload_wait: float = 2.0) -> Scheduler:
    """Each image takes `SECONDS`, alone or not."""
    scheduler = Scheduler(SchedulerSettings(most_queued=10, overload_wait=overload_wait))
    for images in (1, 2, 4, 8):
        scheduler.times.measured(KEY, images, images * SECONDS)
    return scheduler


def flood(*phases: tuple[float, float]) -> list[TraceRequest]:
    """Evenly spaced requests: each phase has a load (1: as much as can be done) and a length."""
    trace, begin = [], 0.0
    for load, seconds in phases:
        count = round(seconds * load / SECONDS)
        trace += [
            TraceRequest(begin + number * SECONDS / load, "m", "depth", 24, 40)
            for number in range(count)
        ]
        begin += seconds
    return trace


def play(scheduler: Scheduler, *phases: tuple[float, float]) -> Simulated:
    return Simulation(scheduler, Hardware(0.0, SECONDS, 0.0)).run(flood(*phases))


def waits(played: Simulated, begin: float, end: float) -> list[float]:
    """From arrival to start, of those served that arrived in between."""
    return [
        one.started - one.request.arrival
        for one in played.served
        if begin <= one.request.arrival < end
    ]


def test_a_burst_that_fits_is_taken_in() -> None:
    scheduler = scheduler_that_knows()
    for _ in range(10):
        scheduler.submit(Entry(KEY, 0.0), 0.0)
    with pytest.raises(QueueFull, match="10 requests are waiting"):
        scheduler.submit(Entry(KEY, 0.0), 0.0)
    # Too much at once is not yet too much.
    assert not scheduler.overloaded


def test_a_burst_after_a_pause_is_taken_in_though_another_still_waits() -> None:
    """Five at once, and five more before the hardware is done with those."""
    scheduler = scheduler_that_knows()
    pause = 3.5 * SECONDS
    trace = [TraceRequest(at, "m", "depth", 24, 40) for at in (0.0, pause) for _ in range(5)]
    played = Simulation(scheduler, Hardware(0.0, SECONDS, 0.0)).run(trace)
    assert len(played.served) == 10
    assert not scheduler.overloaded


# What comes four times as fast passes for a burst, until as many wait as may.
@pytest.mark.parametrize(("load", "late"), [(1.5, 10), (2.0, 10), (3.0, 10), (4.0, 14)])
def test_a_flood_is_soon_refused_until_waits_are_short(load: float, late: int) -> None:
    scheduler = scheduler_that_knows()
    played = play(scheduler, (load, 5.0))
    assert scheduler.overloaded
    served = waits(played, 0.5, 4.9)
    # What can be done is done, and nobody waits longer than for the batch before.
    assert 0.9 < len(served) * SECONDS / 4.4 < 1.05
    assert max(served) <= 1.001 * SECONDS
    # It is seen before many have come.
    assert sum(wait > 2 * SECONDS for wait in waits(played, 0.0, 5.0)) < late


@pytest.mark.parametrize("slower", [1.5, 4.0])
def test_on_slow_hardware_one_waits_for_the_rest_of_a_batch_only(
    slower: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What batches take on idle hardware was measured before it became slow.
    monkeypatch.setattr(Simulation, "_warm", lambda *_: None)
    seconds = slower * SECONDS
    hardware = Hardware(0.0, seconds, 0.0)
    played = Simulation(scheduler_that_knows(), hardware).run(flood((2.0, 20.0)))
    served = waits(played, 2.0, 19.9)
    assert 0.7 * REST * seconds < max(served) <= 1.001 * REST * seconds
    # Not much of it idles.
    assert 0.8 < len(served) * seconds / 17.9 < 1.05


def test_more_may_wait_in_overload_where_the_settings_say_so() -> None:
    served = waits(play(scheduler_that_knows(4.0), (2.0, 5.0)), 2.0, 4.9)
    assert 2 * SECONDS <= max(served) <= 3.001 * SECONDS


@pytest.mark.parametrize("clients", [2, 5, 10])
def test_clients_that_wait_for_their_answers_are_not_refused(clients: int) -> None:
    scheduler = scheduler_that_knows()
    random = np.random.default_rng(clients)
    now = 0.0
    for _ in range(clients):
        scheduler.submit(Entry(KEY, now), now)
        now += 0.1 * SECONDS
    for _ in range(500):
        batch = scheduler.next(now)
        assert isinstance(batch, Batch)
        now += batch.images * SECONDS * float(random.lognormal(0.0, 0.2))
        scheduler.finished(batch, now)
        for _ in batch.entries:
            scheduler.submit(Entry(KEY, now), now)
    assert not scheduler.overloaded


def test_many_clients_may_start_together() -> None:
    """Five times as fast as they are answered, and for longer than it takes to see a flood."""
    scheduler = Scheduler()
    trace = [TraceRequest(0.2 * number * SECONDS, "m", "depth", 24, 40) for number in range(24)]
    played = Simulation(scheduler, Hardware(0.0, SECONDS, 0.0)).run(trace)
    assert len(played.served) == 24
    assert not scheduler.overloaded


def test_overload_ends_when_less_is_asked_for() -> None:
    scheduler = scheduler_that_knows()
    played = play(scheduler, (2.0, 5.0), (0.5, 3.0))
    assert not scheduler.overloaded
    assert len(waits(played, 6.5, 8.0)) == round(1.5 * 0.5 / SECONDS)
    for _ in range(10):
        scheduler.submit(Entry(KEY, 8.0), 8.0)


def test_one_may_always_wait() -> None:
    scheduler = scheduler_that_knows(overload_wait=0.0)
    trace = flood((2.0, 5.0))
    play(scheduler, (2.0, 5.0))
    assert scheduler.overloaded
    now = trace[-1].arrival
    scheduler.submit(Entry(KEY, now, images=8), now)
    with pytest.raises(QueueFull, match="more requests arrive than can be served"):
        scheduler.submit(Entry(KEY, now), now)


def test_a_refusal_says_when_to_come_again() -> None:
    scheduler = scheduler_that_knows()
    for _ in range(10):
        scheduler.submit(Entry(KEY, 0.0), 0.0)
    with pytest.raises(QueueFull) as full:
        scheduler.submit(Entry(KEY, 0.0), 0.0)
    assert full.value.retry_after == pytest.approx(10 * SECONDS)
    batch = scheduler.next(0.0)
    assert isinstance(batch, Batch)
    scheduler.submit(Entry(KEY, 0.001), 0.001)
    with pytest.raises(QueueFull) as full:
        scheduler.submit(Entry(KEY, 0.004), 0.004)
    assert full.value.retry_after == pytest.approx(10.6 * SECONDS)
