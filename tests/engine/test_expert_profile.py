"""Chances and waits against plain sums, and the card's shares against everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from gearshift.expert_profile import LEARNING_RATE, ExpertProfile, card_shares
from gearshift.graph import Graph

BANKS = {"a": 3, "b": 2, "c": 1}


def test_a_share_of_so_many_choices_is_a_chance() -> None:
    """Four choices among three experts, counted one by one."""
    share = [0.5, 0.3, 0.2]
    wanted = np.zeros(3)
    for choices in product(range(3), repeat=4):
        for expert in set(choices):
            wanted[expert] += np.prod([share[choice] for choice in choices])
    profile = ExpertProfile({"a": 3}, {"depth": [share]}, choices=4)
    profile.begin("depth")

    waits = np.array(profile.waits(None)["a"])
    np.testing.assert_allclose(waits, 1 + (1 - wanted) / wanted, rtol=1e-12)


def test_waits_are_means_over_all_the_visits_to_come() -> None:
    shares = {"depth": [[0.1, 0.6, 0.9], [0.5, 0.2], [1.0]]}
    for after, distance in (
        (None, (1, 2, 3)),
        ("a", (3, 1, 2)),
        ("b", (2, 3, 1)),
        ("c", (1, 2, 3)),
    ):
        profile = ExpertProfile(BANKS, shares, choices=1)
        profile.begin("depth")
        found = profile.waits(after)
        for bank, first, row in zip(BANKS, distance, shares["depth"], strict=True):
            for expert, p in enumerate(row):
                visits = np.arange(2000)
                mean = float((p * (1 - p) ** visits * (first + 3 * visits)).sum())
                assert found[bank][expert] == pytest.approx(mean, rel=1e-9)


def test_after_this_run_another_task_may_come() -> None:
    """A bank that this run has yet to visit is asked by this task, and later by any."""
    shares = {"depth": [[0.9], [0.8]], "edges": [[0.1], [0.3]]}
    profile = ExpertProfile({"a": 1, "b": 1}, shares)
    for task in ("depth", "edges") * 9 + ("depth",):
        profile.begin(task)
    (a,), (b,) = profile._next_run.values()
    assert 0.1 < a < 0.8
    assert 0.3 < b < 0.8
    found = profile.waits("a")
    assert found["a"] == [pytest.approx(2 + (1 - a) * 2 / a)]
    assert found["b"] == [pytest.approx(1 + (1 - 0.8) * 2 / b)]
    assert profile.likely("a", None) == [0]
    assert (profile.likely("a", "a") == [0]) == (a > 0.5)


def test_what_is_never_used_waits_longest() -> None:
    profile = ExpertProfile({"a": 2}, {"depth": [[0.0, 1e-3]]})
    profile.begin("depth")
    never, seldom = profile.waits(None)["a"]
    assert never > 1e6 > seldom


def test_traffic_is_learnt_and_forgotten() -> None:
    profile = ExpertProfile({"a": 3})
    profile.begin("depth")
    assert profile.likely("a", None) == []
    for _ in range(5):
        profile.learn("a", [7, 0, 1])
    assert profile.likely("a", None) == [0, 2]
    chance = 0.5
    for _ in range(5):
        chance += (1 - chance) * LEARNING_RATE
    assert profile._chance["depth"]["a"][0] == pytest.approx(chance)
    assert profile._chance["depth"]["a"][1] == pytest.approx(1 - chance)
    for _ in range(8):
        profile.learn("a", [0, 1, 1])
    assert profile.likely("a", None) == [2, 1]


def test_tasks_learn_apart() -> None:
    profile = ExpertProfile({"a": 2})
    for task, tokens in (("depth", [1, 0]), ("edges", [0, 1])) * 6:
        profile.begin(task)
        profile.learn("a", tokens)
    profile.begin("depth")
    assert profile.likely("a", None) == [0]
    profile.begin("edges")
    assert profile.likely("a", None) == [1]


def last(tasks: str) -> list[float]:
    """The chance of two experts, each one task's own, in the run after these."""
    profile = ExpertProfile({"x": 2}, {"a": [[1.0, 0.0]], "b": [[0.0, 1.0]]})
    for task in tasks:
        profile.begin(task)
    return profile._next_run["x"]


def test_the_next_run_is_of_the_same_task_as_often_as_it_was() -> None:
    assert last("aaaa") == [1.0, 0.0]
    turns = last("ab" * 40)
    assert turns == pytest.approx([0.5, 0.5], abs=0.05)
    stays = last("a" * 40 + "b" * 4)
    assert stays[1] > 0.9
    assert sum(stays) == pytest.approx(1)


@pytest.mark.parametrize(
    "found",
    [
        None,
        5,
        {"rooms": 5},
        {"rooms": [[0.2] * 5]},
        {"rooms": [[0.2] * 5, [0.25] * 4]},
        {"rooms": [[0.2] * 5, [0.2] * 4 + [-0.2]]},
        {"rooms": [[0.2] * 5, [0.2] * 4 + [float("nan")]]},
        {"rooms": [[0.2] * 5, [0.2] * 4 + ["0.2"]]},
        {"rooms": [[0.2] * 5, 0.2]},
    ],
    ids=str,
)
def test_a_card_that_says_something_else_says_nothing(
    make_graph: Callable[..., Graph], found: object
) -> None:
    graph = make_graph()
    assert card_shares(graph) == {}
    card = replace(graph.card, metrics={"expert_share": found})
    assert card_shares(replace(graph, card=card)) == {}


def test_a_card_s_shares(make_graph: Callable[..., Graph]) -> None:
    graph, shares = make_graph(), {"rooms": [[0.2] * 5, [0.5, 0.5, 0, 0, 0]]}
    card = replace(graph.card, metrics={"expert_share": shares})
    assert card_shares(replace(graph, card=card)) == shares
