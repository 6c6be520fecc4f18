"""The real scheduler on a simulated clock and simulated hardware: how do policies compare?

`python -m gearshift.scheduler.simulate [TRACE ...]` prints, for made-up traces and for recorded
ones (`gearshift.scheduler.trace`), what requests would have waited under each policy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gearshift.errors import GearshiftError
from gearshift.scheduler.admission import QueueFull
from gearshift.scheduler.entry import Batch, Entry, Key
from gearshift.scheduler.policies import DuePolicy, FifoPolicy, Policy, RoundRobinPolicy
from gearshift.scheduler.scheduler import Scheduler
from gearshift.scheduler.settings import SchedulerSettings
from gearshift.scheduler.trace import (
    TraceRequest,
    burst_trace,
    phase_trace,
    poisson_trace,
    read_trace,
)
from gearshift.text import columns

POLICIES: Mapping[str, Callable[[], Policy]] = {
    "fifo": FifoPolicy,
    "round robin": RoundRobinPolicy,
    "due": DuePolicy,
}


@dataclass(frozen=True)
class Hardware:
    """How long a batch takes: `batch_seconds + images * image_seconds`, and more after a switch."""

    batch_seconds: float
    image_seconds: float
    switch_seconds: float
    noise: float = 0.0
    """Standard deviation of the logarithm of a batch's time."""

    def seconds(self, images: int, switched: bool) -> float:
        """Expected."""
        switch = self.switch_seconds if switched else 0.0
        return self.batch_seconds + images * self.image_seconds + switch


HARDWARE: Mapping[str, Hardware] = {
    # Near what the demo takes on two cores of the CPU that the README measures.
    "cpu": Hardware(0.0003, 0.0060, 0.0001, noise=0.1),
    # Made up: batching pays, and a switch moves experts.
    "accelerator": Hardware(0.0050, 0.0005, 0.0040, noise=0.05),
}


@dataclass(frozen=True)
class Served:
    """A request that was answered."""

    request: TraceRequest
    started: float
    ended: float


@dataclass(frozen=True)
class Simulated:
    """What became of a trace."""

    served: tuple[Served, ...]
    """In the order of answers."""
    refused: int
    expired: int
    batches: int
    switches: int
    seconds: float
    """From the beginning to the last answer."""

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.served) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float, after: float = 0.0) -> float:
        """Of the seconds from arrival to answer, of requests that arrived from `after` on; NaN
        when there are none."""
        latencies = [
            one.ended - one.request.arrival for one in self.served if one.request.arrival >= after
        ]
        return float(np.percentile(latencies, percent)) if latencies else float("nan")


