"""What is measured of a server: each plan drives it and returns one record as JSON has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gearshift_bench.latency.loops import fixed_arrivals, poisson_arrivals
from gearshift_bench.latency.statistics import latency_entry, median_interval
from gearshift_bench.serve.drive import Load, Send, closed_loop, open_loop
from gearshift_bench.serve.memory import Memory, trend
from gearshift_bench.serve.outcome import TimedReply, distribution, summarise
from gearshift_bench.serve.target import ServerError

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
"""Clients at a time, among which the greatest throughput is looked for."""
REFUSES = 0.01
"""Share of refusals from which on more clients only measure refusing."""
OVERLOAD = 2.0
"""Of the capacity."""
MOST_SLOWER = 3.0
"""p99 of accepted requests under overload over that of an unloaded server: the target."""
CALM_SECONDS = 1.0
"""Before an overload, of one request at a time."""
SETTLING_SECONDS = 1.0
"""Of an overload, in which a server finds out that it is one."""
MOST_OVERHEAD = 0.001
"""Seconds that a request through the server may take beyond one to a session: the target."""
NEIGHBOURS = 24
"""Pairs of requests between which nothing else is measured."""
MEMORY_SAMPLES = 120
"""Of a soak."""

ReadMemory = Callable[[], Awaitable[float]]
"""The server's resident bytes."""


@dataclass(frozen=True)
class Driver:
    """How requests are sent and which."""

    send: Send
    requests: Iterator[str]
    """Their tasks, without end."""
    poisson: bool = True
    """Arrivals know nothing of each other; else they are evenly spaced."""
    seed: int = 0

    def arrivals(self, rate: float, seconds: float) -> Sequence[float]:
        """Seconds from the beginning."""
        if self.poisson:
            return poisson_arrivals(rate, seconds, self.seed).tolist()
        return fixed_arrivals(rate, seconds).tolist()


async def at_rate(driver: Driver, rate: float, seconds: float) -> dict[str, Any]:
    """Latencies at so many requests a second."""
    return _at_rate(driver, rate, await _open_loop(driver, rate, seconds))


async def _open_loop(driver: Driver, rate: float, seconds: float) -> Load:
    return await open_loop(driver.send, driver.requests, driver.arrivals(rate, seconds))


def _at_rate(driver: Driver, rate: float, load: Load) -> dict[str, Any]:
    kind = "poisson" if driver.poisson else "fixed"
    return {"kind": "rate", "rate": rate, "arrivals": kind, **_summary(load)}


async def unloaded(driver: Driver, seconds: float) -> dict[str, Any]:
    """One request at a time: nothing waits for anything."""
    load = await closed_loop(driver.send, driver.requests, 1, seconds)
    return {"kind": "closed", "concurrency": 1, **_summary(load)}


async def capacity(driver: Driver, seconds: float) -> dict[str, Any]:
    """The most answers a second over several numbers of clients; `seconds` for each.

    Raises:
        ServerError: there was none.
    """
    steps: list[dict[str, Any]] = []
    for concurrency in CONCURRENCIES:
        load = await closed_loop(driver.send, driver.requests, concurrency, seconds)
        summary = _summary(load)
        if steps and summary["refused_share"] > REFUSES:
            break
        steps.append({"kind": "closed", "concurrency": concurrency, **summary})
    most = max(step["answers_per_second"] for step in steps)
    if not most:
        why = "; ".join(steps[0]["failures"]) or "all were refused"
        raise ServerError(f"the server answered no request: {why}")
    return {"kind": "capacity", "answers_per_second": most, "steps": steps}


