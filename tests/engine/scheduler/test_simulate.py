"""The simulation itself, and the policies on made-up and recorded traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gearshift.scheduler import Scheduler, SchedulerSettings
from gearshift.scheduler.policies import FifoPolicy
from gearshift.scheduler.simulate import (
    HARDWARE,
    POLICIES,
    Hardware,
    Simulated,
    Simulation,
    compare,
    made_up_traces,
    main,
)
from gearshift.scheduler.trace import TraceRequest, poisson_trace, read_trace

RECORDED = Path(__file__).parent / "recorded.jsonl"
"""Four tasks of the demo, asked for at about twice the capacity of two cores."""


def test_a_schedule_by_hand() -> None:
    trace = [
        TraceRequest(0.0, "m", "a", 8, 8),
        TraceRequest(0.5, "m", "b", 8, 8),
        TraceRequest(0.6, "m", "a", 8, 8, images=2),
        TraceRequest(0.7, "m", "b", 8, 8, timeout=0.2),
        TraceRequest(20.0, "m", "a", 8, 8),
    ]
    hardware = Hardware(batch_seconds=1.0, image_seconds=0.25, switch_seconds=0.5)
    played = Simulation(Scheduler(policy=FifoPolicy()), hardware).run(trace)
    times = [(one.request, one.started, one.ended) for one in played.served]
    assert times == [
        (trace[0], 0.0, 1.75),
        (trace[1], 1.75, 3.5),
        (trace[2], 3.5, 5.5),
        (trace[4], 20.0, 21.25),
    ]
    counts = played.refused, played.expired, played.batches, played.switches, played.seconds
    assert counts == (0, 1, 4, 3, 21.25)
    assert played.percentile(50) == pytest.approx((1.75 + 3.0) / 2)
    assert played.percentile(100, after=10.0) == pytest.approx(1.25)
    assert played.throughput == pytest.approx(4 / 21.25)


def test_nothing_is_lost_and_nothing_is_served_twice() -> None:
    settings = SchedulerSettings(most_queued=7, most_queued_task=4)
    for name, hardware in HARDWARE.items():
        for (trace_name, policy), played in compare(
            made_up_traces(hardware, 4.0), hardware, settings
        ).items():
            trace = made_up_traces(hardware, 4.0)[trace_name]
            served = len(played.served)
            assert served + played.refused + played.expired == len(trace), (name, policy)
            assert len({id(one.request) for one in played.served}) == served
            assert all(one.request.arrival <= one.started < one.ended for one in played.served)


@pytest.fixture(scope="module")
def results() -> dict[str, dict[tuple[str, str], Simulated]]:
    return {
        name: compare(made_up_traces(hardware, 30.0), hardware)
        for name, hardware in HARDWARE.items()
    }


def test_where_batches_and_staying_pay_ours_is_faster_than_both_others(
    results: dict[str, dict[tuple[str, str], Simulated]],
) -> None:
    played = results["accelerator"]
    for trace in ("90 % load", "bursts"):
        ours = played[trace, "due"]
        for other in (played[trace, "fifo"], played[trace, "round robin"]):
            assert ours.percentile(50) < other.percentile(50)
            assert ours.percentile(99) < other.percentile(99)
            assert ours.switches < other.switches
    fifo, ours = played["overload", "fifo"], played["overload", "due"]
    assert ours.throughput > 1.2 * fifo.throughput


def test_where_they_do_not_pay_ours_is_no_slower_than_fifo(
    results: dict[str, dict[tuple[str, str], Simulated]],
) -> None:
    played = results["cpu"]
    for trace in ("half load", "90 % load", "bursts", "phases", "overload"):
        ours, fifo = played[trace, "due"], played[trace, "fifo"]
        assert ours.percentile(50) < 1.1 * fifo.percentile(50)
        assert ours.percentile(99) < 1.15 * fifo.percentile(99)
        # Batches that gain less than `least_gain` are not made.
        assert ours.throughput > 0.95 * fifo.throughput


# Short queues of four tasks leave little to make batches of.
@pytest.mark.parametrize(("name", "least_share"), [("cpu", 0.85), ("accelerator", 0.5)])
def test_at_twice_the_capacity_the_accepted_are_answered_soon(
    name: str, least_share: float
) -> None:
    hardware = HARDWARE[name]
    quiet = [TraceRequest(float(number), "m", "abcd"[number % 4], 8, 8) for number in range(200)]
    unloaded = Simulation(Scheduler(), hardware).run(quiet).percentile(99)
    capacity = max(images / hardware.seconds(images, switched=True) for images in (1, 8))
    trace = poisson_trace(2 * capacity, 12.0, {"a": 1.0, "b": 2.0, "c": 1.0, "d": 1.0}, seed=4)
    played = Simulation(Scheduler(), hardware).run(trace)
    assert played.percentile(99, after=2.0) < 3 * unloaded
    assert played.throughput > least_share * capacity
    assert played.refused > 0.8 * len(played.served)


def test_policies_on_a_recorded_trace() -> None:
    trace = read_trace(RECORDED)
    assert len(trace) > 500
    assert len({request.task for request in trace}) == 4
    # Slower hardware than that on which it was recorded is asked for too much.
    slow = replace(HARDWARE["accelerator"], image_seconds=0.002)
    played = compare({"recorded": trace}, slow)
    fifo, ours = played["recorded", "fifo"], played["recorded", "due"]
    for one in played.values():
        assert len(one.served) + one.refused == len(trace)
    assert len(ours.served) >= len(fifo.served)
    assert ours.percentile(50) < fifo.percentile(50)


def test_the_command_prints_every_trace_and_policy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recorded = tmp_path / "mine.jsonl"
    recorded.write_text('{"arrival": 0.5, "model": "m", "task": "t", "height": 8, "width": 8}\n')
    assert main(["--seconds", "2", str(recorded)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("SIMULATED")
    assert printed.count("\nmine.jsonl") == len(POLICIES) * len(HARDWARE)
    assert main([str(tmp_path / "none.jsonl")]) == 1
    assert "cannot be read" in capsys.readouterr().err
