"""Waiting: batches, cancelled and late requests, full queues, priorities, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gearshift.server.errors import TimedOut, TooManyRequests, Unavailable

Fixture = Callable[..., Any]


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_waits_for_one_task_runs_as_one_batch(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            jobs = [ask(service)]
            await gate.until_batches(1)
            jobs += [ask(service, "depth", batch=number) for number in (1, 3, 2)]
            jobs += [ask(service, "edges") for _ in range(2)]
            await settle()
            assert service.queued == {("random", "depth"): 3, ("random", "edges"): 2}
            gate.open()
            answers = await asyncio.gather(*jobs)
            assert gate.batches == [
                ("1", "depth", [1]),
                ("1", "depth", [1, 3, 2]),
                ("1", "edges", [1, 1]),
            ]
            assert [answer.batch for answer in answers] == [1, 6, 6, 6, 2, 2]
            assert [len(answer.output) for answer in answers] == [1, 1, 3, 2, 1, 1]
            assert service.queued == {}

    run(test())


def test_a_client_that_went_away_costs_nothing(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            running = ask(service)
            await gate.until_batches(1)
            gone, kept = ask(service, "edges"), ask(service, "normals")
            await settle()
            gone.cancel()
            await settle()
            assert service.queued == {("random", "normals"): 1}
            with pytest.raises(asyncio.CancelledError):
                await gone
            # What runs cannot be stopped, but nobody gets its result.
            running.cancel()
            gate.open()
            await kept
            assert [task for _, task, _ in gate.batches] == ["depth", "normals"]
            (version,) = service.statistics("random").versions
            assert (version.cancelled, version.success.count, version.fail.count) == (2, 1, 0)

    run(test())


def test_a_request_that_waited_its_time_is_told_so_though_the_worker_is_busy(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            running = ask(service)
            await gate.until_batches(1)
            late, patient = ask(service, timeout=0.02), ask(service, timeout=300)
            with pytest.raises(TimedOut, match="as long as it may"):
                await late
            gate.open()
            await running
            await patient
            assert [images for _, _, images in gate.batches] == [[1], [1]]
            (version,) = service.statistics("random").versions
            assert (version.timed_out, version.fail.count, version.success.count) == (1, 1, 2)

    run(test())


def test_the_default_timeout_is_that_of_requests_without_one(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve(default_timeout=0.02) as service:
            gate.close()
            running = ask(service)
            await gate.until_batches(1)
            patient = ask(service, timeout=300)
            with pytest.raises(TimedOut):
                await ask(service)
            gate.open()
            await running
            await patient

    run(test())


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve(most_queued=4, most_queued_task=3, overload_wait=1e6) as service:
            gate.close()
            jobs = [ask(service)]
            await gate.until_batches(1)
            jobs += [ask(service) for _ in range(3)]
            with pytest.raises(TooManyRequests, match="for task depth") as refused:
                await ask(service)
            assert refused.value.retry_after > 0
            jobs.append(ask(service, "edges"))
            for task in ("edges", "depth", "rooms"):
                with pytest.raises(TooManyRequests, match="4 requests are waiting"):
                    await ask(service, task)
            assert not any(job.done() for job in jobs)
            gate.open()
            await asyncio.gather(*jobs)
            await ask(service)
            (version,) = service.statistics("random").versions
            assert (version.rejected, version.success.count) == (4, 6)

    run(test())


def test_urgent_requests_go_first(serve: Fixture, gate: Any, ask: Fixture, run: Fixture) -> None:
    async def test() -> None:
        async with serve(patience_seconds=10.0, switch_share=0.99) as service:
            gate.close()
            jobs = [ask(service)]
            await gate.until_batches(1)
            for task, priority in (("rooms", 5), ("edges", 0), ("normals", 1), ("depth", 2)):
                jobs.append(ask(service, task, priority=priority))
                await settle()
            gate.open()
            await asyncio.gather(*jobs)
            order = [task for _, task, _ in gate.batches]
            assert order == ["depth", "normals", "depth", "edges", "rooms"]

    run(test())


def test_draining_loses_nothing_that_was_accepted(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            jobs = [ask(service, task) for task in ("depth", "edges", "edges", "rooms")]
            await gate.until_batches(1)
            draining = asyncio.ensure_future(service.drain(30))
            await settle()
            assert not service.ready
            with pytest.raises(Unavailable, match="the server is ending"):
                await ask(service)
            with pytest.raises(Unavailable, match="the server is ending"):
                await service.load("random")
            assert not draining.done()
            gate.open()
            await draining
            await settle()
            assert all(job.done() for job in jobs)
            for job in jobs:
                assert (await job).output.shape[0] == 1

    run(test())


def test_what_is_not_done_in_time_is_refused_at_the_end(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            running = ask(service)
            await gate.until_batches(1)
            waiting = ask(service, "edges")
            await settle()
            await service.drain(0.01)
            assert not waiting.done()
            closing = asyncio.ensure_future(service.close())
            with pytest.raises(Unavailable, match="before the request's turn"):
                await waiting
            assert not closing.done()
            gate.open()
            await closing
            assert (await running).batch == 1

    run(test())


def test_draining_an_idle_service_takes_no_time(serve: Fixture, run: Fixture) -> None:
    async def test() -> None:
        async with serve() as service:
            await asyncio.wait_for(service.drain(1e6), 5)

    run(test())