class Simulation:
    """One run: a clock that jumps from event to event."""

    def __init__(self, scheduler: Scheduler, hardware: Hardware, seed: int = 0) -> None:
        self.scheduler = scheduler
        self.hardware = hardware
        self._random = np.random.default_rng(seed)
        self._ends: float | None = None
        """When the batch that runs will be done."""
        self._ask_again: float | None = None
        self._served: list[Served] = []
        self._refused = self._expired = self._batches = self._switches = 0

    def run(self, trace: Sequence[TraceRequest]) -> Simulated:
        """Play the trace to its end, and serve what waits then."""
        self._warm(trace)
        coming = sorted(trace, key=lambda request: request.arrival)
        position, now = 0, 0.0
        while True:
            arrival = coming[position].arrival if position < len(coming) else None
            events = [arrival, self._ends, self._ask_again, self.scheduler.next_deadline()]
            due = [event for event in events if event is not None]
            if not due:
                break
            now = max(now, min(due))
            if self._ends is not None and self._ends <= now:
                self._finish(now)
            self._expired += len(self.scheduler.expired(now))
            while position < len(coming) and coming[position].arrival <= now:
                self._submit(coming[position], now)
                position += 1
            self._start(now)
        return Simulated(
            tuple(self._served),
            self._refused,
            self._expired,
            self._batches,
            self._switches,
            now,
        )

    def _warm(self, trace: Sequence[TraceRequest]) -> None:
        """What a server measures before its first request: batches of 1, 2, 4, ... images."""
        for key in {_key(request) for request in trace}:
            images = 1
            while images <= self.scheduler.settings.most_batch:
                seconds = self.hardware.seconds(images, switched=False)
                self.scheduler.times.measured(key, images, seconds)
                images *= 2
            self.scheduler.times.measured_switch(key.model, self.hardware.switch_seconds)

    def _submit(self, request: TraceRequest, now: float) -> None:
        deadline = None if request.timeout is None else request.arrival + request.timeout
        entry = Entry(
            _key(request),
            request.arrival,
            request.images,
            request.priority or None,
            deadline,
            request,
        )
        try:
            self.scheduler.submit(entry, now)
        except QueueFull:
            self._refused += 1

    def _start(self, now: float) -> None:
        decision = self.scheduler.next(now)
        self._ask_again = decision if isinstance(decision, float) else None
        if isinstance(decision, Batch):
            noise = float(np.exp(self._random.normal(0.0, self.hardware.noise)))
            seconds = self.hardware.seconds(decision.images, decision.switched)
            self._ends = now + noise * seconds
            self._batches += 1
            self._switches += decision.switched

    def _finish(self, now: float) -> None:
        batch = self.scheduler.running
        assert batch is not None
        self.scheduler.finished(batch, now)
        self._ends = None
        self._served += [Served(entry.payload, batch.started, now) for entry in batch.entries]


def _key(request: TraceRequest) -> Key:
    return Key(request.model, "1", request.task, request.height, request.width)


def compare(
    traces: Mapping[str, Sequence[TraceRequest]],
    hardware: Hardware,
    settings: SchedulerSettings | None = None,
) -> dict[tuple[str, str], Simulated]:
    """Every trace under every policy, by (trace, policy)."""
    return {
        (trace_name, policy_name): Simulation(Scheduler(settings, policy()), hardware).run(trace)
        for trace_name, trace in traces.items()
        for policy_name, policy in POLICIES.items()
    }


def made_up_traces(hardware: Hardware, seconds: float) -> dict[str, list[TraceRequest]]:
    """Some for which the hardware is fast enough without batches, one that asks for twice that."""
    shares = {"semseg": 4.0, "depth": 3.0, "normals": 2.0, "edge": 1.0}
    capacity = 1 / hardware.seconds(1, switched=True)
    return {
        "half load": poisson_trace(0.5 * capacity, seconds, shares),
        "90 % load": poisson_trace(0.9 * capacity, seconds, shares),
        "bursts": burst_trace(0.6 * capacity, seconds, shares),
        "phases": phase_trace(0.8 * capacity, seconds, shares),
        "overload": poisson_trace(2.0 * capacity, seconds, shares),
    }


def table(results: Mapping[tuple[str, str], Simulated]) -> str:
    """For people."""
    head = ("trace", "policy", "p50 ms", "p99 ms", "worst ms", "answers/s", "refused", "switches")
    rows = [
        (
            trace,
            policy,
            *(f"{1e3 * result.percentile(percent):.1f}" for percent in (50, 99, 100)),
            f"{result.throughput:.1f}",
            str(result.refused),
            str(result.switches),
        )
        for (trace, policy), result in results.items()
    ]
    return columns([head, *rows], right=range(2, len(head)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 for a trace that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m gearshift.scheduler.simulate")
    parser.add_argument("trace", nargs="*", type=Path, help="recorded traces (JSON lines)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of made-up traces")
    options = parser.parse_args(arguments)
    try:
        recorded = {path.name: read_trace(path) for path in options.trace}
    except GearshiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("SIMULATED: hardware and, unless recorded, requests are made up")
    for name, hardware in HARDWARE.items():
        print(f"\nhardware {name}: {hardware}")
        traces = made_up_traces(hardware, options.seconds)
        print(table(compare({**traces, **recorded}, hardware)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
