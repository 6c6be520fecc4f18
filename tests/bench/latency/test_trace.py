"""Trace files, of friends and of others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gearshift.errors import InputError
from gearshift_bench.latency import trace
from gearshift_bench.latency.trace import read_trace

Write = Callable[[bytes], Path]
KNOWN = ("semseg", "depth", "two words")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: bytes) -> Path:
        path = tmp_path / "requests.txt"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "tasks", "arrivals"),
    [
        (b"depth\nsemseg\n\n# a remark\ndepth\n", ("depth", "semseg", "depth"), None),
        (b"0 depth\n0.5\tsemseg\r\n0.5 two words", ("depth", "semseg", "two words"), (0, 0.5, 0.5)),
        (b'{"task": "depth"}\n{"task": "two words"}', ("depth", "two words"), None),
        (b'{"seconds": 1, "task": "depth", "user": 3}\n2.5 depth', ("depth", "depth"), (1, 2.5)),
    ],
)
def test_traces_in_each_of_their_forms(
    content: bytes, tasks: tuple[str, ...], arrivals: tuple[float, ...] | None, write: Write
) -> None:
    found = read_trace(write(content), KNOWN)
    assert found.kind == "trace"
    assert found.sequence == tasks
    assert found.arrivals == arrivals
    assert found.description == "requests.txt"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no request"),
        (b"# nothing\n\n", "holds no request"),
        (b"depth\ncooking\n", "line 2: task 'cooking' is not one of semseg, depth"),
        (b"depth\n1 depth\n", "line 2: give seconds in every line or in none"),
        (b"1 depth\ndepth\n", "line 2: give seconds in every line or in none"),
        (b"2 depth\n1 depth\n", "line 2: 1 seconds come after 2: sort the trace"),
        (b"-1 depth\n", "not between 0 and"),
        (b"nan depth\n", "not between 0 and"),
        (b"inf depth\n", "not between 0 and"),
        (b"1e9 depth\n", "not between 0 and"),
        (b"soon depth\n", "'soon' is no number of seconds"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"{", "begins like JSON and is none"),
        (b'{"a":' * 20_000, "begins like JSON and is none"),
        (b"{}", "give {"),
        (b'{"task": 5}', "give {"),
        (b'{"task": "depth", "seconds": true}', "give {"),
        (b'{"task": "depth", "seconds": "1"}', "give {"),
        (b'{"task": "depth", "seconds": NaN}', "not between 0 and"),
        (b'{"task": "depth", "seconds": 1' + b"0" * 400 + b"}", "not between 0 and"),
        (b"a" * 10_000, "is not one of"),
    ],
)
def test_traces_that_are_none_are_named_in_one_line(
    content: bytes, complaint: str, write: Write
) -> None:
    path = write(content)
    with pytest.raises(InputError) as caught:
        read_trace(path, KNOWN)
    message = str(caught.value)
    assert complaint in message
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))


def test_a_trace_has_its_limits(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(trace, "MOST_REQUESTS", 3)
    assert len(read_trace(write(b"depth\n" * 3), KNOWN).sequence) == 3
    with pytest.raises(InputError, match="more than 3 requests"):
        read_trace(write(b"depth\n" * 4), KNOWN)
    monkeypatch.setattr(trace, "MOST_BYTES", 11)
    with pytest.raises(InputError, match="more than 11 bytes"):
        read_trace(write(b"depth\n" * 2), KNOWN)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(InputError, match="is not a file"):
            read_trace(path, KNOWN)
