"""Every intermediate of a golden run, by name: for whoever looks for the first wrong number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gearshift.output import whole_file
from gearshift_hls.fixed_point import Int


class Recorder:
    """Give it to `golden.run` as `trace`; `values` then holds the intermediates in their order.

    A name is the descriptor's number, the node behind it where `names` tells (a task's
    `TaskProgram.names`), the intermediate, and a number where it came up again (another head or
    block of keys, another expert): `3 blocks.0.attention.heads scores 2`.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names
        self.values: dict[str, Int] = {}
        self._seen: dict[str, int] = {}

    def __call__(self, number: int, name: str, values: Int) -> None:
        node = f" {self.names[number]}" if number < len(self.names) else ""
        label = f"{number}{node} {name}"
        again = self._seen[label] = self._seen.get(label, -1) + 1
        self.values[f"{label} {again}" if again else label] = values.copy()

    def save(self, path: Path) -> None:
        """All of them as `path`, a compressed npz file (numpy opens it)."""
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **self.values)
