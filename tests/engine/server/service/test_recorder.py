"""A recorded trace holds what came, and can be simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gearshift.scheduler import Scheduler
from gearshift.scheduler.simulate import HARDWARE, Simulation
from gearshift.scheduler.trace import read_trace
from gearshift.server.recorder import Recorder

Fixture = Callable[..., Any]


def test_accepted_and_refused_requests_are_recorded(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture, tmp_path: Path
) -> None:
    recorder = Recorder()

    async def test() -> None:
        async with serve(observer=recorder, most_queued=2) as service:
            gate.close()
            jobs = [ask(service, "edges", priority=2, timeout=90.0)]
            await gate.until_batches(1)
            jobs += [ask(service, batch=number) for number in (1, 2, 3)]
            await asyncio.sleep(0.01)
            gate.open()
            await asyncio.gather(*jobs, return_exceptions=True)

    run(test())
    recorder.write(tmp_path / "trace.jsonl")
    trace = read_trace(tmp_path / "trace.jsonl")
    assert [(one.task, one.images, one.priority, one.timeout) for one in trace] == [
        ("edges", 1, 2, 90.0),
        ("depth", 1, 0, None),
        ("depth", 2, 0, None),
        ("depth", 3, 0, None),
    ]
    assert all((one.model, one.height, one.width) == ("random", 24, 40) for one in trace)
    assert trace[0].arrival == 0.0
    played = Simulation(Scheduler(), HARDWARE["cpu"]).run(trace)
    assert len(played.served) == 4
