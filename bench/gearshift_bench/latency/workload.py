"""What requests ask for, in order: one task, or a mix of them by weights, Markov chain or trace."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

import numpy as np

from gearshift.errors import InputError

LENGTH = 10_000
"""Requests of a mix that is drawn; after them it begins again."""

Kind = Literal["single", "weights", "markov", "trace"]


@dataclass(frozen=True)
class Workload:
    """The tasks of the requests, in order; after the last, the first comes again."""

    kind: Kind
    description: str
    sequence: tuple[str, ...]
    arrivals: tuple[float, ...] | None = None
    """Of a trace: seconds from its beginning, one a request; it is then played once."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task once, in the order of their first requests."""
        return tuple(dict.fromkeys(self.sequence))

    @property
    def task(self) -> str | None:
        """The only task; None for a mix."""
        return self.sequence[0] if self.kind == "single" else None

    def requests(self) -> Iterator[str]:
        """Tasks without end."""
        return cycle(self.sequence)


def single(task: str) -> Workload:
    return Workload("single", task, (task,))


def weighted(weights: Mapping[str, float], seed: int) -> Workload:
    """Every request's task is drawn for itself."""
    shares = np.array(list(weights.values()))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(shares), LENGTH, p=shares / shares.sum())
    names = list(weights)
    words = ",".join(f"{name}:{weight:g}" for name, weight in weights.items())
    return Workload("weights", words, tuple(names[index] for index in drawn))


def markov(stay: float, tasks: Sequence[str], seed: int) -> Workload:
    """The task stays with this probability; else it becomes any other one, all alike.

    Raises:
        InputError: no probability, or nothing to switch to.
    """
    if not 0 <= stay <= 1:
        raise InputError(f"--markov {stay:g}: give the probability to stay, from 0 to 1")
    if len(tasks) < 2:
        raise InputError(f"--markov switches between tasks, and there is only {tasks[0]}")
    rng = np.random.default_rng(seed)
    leaves = rng.random(LENGTH) >= stay
    steps = np.where(leaves, rng.integers(1, len(tasks), LENGTH), 0)
    places = np.cumsum(steps) % len(tasks)
    words = f"Markov chain, stays with {stay:g}, {', '.join(tasks)}"
    return Workload("markov", words, tuple(tasks[place] for place in places))


def parse_weights(text: str, known: Sequence[str]) -> dict[str, float]:
    """`semseg:0.7,depth:0.3`; the weights are shares of their sum.

    Raises:
        InputError: not so, an unknown task, or no weight above zero.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = part.rpartition(":")
        weight = _number(number)
        if not colon or weight is None or not 0 < weight < math.inf:
            raise InputError(
                f"--mix {part!r}: give tasks with weights above 0, such as "
                f"{known[0]}:0.7,{known[-1]}:0.3"
            )
        if name not in known:
            raise InputError(f"--mix: task {name!r} is not known: choose from {', '.join(known)}")
        if name in weights:
            raise InputError(f"--mix names task {name} twice")
        weights[name] = weight
    return weights


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
