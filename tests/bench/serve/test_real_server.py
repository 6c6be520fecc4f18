"""The driver and a real `gearshift serve demo`: a short soak, overload, both transports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gearshift.cli import main

GROWTH = 16e6
"""Bytes that the server may grow by in a short soak: a leak of one answer a request is more."""


def records(url: str, file: Path, *words: str) -> list[dict[str, Any]]:
    """Of one run of the command."""
    assert main(["bench", "serve", url, *words, "--json", str(file)]) == 0
    found: list[dict[str, Any]] = json.loads(file.read_text())["records"]
    return found


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_every_task_is_answered_over_both_transports(server, tmp_path: Path, transport) -> None:
    url = getattr(server, transport)
    (record,) = records(url, tmp_path / "out.json", "--rate", "8", "--duration", "2", "--fixed")
    assert record["answered"] == record["requests"] == 16
    assert set(record["tasks"]) <= {"semseg", "depth", "normals", "edge"}
    for part in ("queue", "compute", "outside"):
        assert record[part]["min"] >= 0
    assert record["mean_batch"] >= 1


def test_a_soak_leaves_memory_flat(server, tmp_path: Path) -> None:
    words = ("--soak", "12", "--rate", "20", "--pid", str(server.pid))
    (record,) = records(server.http, tmp_path / "out.json", *words)
    assert record["failed"] == 0
    assert record["answered"] + record["refused"] == record["requests"]
    assert record["memory"]["rise"] < GROWTH


def test_under_overload_some_are_refused_and_nothing_else_fails(server, tmp_path: Path) -> None:
    (record,) = records(server.http, tmp_path / "out.json", "--overload", "--duration", "3")
    loaded = record["overloaded"]
    assert loaded["failed"] == 0
    assert loaded["refused"] > 0
    assert loaded["answered"] > 0


def test_the_overhead_has_both_sides(server, tmp_path: Path) -> None:
    words = ("--overhead", "--threads", "1", "--duration", "2")
    (record,) = records(server.http, tmp_path / "out.json", *words)
    assert record["session"]["count"] == record["server"]["count"] > 0
    assert record["low"] <= record["high"]
    # Whatever the machine: bytes and another process cost something.
    assert record["bare"]["min"] > 0
    assert record["beside_compute"]["min"] > 0
