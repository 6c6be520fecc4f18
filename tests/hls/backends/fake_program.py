"""What a backend reads of a program, for the models of `quantised_models` with four blocks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

MIXTURES = ("blocks.1.experts", "blocks.3.experts")


def program(task: str, height: int = 6, width: int = 8) -> Any:
    steps = [SimpleNamespace(kernel="expert_mixture", name=name) for name in MIXTURES]
    return SimpleNamespace(
        input="image",
        values={"image": SimpleNamespace(shape=(1, 3, height, width))},
        task_card=SimpleNamespace(name=task),
        steps=[SimpleNamespace(kernel="router", name="router"), *steps],
    )