async def overload(driver: Driver, seconds: float) -> dict[str, Any]:
    """An unloaded server, its capacity, and what it does at twice of that.

    `slower` is the p99 of answers at that rate over the unloaded one; None where a p99 is not
    known. `settled` is the same ratio without the first second, in which a server cannot know yet
    that it is no burst.
    """
    calm = await unloaded(driver, seconds)
    found = await capacity(driver, max(seconds / 4, 1.0))
    rate = max(OVERLOAD * found["answers_per_second"], 1.0)
    # What the last step left in the queue is none of this load's, nor what idling has left cold.
    await closed_loop(driver.send, driver.requests, 1, CALM_SECONDS)
    load = await _open_loop(driver, rate, seconds)
    loaded = _at_rate(driver, rate, load)
    first = min((outcome.intended for outcome in load.outcomes), default=0.0)
    later = [one for one in load.outcomes if one.intended >= first + SETTLING_SECONDS]
    settled = summarise(later, load.seconds)
    slower = _ratio(loaded["latency"], calm["latency"], "p99")
    return {
        "kind": "overload",
        "unloaded": calm,
        "capacity": found,
        "overloaded": loaded,
        "slower": slower,
        "settled": _ratio(settled["latency"], calm["latency"], "p99"),
        "target": MOST_SLOWER,
        "reached": None if slower is None else slower < MOST_SLOWER and not loaded["failed"],
    }


async def overhead(
    requests: Iterator[str],
    run_here: Callable[[str], object],
    send: Callable[[str], TimedReply],
    send_bare: Callable[[str], float],
    seconds: float,
) -> dict[str, Any]:
    """A request to the server beside the same one to a session in this process, in turns; now and
    then, for as long again, one over a bare socket beside the session. Nobody waits on an event
    loop.

    `overhead` is the difference of the medians; `low` and `high` are the interval of the median
    difference between neighbours. `floor` is the difference that a bare socket makes.

    Raises:
        OSError: a request was not answered.
    """
    loop = asyncio.get_running_loop()
    replies: list[float] = []

    def ask(task: str) -> float:
        took, reply = send(task)
        if reply.ending != "answered":
            raise ConnectionAbortedError(0, f"a request {reply.ending}: {reply.detail}")
        if reply.compute is not None:
            replies.append(took - reply.compute)
        return took

    server, bare = _Pairs(run_here, ask), _Pairs(run_here, send_bare)
    end = loop.time() + 2 * seconds
    while loop.time() < end or not bare.here:
        # Not one after the other: each would find the caches filled by two others.
        for pairs in (server, bare):
            for _ in range(NEIGHBOURS):
                pairs.add(next(requests))
            # Other connections are idle meanwhile: the client must see when they are closed.
            await asyncio.sleep(0)
    low, high = median_interval(np.subtract(server.there, server.here))
    return {
        "kind": "overhead",
        "session": latency_entry(server.here),
        "server": latency_entry(server.there),
        "bare": latency_entry(bare.there),
        "beside_compute": distribution(replies),
        "overhead": server.difference,
        "low": low,
        "high": high,
        "floor": bare.difference,
        "target": MOST_OVERHEAD,
        "reached": server.difference < MOST_OVERHEAD,
    }


class _Pairs:
    """Seconds that the same requests took here and there."""

    def __init__(self, run_here: Callable[[str], object], ask: Callable[[str], float]) -> None:
        self._run_here = run_here
        self._ask = ask
        self.here: list[float] = []
        self.there: list[float] = []

    def add(self, task: str) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        self._run_here(task)
        self.here.append(loop.time() - start)
        self.there.append(self._ask(task))

    @property
    def difference(self) -> float:
        """Of the medians."""
        return float(np.median(self.there) - np.median(self.here))


async def soak(
    driver: Driver, rate: float, seconds: float, memory: ReadMemory | None
) -> dict[str, Any]:
    """A steady load, and the server's memory meanwhile.

    Args:
        memory: None if it cannot be known. What it raises at the beginning is raised.
    """
    samples = [] if memory is None else [Memory(0.0, await memory())]
    watch = asyncio.create_task(_watch(memory, samples, seconds / MEMORY_SAMPLES))
    try:
        record = await at_rate(driver, rate, seconds)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    return {**record, "kind": "soak", "memory": trend(samples)}


async def _watch(memory: Callable[[], Any] | None, samples: list[Memory], every: float) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while memory is not None:
        await asyncio.sleep(every)
        samples.append(Memory(loop.time() - begin, await memory()))


def _summary(load: Load) -> dict[str, Any]:
    return summarise(load.outcomes, load.seconds)


def _ratio(first: dict[str, Any] | None, second: dict[str, Any] | None, name: str) -> float | None:
    if first is None or second is None or first[name] is None or second[name] is None:
        return None
    return float(first[name] / second[name])
