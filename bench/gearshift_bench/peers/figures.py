"""What a race found, and the ratios that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gearshift.backends import Precision
from gearshift.program import Program
from gearshift_bench.peers.entry import COMPARED, Entry, Nodes
from gearshift_bench.peers.parts import Part
from gearshift_bench.peers.race import Contender


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and what 80 % of them lie between."""

    median: float
    low: float
    high: float


def spread(figures: Iterable[float]) -> Spread:
    """Of at least one figure."""
    low, middle, high = np.percentile(list(figures), (10, 50, 90))
    return Spread(float(middle), float(low), float(high))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Our seconds over theirs, round by round: below 1, ours is faster."""
    return spread(one / other for one, other in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class NodeTimes:
    """Where the time of one contender goes."""

    entry: Entry
    seconds: Nodes


@dataclass(frozen=True)
class Cell:
    """One race: a part of one task of one model, on so many threads."""

    model: str
    task: str
    part: Part
    threads: int
    contenders: tuple[Contender, ...]
    seconds: Mapping[str, Sequence[float]]
    """By contender, a figure a round; only of contenders that are right."""
    load: tuple[float, float]
    """Average number of runnable processes over the minute before, and at the end."""
    program: Program
    """Of the part."""
    nodes: tuple[NodeTimes, ...] = ()

    def with_nodes(self, nodes: tuple[NodeTimes, ...]) -> Cell:
        return replace(self, nodes=nodes)

    def median(self, entry: Entry) -> float:
        return spread(self.seconds[entry.name]).median

    def ours(self, precisions: Sequence[Precision] = COMPARED) -> Entry | None:
        """Our fastest in these precisions; None when nothing of ours was timed."""
        return self._fastest(True, precisions)

    def best_peer(self, precisions: Sequence[Precision] = COMPARED) -> Entry | None:
        """The fastest peer in these precisions."""
        return self._fastest(False, precisions)

    def _fastest(self, is_ours: bool, precisions: Sequence[Precision]) -> Entry | None:
        entries = [
            contender.entry
            for contender in self.contenders
            if contender.name in self.seconds
            and contender.entry.is_ours == is_ours
            and contender.entry.precision in precisions
        ]
        return min(entries, key=self.median, default=None)

    def ratio(self, precisions: Sequence[Precision] = COMPARED) -> Spread | None:
        """Our fastest over the fastest peer; None when one of the two is missing."""
        ours, peer = self.ours(precisions), self.best_peer(precisions)
        if ours is None or peer is None:
            return None
        return paired(self.seconds[ours.name], self.seconds[peer.name])
