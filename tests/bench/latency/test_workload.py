"""Mixes by weights and Markov chains, and what comes out of command lines."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest

from gearshift.errors import InputError
from gearshift_bench.latency.workload import LENGTH, markov, parse_weights, single, weighted

KNOWN = ("semseg", "depth", "edge")


def test_a_single_task_is_asked_for_again_and_again() -> None:
    work = single("depth")
    assert list(islice(work.requests(), 3)) == ["depth"] * 3
    assert work.task == "depth"


def test_weights_are_shares_of_their_sum() -> None:
    work = weighted({"semseg": 7.0, "depth": 3.0}, seed=4)
    counts = Counter(work.sequence)
    assert counts["semseg"] / LENGTH == pytest.approx(0.7, abs=0.02)
    assert set(counts) == {"semseg", "depth"}
    assert work.task is None
    assert work.description == "semseg:7,depth:3"
    assert work.sequence == weighted({"semseg": 7.0, "depth": 3.0}, seed=4).sequence
    assert work.sequence != weighted({"semseg": 7.0, "depth": 3.0}, seed=5).sequence


@pytest.mark.parametrize("stay", [0.0, 0.9, 1.0])
def test_a_chain_stays_as_often_as_it_is_told_to(stay: float) -> None:
    work = markov(stay, KNOWN, seed=1)
    stays = sum(one == other for one, other in pairwise(work.sequence))
    assert stays / (LENGTH - 1) == pytest.approx(stay, abs=0.01)
    if stay < 1:
        others = Counter((one, other) for one, other in pairwise(work.sequence) if one != other)
        assert len(others) == 6
        assert max(others.values()) < 1.4 * min(others.values())


@pytest.mark.parametrize(("stay", "tasks"), [(1.1, KNOWN), (-0.1, KNOWN), (float("nan"), KNOWN)])
def test_what_is_no_probability_is_refused(stay: float, tasks: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        markov(stay, tasks, 0)


def test_one_task_alone_has_nothing_to_switch_to() -> None:
    with pytest.raises(InputError, match="there is only depth"):
        markov(0.5, ["depth"], 0)


def test_weights_are_read_in_order() -> None:
    assert parse_weights("depth:1e-1,semseg:2", KNOWN) == {"depth": 0.1, "semseg": 2.0}


@pytest.mark.parametrize(
    "text",
    ["", "depth", "depth:", ":1", "depth:0", "depth:-1", "depth:nan", "depth:inf", "depth:1,",
     "cooking:1", "depth:1,depth:2", "depth=1"],
)  # fmt: skip
def test_weights_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--mix") as caught:
        parse_weights(text, KNOWN)
    assert "\n" not in str(caught.value)
