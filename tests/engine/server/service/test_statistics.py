"""Counts and times, as the protocol's statistics have them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from gearshift.server.errors import NotFound
from gearshift.server.statistics import Total, VersionStatistics

Fixture = Callable[..., Any]


def test_totals_add_up() -> None:
    statistics = VersionStatistics("1")
    statistics.count_request("success", 3, 0.5, 0.2, 0.25)
    statistics.count_request("success", 1, 0.25, 0.0, 0.125)
    statistics.count_request("failed", 1, 0.75, 0.75, 0.0)
    statistics.count_request("timed_out", 2, 1.0, 1.0, 0.0)
    statistics.count_request("cancelled", 2, 9.0, 9.0, 0.0)
    assert statistics.images == 4
    assert statistics.success == Total(2, 0.75)
    assert statistics.queue == Total(2, 0.2)
    assert statistics.compute == Total(2, 0.375)
    assert statistics.fail == Total(2, 1.75)
    assert (statistics.timed_out, statistics.cancelled) == (1, 1)
    statistics.count_batch(4, 0.5, True)
    statistics.count_batch(4, 0.25, False)
    statistics.count_batch(1, 0.125, True)
    assert statistics.batches == {4: Total(2, 0.75), 1: Total(1, 0.125)}
    assert statistics.switches == 2


def test_the_service_counts_what_it_does(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            (fresh,) = service.statistics("random").versions
            assert fresh == VersionStatistics("1")
            gate.close()
            jobs = [ask(service, batch=2)]
            await gate.until_batches(1)
            jobs += [ask(service, task) for task in ("edges", "edges", "depth")]
            await asyncio.sleep(0.02)
            gate.open()
            answers = await asyncio.gather(*jobs)
            (now,) = service.statistics("random").versions
            assert (now.images, now.success.count, now.queue.count, now.compute.count) == (
                5,
                4,
                4,
                4,
            )
            assert now.queue.seconds == pytest.approx(sum(one.queue_seconds for one in answers))
            assert now.compute.seconds == pytest.approx(sum(one.compute_seconds for one in answers))
            assert now.success.seconds >= now.queue.seconds
            assert {images: total.count for images, total in now.batches.items()} == {2: 2, 1: 1}
            assert now.switches == 3
            assert 0 <= time.time() - now.last_request < 60
            # What was given out does not change any more.
            assert fresh == VersionStatistics("1")
            with pytest.raises(NotFound, match="no model 'other'"):
                service.statistics("other")

    run(test())
