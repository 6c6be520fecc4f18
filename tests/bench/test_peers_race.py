"""Opening, checking and timing contenders, with libraries and a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gearshift.specialise import specialise
from gearshift_bench.peers import race as race_module
from gearshift_bench.peers.agreement import Reference
from gearshift_bench.peers.entry import Entry, Form, Match, Output, Run
from gearshift_bench.peers.race import WARMED_BELOW, enter, race, timed
from gearshift_bench.peers.switching import STEADY_RUNS, half_of_the_experts, time_switches

from ..engine.conftest import GraphMaker

RIGHT = np.ones((1, 2, 3))
REFERENCE = Reference(RIGHT, {"float32": 1e-3}, {"float32": 1e-3}, {"float32": 0.0})
MATCH = Match(
    Path("nowhere"),
    specialise(GraphMaker().make(), 0),
    "task",
    1,
    np.zeros((1, 3, 24, 40), np.float32),
)


class Clock:
    """Time passes only when a run says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs: list[str] = []

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, seconds: float, output: Output = RIGHT) -> Run:
        def run() -> Output:
            self.runs.append(name)
            self.now += seconds
            return output

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(race_module, "timed", lambda run, threads: timed(run, threads, clock=clock))
    return clock


def entry_of(**forms: Callable[[Match], Run]) -> Entry:
    return Entry("library 1.0", "float32", {name: Form(open_) for name, open_ in forms.items()})


def test_the_fastest_right_form_is_chosen(clock: Clock) -> None:
    def broken(match: Match) -> Run:
        raise RuntimeError("no such operator\nand a long trace")

    wrong = clock.run("wrong", 0.001, RIGHT * 1.1)
    entry = entry_of(
        slow=lambda match: clock.run("slow", 3.0),
        fast=lambda match: clock.run("fast", 2.0),
        wrong=lambda match: wrong,
        broken=broken,
    )
    contender, run = enter(entry, MATCH, REFERENCE)
    assert contender.form == "fast"
    assert contender.trial.is_right
    assert run is not None
    assert run() is RIGHT
    trials = {trial.form: trial for trial in contender.trials}
    assert trials["broken"].failure == "no such operator"
    assert trials["broken"].agreement is None
    assert trials["wrong"].agreement is not None
    assert not trials["wrong"].is_right
    # Once, for the check: what is wrong is not timed.
    assert clock.runs.count("wrong") == 1


def test_nothing_is_timed_when_no_form_is_right(clock: Clock) -> None:
    nothing = clock.run("wrong", 1.0, RIGHT * np.nan)
    contender, run = enter(entry_of(wrong=lambda match: nothing), MATCH, REFERENCE)
    assert run is None
    assert contender.form is None
    assert contender.profile is None
    assert contender.trial.form == "wrong"
    assert clock.runs == ["wrong"]


def test_an_error_without_words_is_named(clock: Clock) -> None:
    def broken(match: Match) -> Run:
        raise NotImplementedError

    contender, _ = enter(entry_of(broken=broken), MATCH, REFERENCE)
    assert contender.trial.failure == "NotImplementedError"


def test_a_round_runs_everything_once_and_begins_with_another(clock: Clock) -> None:
    runs = {"a": clock.run("a", 1.0), "b": clock.run("b", 2.0)}
    rounds: list[int] = []
    seconds = race(runs, 1, 2, lambda: rounds.append(len(clock.runs)))
    assert seconds == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    # In the first, uncounted round nobody knows yet how long a run is, and each warms up.
    assert clock.runs == ["a", "a", "b", "b", "b", "a", "a", "b"]
    assert rounds == [4, 6, 8]


def test_short_runs_warm_the_caches_each_time(clock: Clock) -> None:
    sample = timed(clock.run("short", WARMED_BELOW / 2), 1, clock=clock)
    assert [sample() for _ in range(3)] == pytest.approx([WARMED_BELOW / 2] * 3)
    assert len(clock.runs) == 6


def test_the_first_request_after_a_switch_is_set_against_the_next_ones() -> None:
    clock = Clock()
    order: list[str] = []

    def task(name: str) -> Callable[[object], object]:
        def run(image: object) -> object:
            clock.now += 5.0 if order and order[-1] != name else 2.0
            order.append(name)
            return image

        return run

    image = np.zeros((1, 3, 8, 8), np.float32)
    switch = time_switches("resident", [task("a"), task("b")], image, 4, clock=clock)
    assert switch.first.median == pytest.approx(5.0)
    assert switch.steady.median == pytest.approx(2.0)
    assert switch.ratio.median == pytest.approx(2.5)
    assert len(order) == 2 + 4 * (1 + STEADY_RUNS)


def test_half_of_the_experts_in_the_precision_of_the_run() -> None:
    graph = GraphMaker(dim=6, hidden=4, experts=5, depth=4).make()
    program = specialise(graph, 0)
    one = 6 * 4 + 4 + 4 * 6 + 6
    assert half_of_the_experts(program, "float32") == 2 * 5 * one * 4 // 2
    assert half_of_the_experts(program, "bfloat16") == 2 * 5 * one * 2 // 2
    without = replace(program, steps=program.steps[:3])
    assert half_of_the_experts(without, "float32") == 0


def test_a_short_form_is_not_dropped_for_one_slow_run(clock: Clock) -> None:
    """A form that is disturbed in its first sample, and the fastest in all others."""

    def disturbed() -> Output:
        clock.now += 0.09 if clock.runs.count("disturbed") in (1, 2) else 0.01
        clock.runs.append("disturbed")
        return RIGHT

    entry = entry_of(
        steady=lambda match: clock.run("steady", 0.02), disturbed=lambda match: disturbed
    )
    assert enter(entry, MATCH, REFERENCE)[0].form == "disturbed"


def test_a_form_that_is_far_behind_is_run_once_more_and_dropped(clock: Clock) -> None:
    entry = entry_of(
        far=lambda match: clock.run("far", 4.0),
        near=lambda match: clock.run("near", 2.2),
        first=lambda match: clock.run("first", 2.0),
    )
    contender, _ = enter(entry, MATCH, REFERENCE)
    assert contender.form == "first"
    # The check, then a sample that warms up first; the others go on.
    assert clock.runs.count("far") == 3
    assert clock.runs.count("near") == clock.runs.count("first") > 3
