"""What became of requests, and what that says of the server.

Latency counts from the moment at which a request was meant to be sent, not from when the client
came round to it: a client that is held up while the server stalls would otherwise leave out just
the requests that waited (coordinated omission).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gearshift_bench.latency.statistics import FEWEST_FOR_P99, latency_entry

Ending = Literal["answered", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Reply:
    """How one request ended."""

    ending: Ending
    """Refused: the server said at once that it has no place for it (429, RESOURCE_EXHAUSTED)."""
    detail: str = ""
    """Of a failure: what it was, without anything that differs from request to request."""
    queue: float | None = None
    compute: float | None = None
    """Seconds that the server says the answer's batch waited and took; None if it does not say."""
    batch: int | None = None
    """Images in that batch."""


TimedReply = tuple[float, Reply]
"""Seconds from sending to the last byte of the answer, and what that says."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request; times in seconds on one clock."""

    task: str
    intended: float
    sent: float
    ended: float
    reply: Reply

    @property
    def latency(self) -> float:
        return self.ended - self.intended


def summarise(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """The figures of a load that lasted so many seconds; latencies are those of the answered.

    `latency`, with an interval of its median, and the distributions are None where there were no
    such requests. `outside` is what an answer took besides queue and computation, both as the
    server says. `late` is how long after its time a request was sent: the client's share of the
    latencies.
    """
    by_ending = {
        ending: [outcome for outcome in outcomes if outcome.reply.ending == ending]
        for ending in ("answered", "refused", "failed")
    }
    answered, refused = by_ending["answered"], by_ending["refused"]
    told = [
        (outcome, outcome.reply.queue, outcome.reply.compute)
        for outcome in answered
        if outcome.reply.queue is not None and outcome.reply.compute is not None
    ]
    return {
        "seconds": seconds,
        "requests": len(outcomes),
        **{ending: len(group) for ending, group in by_ending.items()},
        "refused_share": len(refused) / len(outcomes) if outcomes else 0.0,
        "answers_per_second": len(answered) / seconds if seconds else 0.0,
        "latency": latency_entry([outcome.latency for outcome in answered]) if answered else None,
        "refusal_latency": distribution(outcome.latency for outcome in refused),
        "late": distribution(outcome.sent - outcome.intended for outcome in outcomes),
        "queue": distribution(queue for _, queue, _ in told),
        "compute": distribution(compute for _, _, compute in told),
        "outside": distribution(
            outcome.ended - outcome.sent - queue - compute for outcome, queue, compute in told
        ),
        "mean_batch": _mean(outcome.reply.batch for outcome in answered),
        "most_in_flight": most_in_flight(outcomes),
        "failures": dict(
            Counter(outcome.reply.detail for outcome in by_ending["failed"]).most_common(20)
        ),
        "tasks": {
            task: distribution(outcome.latency for outcome in answered if outcome.task == task)
            for task in sorted({outcome.task for outcome in outcomes})
        },
    }


def most_in_flight(outcomes: Sequence[Outcome]) -> int:
    """The most requests that were on their way at one moment; one that ends makes room first."""
    moments = sorted(
        [(outcome.sent, 1) for outcome in outcomes] + [(outcome.ended, -1) for outcome in outcomes]
    )
    return int(np.cumsum([step for _, step in moments]).max(initial=0))


def distribution(seconds: Iterable[float]) -> dict[str, Any] | None:
    """Percentiles of a series; None of an empty one."""
    series = np.array(list(seconds), np.float64)
    if not len(series):
        return None
    middle, p90, p99 = np.quantile(series, (0.5, 0.9, 0.99)).tolist()
    return {
        "count": len(series),
        "min": series.min().item(),
        "median": middle,
        "p90": p90,
        "p99": p99 if len(series) >= FEWEST_FOR_P99 else None,
        "max": series.max().item(),
    }


def _mean(numbers: Iterable[int | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return float(np.mean(known)) if known else None
