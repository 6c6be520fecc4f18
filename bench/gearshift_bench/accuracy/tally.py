"""One task run in one way, held against float32, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gearshift_bench.accuracy.rooms import predict
from gearshift_bench.accuracy.runners import Answer


@dataclass
class Tally:
    """Of one task in one setting, over all pictures."""

    predictions: list[NDArray[np.generic]] = field(default_factory=list)
    """Batch by batch; for models that do the rooms' tasks."""
    _signal: float = 0.0
    _noise: float = 0.0
    _alike: dict[str, int] = field(default_factory=dict)
    _tokens: dict[str, int] = field(default_factory=dict)
    _same_load: dict[str, int] = field(default_factory=dict)
    _choices: dict[str, int] = field(default_factory=dict)

    def add(self, found: Answer, wanted: Answer) -> None:
        """A batch, and what float32 gave for it."""
        exact = wanted.output.astype(np.float64)
        self._signal += float(np.square(exact).sum())
        self._noise += float(np.square(found.output - exact).sum())
        assert wanted.routes is not None
        if found.routes is not None:
            for router, experts in found.routes.items():
                same = np.sort(experts, -1) == np.sort(wanted.routes[router], -1)
                _count(self._alike, router, int(same.all(-1).sum()))
                _count(self._tokens, router, same[..., 0].size)
        for router, load in (found.loads or {}).items():
            experts = wanted.routes[router].ravel()
            expected = np.bincount(experts, minlength=len(load))
            moved = int(np.abs(np.asarray(load) - expected).sum())
            _count(self._same_load, router, experts.size - moved // 2)
            _count(self._choices, router, experts.size)

    def keep(self, task: str, output: NDArray[np.float32], threshold: float) -> None:
        """The batch's answers to the rooms' tasks; `output` is (N, C, H, W)."""
        self.predictions.append(predict(task, np.moveaxis(output, 1, -1), threshold))

    @property
    def output_change(self) -> float:
        """Root mean square of what differs from float32, by that of float32."""
        return float(np.sqrt(self._noise / self._signal)) if self._signal else 0.0

    @property
    def routed_alike(self) -> dict[str, float]:
        """By router, the share of tokens that go to the experts of float32; empty: not told."""
        return _shares(self._alike, self._tokens)

    @property
    def loads_alike(self) -> dict[str, float]:
        """By router, the share of choices left when each expert has no more than in float32: an
        upper bound of what goes to the same expert. Empty: not told."""
        return _shares(self._same_load, self._choices)


def _count(counts: dict[str, int], router: str, number: int) -> None:
    counts[router] = counts.get(router, 0) + number


def _shares(parts: Mapping[str, int], wholes: Mapping[str, int]) -> dict[str, float]:
    return {router: part / wholes[router] for router, part in parts.items()}
