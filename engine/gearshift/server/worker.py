"""One thread that runs batches: the hardware is one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


class Worker:
    """Runs jobs one after another on its own thread; made and used on an event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A daemon, so that a run that never returns cannot keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="gearshift-worker", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], Result], done: Callable[[Result], None]) -> None:
        """Run `job`, which raises nothing, and then `done` with its result on the event loop."""
        self._jobs.put(lambda: self._tell(done, job()))

    def run_here(self, job: Callable[[], Result], done: Callable[[Result], None]) -> None:
        """The same on the event loop's own thread, in its next round: for a job that is over sooner
        than others mind, since handing one over and back takes half a millisecond."""
        self._loop.call_soon(lambda: done(job()))

    async def close(self, seconds: float) -> None:
        """End the thread after the jobs that it has; wait for that at most so long."""
        # What is to run here has its turn first.
        await asyncio.sleep(0)
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, seconds)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            # Else the last batch's arrays would live until the next one comes.
            del job

    def _tell(self, done: Callable[[Result], None], result: Result) -> None:
        # A closed loop raises: nobody waits for the result any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(done, result)
