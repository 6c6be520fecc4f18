"""Traces: made up, written, read, damaged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gearshift.errors import InputError
from gearshift.scheduler.trace import (
    TraceRequest,
    burst_trace,
    phase_trace,
    poisson_trace,
    read_trace,
    write_trace,
)

SHARES = {"a": 3.0, "b": 1.0}


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = [
        TraceRequest(0.25, "m", "depth", 24, 40, images=3, priority=2, timeout=1.5),
        TraceRequest(0.75, "n", 'a "task"\n', 8, 16),
    ]
    write_trace(trace, tmp_path / "t.jsonl")
    assert read_trace(tmp_path / "t.jsonl") == trace
    write_trace(reversed(trace), tmp_path / "t.jsonl")
    assert read_trace(tmp_path / "t.jsonl") == trace


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "7",
        '{"arrival": 0}',
        '{"arrival": 0, "model": "m", "task": "t", "height": 8, "width": 8, "colour": 1}',
        '{"arrival": -1, "model": "m", "task": "t", "height": 8, "width": 8}',
        '{"arrival": NaN, "model": "m", "task": "t", "height": 8, "width": 8}',
        '{"arrival": "0", "model": "m", "task": "t", "height": 8, "width": 8}',
        '{"arrival": 0, "model": "m", "task": "t", "height": 0, "width": 8}',
        '{"arrival": 0, "model": "m", "task": "t", "height": 8.5, "width": 8}',
        '{"arrival": 0, "model": "m", "task": "t", "height": 8, "width": 8, "images": 0}',
        '{"arrival": 0, "model": "m", "task": "t", "height": 8, "width": 8, "priority": -1}',
        '{"arrival": 0, "model": "m", "task": "t", "height": 8, "width": 8, "timeout": 0}',
        "[" * 4000,
        '"' + "x" * 100_000 + '"',
    ],
)
def test_a_line_that_is_no_request_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(InputError, match=r"t\.jsonl, line 2: ") as error:
        read_trace(path)
    assert len(str(error.value)) < 500


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\xff\xfe\x00")
    for name in ("t.jsonl", "none.jsonl", "."):
        with pytest.raises(InputError, match="cannot be read"):
            read_trace(tmp_path / name)


def test_made_up_traces_have_the_rate_and_the_shares_that_were_asked_for() -> None:
    for trace in (
        poisson_trace(200.0, 20.0, SHARES, seed=1),
        burst_trace(200.0, 20.0, SHARES, burst=7, seed=1),
    ):
        assert len(trace) == pytest.approx(4000, rel=0.15)
        assert Counter(one.task for one in trace)["a"] == pytest.approx(0.75 * len(trace), rel=0.05)
        arrivals = [one.arrival for one in trace]
        assert arrivals == sorted(arrivals)
        assert arrivals[0] >= 0
        assert arrivals[-1] < 20.0


def test_traces_of_one_seed_are_the_same() -> None:
    for make in (poisson_trace, burst_trace, phase_trace):
        assert make(50.0, 3.0, SHARES, seed=5) == make(50.0, 3.0, SHARES, seed=5)
        assert make(50.0, 3.0, SHARES, seed=5) != make(50.0, 3.0, SHARES, seed=6)


def test_phases_have_a_favourite_each() -> None:
    trace = phase_trace(400.0, 10.0, {"a": 1.0, "b": 1.0, "c": 1.0}, phase=1.0)
    for phase in range(10):
        tasks = Counter(one.task for one in trace if int(one.arrival) == phase)
        assert tasks.most_common(1)[0][1] > 0.7 * tasks.total()
