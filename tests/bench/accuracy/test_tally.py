"""Sums over batches against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift_bench.accuracy.runners import Answer
from gearshift_bench.accuracy.tally import Tally

WANTED = np.array([[[0, 1], [2, 3], [1, 0]]])
"""Three tokens, two experts each."""


def answer(output: float, routes: np.ndarray | None = None, **loads: tuple[int, ...]) -> Answer:
    seen = None if routes is None else {"router": routes}
    return Answer(np.full((1, 1, 2, 2), output, np.float32), seen, loads or None)


def test_tokens_routed_alike_whatever_the_order_of_their_experts() -> None:
    tally = Tally()
    swapped = np.array([[[1, 0], [2, 0], [1, 0]]])
    tally.add(answer(2.0, swapped), answer(2.0, WANTED))
    assert tally.routed_alike == {"router": pytest.approx(2 / 3)}
    tally.add(answer(2.0, np.repeat(WANTED, 3, 1)), answer(2.0, np.repeat(WANTED, 3, 1)))
    assert tally.routed_alike == {"router": pytest.approx(11 / 12)}
    assert tally.loads_alike == {}


def test_loads_bound_what_goes_to_the_same_expert() -> None:
    """Six choices, loads 2 2 1 1; found are 3 2 1 0: one choice moved."""
    tally = Tally()
    tally.add(answer(1.0, router=(3, 2, 1, 0)), answer(1.0, WANTED))
    assert tally.loads_alike == {"router": pytest.approx(5 / 6)}
    assert tally.routed_alike == {}


def test_the_change_of_outputs_is_their_root_mean_square() -> None:
    tally = Tally()
    tally.add(answer(2.5), answer(2.0, WANTED))
    tally.add(answer(3.0), answer(4.0, WANTED))
    assert tally.output_change == pytest.approx(((0.25 + 1) / (4 + 16)) ** 0.5)
    assert tally.routed_alike == tally.loads_alike == {}


def test_outputs_of_zeros_change_by_nothing() -> None:
    tally = Tally()
    tally.add(answer(0.0), answer(0.0, WANTED))
    assert tally.output_change == 0.0
