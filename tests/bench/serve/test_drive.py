"""Loads in simulated time: what is known beforehand must come out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import cycle, repeat

import pytest

from gearshift_bench.serve import drive
from gearshift_bench.serve.drive import closed_loop, open_loop
from gearshift_bench.serve.outcome import Reply, summarise


class StallingServer:
    """One request at a time, `seconds` each; nothing moves during the stall."""

    def __init__(self, seconds: float, stall: tuple[float, float] = (-1.0, -1.0)) -> None:
        self._seconds = seconds
        self._stall = stall
        self._turn = asyncio.Lock()

    async def __call__(self, task: str) -> Reply:
        loop = asyncio.get_running_loop()
        async with self._turn:
            begin, end = self._stall
            if begin <= loop.time() < end:
                await asyncio.sleep(end - loop.time())
            await asyncio.sleep(self._seconds)
        return Reply("answered")


def test_requests_that_wait_during_a_stall_are_all_seen_by_the_open_loop(simulate) -> None:
    async def main() -> None:
        arrivals = [0.1 * number for number in range(100)]
        load = await open_loop(StallingServer(0.001, (2.0, 5.0)), repeat("t"), arrivals)
        slow = [outcome for outcome in load.outcomes if outcome.latency > 0.1]
        # Those of the 3 seconds of the stall, but for the last tenth of a second.
        assert 28 <= len(slow) <= 31
        assert max(outcome.latency for outcome in slow) == pytest.approx(3.0, abs=0.11)
        assert all(outcome.sent == pytest.approx(outcome.intended) for outcome in load.outcomes)

    simulate(main())


def test_no_request_waits_for_the_progress_bar_to_be_made(
    simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def slow(title: str, steps: int) -> Callable[[], None]:
            loop.jump(2.0)
            return lambda: None

        monkeypatch.setattr(drive, "show_progress", slow)
        load = await open_loop(StallingServer(0.001), repeat("t"), [0.0, 0.5])
        assert [outcome.latency for outcome in load.outcomes] == pytest.approx([0.001, 0.001])

    simulate(main())


def test_the_closed_loop_sees_a_stall_once(simulate) -> None:
    async def main() -> None:
        load = await closed_loop(StallingServer(0.001, (2.0, 5.0)), repeat("t"), 1, 10.0)
        assert sum(outcome.latency > 0.1 for outcome in load.outcomes) == 1

    simulate(main())


def test_latency_counts_from_the_intended_time_when_the_client_is_late(simulate) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def send(task: str) -> Reply:
            if not late:
                # The client's own process stands still.
                loop.jump(2.0)
                late.append(True)
            return Reply("answered")

        late: list[bool] = []
        load = await open_loop(send, repeat("t"), [0.0, 0.5, 1.0, 3.0])
        assert [outcome.latency for outcome in load.outcomes] == pytest.approx([2.0, 1.5, 1.0, 0.0])
        summary = summarise(load.outcomes, load.seconds)
        assert summary["late"]["max"] == pytest.approx(1.5)

    simulate(main())


def test_requests_are_sent_though_none_is_answered(simulate) -> None:
    async def main() -> None:
        async def never(task: str) -> Reply:
            await asyncio.sleep(1e9)
            raise AssertionError

        load = await open_loop(never, cycle("ab"), [0.0, 0.25, 0.5], patience=7.0)
        assert [outcome.reply.detail for outcome in load.outcomes] == ["no answer within 7 s"] * 3
        assert [outcome.task for outcome in load.outcomes] == ["a", "b", "a"]
        assert summarise(load.outcomes, load.seconds)["most_in_flight"] == 3
        assert load.seconds == pytest.approx(7.5)

    simulate(main())


def test_a_lost_connection_is_a_failure_and_the_load_goes_on(simulate) -> None:
    async def main() -> None:
        async def send(task: str) -> Reply:
            if task == "bad":
                raise ConnectionResetError(104, "Connection reset by peer")
            return Reply("answered")

        load = await open_loop(send, cycle(["good", "bad"]), [0.0, 0.1, 0.2, 0.3])
        summary = summarise(load.outcomes, load.seconds)
        assert (summary["answered"], summary["failed"]) == (2, 2)
        assert summary["failures"] == {"connection: Connection reset by peer": 2}

    simulate(main())


def test_a_fault_of_the_driver_itself_is_not_counted_as_the_servers(simulate) -> None:
    async def main() -> None:
        async def send(task: str) -> Reply:
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup):
            await open_loop(send, repeat("t"), [0.0])

    simulate(main())


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_a_closed_loop_keeps_so_many_requests_on_their_way(simulate, concurrency: int) -> None:
    async def main() -> None:
        async def send(task: str) -> Reply:
            await asyncio.sleep(0.25)
            return Reply("answered")

        load = await closed_loop(send, repeat("t"), concurrency, 2.0)
        summary = summarise(load.outcomes, load.seconds)
        assert summary["answered"] == 8 * concurrency
        assert summary["most_in_flight"] == concurrency
        assert summary["answers_per_second"] == pytest.approx(4 * concurrency)

    simulate(main())
