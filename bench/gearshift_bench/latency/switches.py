"""What a switch of task costs, from the requests of a mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from gearshift_bench.latency.loops import Series
from gearshift_bench.latency.statistics import SEED, middle_of

DRAWS = 300

Pair = tuple[str, str]
"""The task before, and the task of the request."""


def switches_entry(series: Series) -> dict[str, Any]:
    """The `switches` entry of a run, from the seconds in which requests ran.

    Tasks take different times, and a task that is rare in a mix comes mostly after a switch. So a
    request after a switch is held against one of the same task that came after its own kind: the
    medians of each task, averaged over the tasks as often as they were switched to. A task that
    never came twice in a row has nothing to be held against and is left out of these averages.
    """
    pairs: dict[Pair, list[float]] = {}
    for before, task, seconds in zip(series.before, series.tasks, series.services, strict=True):
        if before is not None:
            pairs.setdefault((before, task), []).append(seconds)
    same = {task: median(found) for (before, task), found in pairs.items() if before == task}
    after: dict[str, list[float]] = {}
    for (before, task), found in pairs.items():
        if before != task:
            after.setdefault(task, []).extend(found)
    comparable = {task: len(found) for task, found in after.items() if task in same}
    median_same = _average(same, comparable)
    median_after = _average({task: median(after[task]) for task in comparable}, comparable)
    again = {task: pairs[task, task] for task in comparable}
    low, high = _interval(again, after, comparable) if comparable else (None, None)
    return {
        "count": sum(map(len, after.values())),
        "median_same": median_same,
        "median_after_switch": median_after,
        "ratio": _ratio(median_after, median_same),
        "ratio_low": low,
        "ratio_high": high,
        "by_pair": [
            {
                "from": before,
                "to": task,
                "count": len(found),
                "median": median(found),
                "ratio": _ratio(median(found), same.get(task)),
            }
            for (before, task), found in sorted(pairs.items())
        ],
    }


def _interval(
    again: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    counts: Mapping[str, int],
) -> tuple[float, float]:
    """The bootstrap interval of the ratio: requests of either kind are drawn from their own.

    Both kinds are spread over the whole run, so that drift meets both alike.
    """
    rng = np.random.default_rng(SEED)
    tops, bottoms = np.zeros(DRAWS), np.zeros(DRAWS)
    for task, count in counts.items():
        for found, total in ((after[task], tops), (again[task], bottoms)):
            draws = rng.choice(np.asarray(found), (DRAWS, len(found)))
            total += count * np.median(draws, axis=1)
    return middle_of(tops / bottoms)


def _average(figures: Mapping[str, float], counts: Mapping[str, int]) -> float | None:
    total = sum(counts.values())
    if not total:
        return None
    return sum(figures[task] * count for task, count in counts.items()) / total


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None
