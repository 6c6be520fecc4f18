"""What is compared: a contender before it is opened, and what all of them are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.backends import Precision
from gearshift.program import Program
from gearshift_bench.peers.parts import PARTS, Part, part_of

Output = NDArray[np.floating[Any]]
Run = Callable[[], Output]
"""One inference of the match's image."""

OURS = "gearshift"
"""The library of our own contenders."""
COMPARED: tuple[Precision, ...] = ("float32", "bfloat16")
"""Precisions of ours that are held against the peers. int8 is printed beside them, but it is no
match: no peer here is given a model that was quantised for it."""
OTHER = "(other)"
"""What a runtime's profile says of nodes that it made itself, and so of no node of ours."""


@dataclass(frozen=True)
class Match:
    """What all contenders are given: one part of one task, one image, one number of threads."""

    folder: Path
    """The artifact."""
    whole: Program
    """Of the whole task."""
    part: Part
    threads: int
    image: NDArray[np.float32]

    @property
    def program(self) -> Program:
        """Of the part."""
        return part_of(self.whole, self.part)


Open = Callable[[Match], Run]
"""Makes a contender ready to run. It may raise anything: other people's libraries do."""
Nodes = Mapping[str, float]
"""Seconds by graph node, of one run; `OTHER` for what belongs to no node."""
Profile = Callable[[Match, int], Nodes]
"""Opens the contender anew, and measures its nodes in so many runs: see `typical`."""


@dataclass(frozen=True)
class Form:
    """One way to give a program to a library."""

    open: Open
    profile: Profile | None = None
    """None: the library cannot tell its nodes apart."""


@dataclass(frozen=True)
class Entry:
    """A library at one precision, and the forms of which its fastest counts."""

    library: str
    """With its version."""
    precision: Precision
    forms: Mapping[str, Form]
    """By a name that tells them apart."""
    parts: tuple[Part, ...] = PARTS
    """That it can run."""

    @property
    def name(self) -> str:
        return f"{self.library}, {self.precision}"

    @property
    def is_ours(self) -> bool:
        return self.library.split()[0] == OURS

    @property
    def is_compared(self) -> bool:
        return self.precision in COMPARED


def by_node(seconds: Iterable[tuple[str, float]], program: Program) -> dict[str, float]:
    """The seconds of a runtime's own nodes, by the node of ours whose name theirs contains.

    A name may stand in another one (`blocks.1.router`, `blocks.11.router`); the longest counts.
    """
    names = sorted((step.name for step in program.steps), key=len, reverse=True)
    total: dict[str, float] = {}
    for theirs, amount in seconds:
        node = next((name for name in names if name in theirs), OTHER)
        total[node] = total.get(node, 0.0) + amount
    return total


def typical(runs: Sequence[Nodes]) -> Nodes:
    """The median of every node over some runs; nothing for no runs."""
    nodes = dict.fromkeys(node for run in runs for node in run)
    return {node: median(run.get(node, 0.0) for run in runs) for node in nodes}
