"""Plans in simulated time, on servers whose figures are known."""

from __future__ import annotations

import asyncio
from itertools import cycle, repeat

import pytest

from gearshift.errors import InputError
from gearshift_bench.serve import plans
from gearshift_bench.serve.outcome import Reply, TimedReply
from gearshift_bench.serve.target import ServerError


class QueueingServer:
    """One request at a time, `seconds` each; refuses at once when `most` wait."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._waiting = 0
        self._turn = asyncio.Lock()

    async def __call__(self, task: str) -> Reply:
        if self._waiting > self._most:
            await asyncio.sleep(0.002)
            return Reply("refused")
        self._waiting += 1
        async with self._turn:
            await asyncio.sleep(self._seconds)
        self._waiting -= 1
        return Reply("answered", queue=0.0, compute=self._seconds, batch=1)


def driver(send, poisson: bool = True) -> plans.Driver:
    return plans.Driver(send, cycle("ab"), poisson)


def test_capacity_is_what_one_worker_can_do(simulate) -> None:
    async def main() -> None:
        record = await plans.capacity(driver(QueueingServer(0.02, 8)), 2.0)
        assert record["answers_per_second"] == pytest.approx(50, rel=0.03)
        # Sixteen clients are refused, so that no more are tried.
        assert [step["concurrency"] for step in record["steps"]] == [1, 2, 4, 8]

    simulate(main())


def test_a_server_that_answers_nothing_has_no_capacity(simulate) -> None:
    async def main() -> None:
        async def broken(task: str) -> Reply:
            await asyncio.sleep(0.01)
            return Reply("failed", "HTTP 500: no")

        with pytest.raises(ServerError, match="HTTP 500: no"):
            await plans.capacity(driver(broken), 1.0)

    simulate(main())


@pytest.mark.parametrize(("most", "reached"), [(1, True), (6, False)])
def test_overload_tells_a_short_queue_from_a_long_one(simulate, most: int, reached: bool) -> None:
    async def main() -> None:
        record = await plans.overload(driver(QueueingServer(0.02, most)), 10.0)
        loaded = record["overloaded"]
        assert loaded["rate"] == pytest.approx(100, rel=0.05)
        assert loaded["refused_share"] == pytest.approx(0.5, abs=0.05)
        assert loaded["answers_per_second"] == pytest.approx(50, rel=0.1)
        assert loaded["refusal_latency"]["max"] == pytest.approx(0.002)
        # An accepted request waits for at most `most` others and the one that runs.
        assert record["slower"] == pytest.approx(most + 1.5, abs=0.6)
        assert record["reached"] is reached
        assert record["settled"] == pytest.approx(record["slower"], abs=0.3)

    simulate(main())


def test_how_an_overload_begins_is_told_apart(simulate) -> None:
    """A server that takes in a long queue once, and then no more than one at a time."""

    async def main() -> None:
        server = QueueingServer(0.02, 1)
        loop = asyncio.get_running_loop()
        begun: list[float] = []

        async def send(task: str) -> Reply:
            # The unloaded requests, then those of the capacity, come before it.
            since = loop.time()
            slow = bool(begun) and since - begun[0] < 0.5
            reply = await server(task)
            if slow and reply.ending == "answered":
                await asyncio.sleep(0.5)
            return reply

        made = driver(send)
        arrivals = made.arrivals

        def overloads(self: plans.Driver, rate: float, seconds: float):
            begun.append(loop.time())
            return arrivals(rate, seconds)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plans.Driver, "arrivals", overloads)
            record = await plans.overload(made, 10.0)
        assert record["slower"] > 10
        assert record["settled"] < 3

    simulate(main())


def test_failures_under_overload_miss_the_target_whatever_the_latency(simulate) -> None:
    async def main() -> None:
        inner = QueueingServer(0.02, 1)
        count = cycle(range(200))

        async def send(task: str) -> Reply:
            if next(count) == 150:
                return Reply("failed", "HTTP 500: oops")
            return await inner(task)

        record = await plans.overload(driver(send), 8.0)
        assert record["overloaded"]["failed"] > 0
        assert record["reached"] is False

    simulate(main())


@pytest.mark.parametrize("extra", [0.0004, 0.002])
def test_overhead_is_the_time_beside_the_session(simulate, extra: float) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def send(task: str) -> TimedReply:
            # What the client does with an answer that is there is none of the server's time.
            loop.jump(0.009 + extra)
            return 0.006 + extra, Reply("answered", compute=0.006)

        def run_here(task: str) -> None:
            loop.jump(0.006)

        record = await plans.overhead(cycle("a"), run_here, send, lambda task: 0.0063, 2.0)
        assert record["floor"] == pytest.approx(0.0003)
        assert record["session"]["count"] == record["server"]["count"] > 100
        assert record["overhead"] == pytest.approx(extra)
        assert record["low"] == pytest.approx(extra)
        assert record["beside_compute"]["median"] == pytest.approx(extra)
        assert record["reached"] is (extra < 0.001)

    simulate(main())


def test_overhead_of_a_refusing_server_is_no_figure(simulate) -> None:
    async def main() -> None:
        send = (0.001, Reply("refused"))
        with pytest.raises(OSError, match="refused"):
            await plans.overhead(
                cycle("a"), lambda task: None, lambda task: send, lambda task: 0.0, 1.0
            )

    simulate(main())


def test_a_soak_sees_a_leak(simulate) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def send(task: str) -> Reply:
            await asyncio.sleep(0.001)
            return Reply("answered")

        async def memory() -> float:
            return 50e6 + 2000 * loop.time()

        record = await plans.soak(driver(send, poisson=False), 10.0, 60.0, memory)
        assert record["answered"] == 600
        assert record["memory"]["growth_per_hour"] == pytest.approx(7.2e6, rel=0.01)

    simulate(main())


def test_a_soak_without_a_view_of_memory_says_so(simulate) -> None:
    async def main() -> None:
        async def send(task: str) -> Reply:
            return Reply("answered")

        record = await plans.soak(driver(send), 10.0, 5.0, None)
        assert record["memory"]["not_measured"]
        assert record["memory"]["growth_per_hour"] is None

        async def blind() -> float:
            raise InputError("/metrics does not say")

        with pytest.raises(InputError):
            await plans.soak(driver(send), 10.0, 5.0, blind)

    simulate(main())


def test_arrivals_are_repeated_by_the_seed() -> None:
    first = plans.Driver(repeat, repeat("t"), seed=4).arrivals(50.0, 10.0)
    assert first == plans.Driver(repeat, repeat("t"), seed=4).arrivals(50.0, 10.0)
    assert first != plans.Driver(repeat, repeat("t"), seed=5).arrivals(50.0, 10.0)
    assert len(first) == pytest.approx(500, rel=0.2)
