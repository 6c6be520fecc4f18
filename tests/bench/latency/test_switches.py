"""The cost of a switch, from series whose costs are known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gearshift_bench.latency.loops import Series
from gearshift_bench.latency.switches import switches_entry
from gearshift_bench.latency.workload import weighted

COST = {"fast": 1.0, "slow": 10.0}


def series_of(tasks: list[str], after_a_switch: float, rng: np.random.Generator) -> Series:
    series, before = Series(), None
    for task in tasks:
        factor = after_a_switch if before not in (None, task) else 1.0
        service = COST[task] * factor * rng.uniform(0.99, 1.01)
        # Waiting is no cost of a switch.
        series.add(task, before, service + rng.uniform(0, 50), service)
        before = task
    return series


@pytest.mark.parametrize("after_a_switch", [1.0, 1.25])
def test_tasks_of_different_cost_do_not_look_like_a_cost_of_switching(
    after_a_switch: float,
) -> None:
    """The rare task is ten times as slow and comes mostly after a switch."""
    tasks = list(weighted({"fast": 0.9, "slow": 0.1}, seed=0).sequence)
    found = switches_entry(series_of(tasks, after_a_switch, np.random.default_rng(1)))
    assert found["count"] == sum(one != two for one, two in pairwise(tasks))
    assert found["ratio"] == pytest.approx(after_a_switch, rel=0.01)
    assert found["median_same"] == pytest.approx(5.5, rel=0.01)
    assert found["median_after_switch"] == pytest.approx(5.5 * after_a_switch, rel=0.01)
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"]
    assert found["ratio_high"] - found["ratio_low"] < 0.01
    pairs = {(pair["from"], pair["to"]): pair for pair in found["by_pair"]}
    assert len(pairs) == 4
    assert sum(pair["count"] for pair in pairs.values()) == len(tasks) - 1
    assert pairs["slow", "slow"]["ratio"] == 1.0
    assert pairs["fast", "slow"]["ratio"] == pytest.approx(after_a_switch, rel=0.01)
    assert pairs["fast", "slow"]["median"] == pytest.approx(10 * after_a_switch, rel=0.01)


def test_without_two_in_a_row_there_is_nothing_to_hold_a_switch_against() -> None:
    found = switches_entry(series_of(["fast", "slow"] * 5, 1.0, np.random.default_rng(0)))
    assert found["count"] == 9
    assert found["median_same"] is found["median_after_switch"] is found["ratio"] is None
    assert found["ratio_low"] is found["ratio_high"] is None
    assert all(pair["ratio"] is None for pair in found["by_pair"])


def test_a_single_request_has_no_switch() -> None:
    found = switches_entry(series_of(["fast"], 1.0, np.random.default_rng(0)))
    assert found["count"] == 0
    assert found["by_pair"] == []
