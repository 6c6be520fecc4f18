"""Figures of a load, from outcomes with known answers."""

from __future__ import annotations

import pytest

from gearshift_bench.serve.outcome import Outcome, Reply, most_in_flight, summarise


def outcome(intended: float, latency: float, reply: Reply, task: str = "t", late: float = 0.0):
    return Outcome(task, intended, intended + late, intended + latency, reply)


def test_latencies_are_of_the_answered_and_refusals_stand_apart() -> None:
    answered = [outcome(i, 0.01 * (i + 1), Reply("answered")) for i in range(100)]
    refused = [outcome(i, 0.001, Reply("refused")) for i in range(50)]
    failed = [outcome(i, 9.0, Reply("failed", "HTTP 500: no")) for i in range(10)]
    summary = summarise([*answered, *refused, *failed], 20.0)
    assert summary["latency"]["median"] == pytest.approx(0.505)
    assert summary["latency"]["p99"] == pytest.approx(0.9901)
    assert summary["refusal_latency"]["max"] == pytest.approx(0.001)
    assert summary["refused_share"] == pytest.approx(50 / 160)
    assert summary["answers_per_second"] == pytest.approx(5.0)
    assert summary["failures"] == {"HTTP 500: no": 10}


def test_what_the_server_tells_is_taken_from_the_time_outside() -> None:
    told = Reply("answered", queue=0.004, compute=0.010, batch=2)
    outcomes = [outcome(float(i), 0.020, told, late=0.001) for i in range(5)]
    outcomes.append(outcome(9.0, 0.5, Reply("answered", batch=5)))
    summary = summarise(outcomes, 10.0)
    assert summary["queue"]["median"] == pytest.approx(0.004)
    assert summary["compute"]["median"] == pytest.approx(0.010)
    # From when it was sent: what the client was late is not the server's.
    assert summary["outside"]["median"] == pytest.approx(0.005)
    assert summary["mean_batch"] == pytest.approx(2.5)


def test_every_task_has_its_own_latencies() -> None:
    outcomes = [outcome(i, 0.1 if i % 2 else 0.3, Reply("answered"), "ab"[i % 2]) for i in range(6)]
    outcomes.append(outcome(7, 0.1, Reply("refused"), "c"))
    tasks = summarise(outcomes, 8.0)["tasks"]
    assert tasks["a"]["max"] == pytest.approx(0.3)
    assert tasks["b"]["max"] == pytest.approx(0.1)
    assert tasks["c"] is None


def test_nothing_sent_makes_no_figures() -> None:
    summary = summarise([], 0.0)
    assert summary["latency"] is None
    assert summary["answers_per_second"] == 0.0
    assert summary["most_in_flight"] == 0


def test_a_request_that_ends_makes_room_for_one_that_begins_then() -> None:
    outcomes = [outcome(float(i), 1.0, Reply("answered")) for i in range(4)]
    assert most_in_flight(outcomes) == 1
    assert most_in_flight([*outcomes, outcome(0.5, 3.0, Reply("answered"))]) == 2
