"""The two ways to send requests to a server: on a schedule, or as fast as answers come.

Both go by the event loop's clock alone, so that tests can run them in simulated time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gearshift_bench.progress import show_progress
from gearshift_bench.serve.outcome import Outcome, Reply

PATIENCE = 30.0
"""Seconds after which an answer counts as lost."""

Send = Callable[[str], Awaitable[Reply]]
"""Sends one request of a task and waits for its end; an OSError is a failure."""

T = TypeVar("T")


@dataclass(frozen=True)
class Load:
    """The requests of one load, in the order in which they ended."""

    outcomes: list[Outcome]
    seconds: float
    """From the first request's time to the last one's end."""


def run(work: Coroutine[object, object, T]) -> T:
    """`asyncio.run` with timers finer than the whole milliseconds of epoll."""

    def precise_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(work)


async def open_loop(
    send: Send, requests: Iterator[str], arrivals: Sequence[float], patience: float = PATIENCE
) -> Load:
    """Send each request at its time, whatever became of those before.

    Args:
        requests: their tasks.
        arrivals: seconds from now, sorted.
        patience: see `PATIENCE`.
    """
    loop = asyncio.get_running_loop()
    outcomes: list[Outcome] = []
    step = show_progress("requests", len(arrivals))
    # After the bar, which may take longer to make than requests are apart.
    begin = loop.time()

    async def one(task: str, intended: float) -> None:
        outcomes.append(await _one(send, task, intended, patience))
        step()

    async with asyncio.TaskGroup() as group:
        for arrival in arrivals:
            # Also when it is late already: answers that have arrived are seen to first.
            await asyncio.sleep(begin + arrival - loop.time())
            group.create_task(one(next(requests), begin + arrival))
    return Load(outcomes, loop.time() - begin)


async def closed_loop(
    send: Send,
    requests: Iterator[str],
    concurrency: int,
    seconds: float,
    patience: float = PATIENCE,
) -> Load:
    """So many clients, each of which sends its next request when the last one ended."""
    loop = asyncio.get_running_loop()
    outcomes: list[Outcome] = []
    begin = loop.time()

    async def client() -> None:
        while loop.time() < begin + seconds:
            outcomes.append(await _one(send, next(requests), loop.time(), patience))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())
    return Load(outcomes, loop.time() - begin)


async def _one(send: Send, task: str, intended: float, patience: float) -> Outcome:
    loop = asyncio.get_running_loop()
    sent = loop.time()
    try:
        async with asyncio.timeout(patience):
            reply = await send(task)
    except TimeoutError:
        reply = Reply("failed", f"no answer within {patience:g} s")
    except OSError as error:
        reply = Reply("failed", f"connection: {error.strerror or type(error).__name__}")
    return Outcome(task, intended, sent, loop.time(), reply)
