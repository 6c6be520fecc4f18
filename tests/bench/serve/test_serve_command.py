"""`gearshift bench serve` against a tiny server: what it asks, prints, writes and refuses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearshift.cli import main


@pytest.fixture
def port(tiny) -> Iterator[int]:
    """Of a tiny server on a thread of its own."""
    ports: list[int] = []
    up, down = threading.Event(), threading.Event()

    async def live() -> None:
        async with tiny.server() as number:
            ports.append(number)
            up.set()
            await asyncio.to_thread(down.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    up.wait(10)
    yield ports[0]
    down.set()
    thread.join()


def run(port: int, *words: str) -> int:
    return main(["bench", "serve", f"http://127.0.0.1:{port}", *words])


def test_rates_are_driven_and_told(port: int, tmp_path: Path, capsys) -> None:
    file = tmp_path / "load.json"
    words = ("--rate", "40,80", "--duration", "1", "--fixed", "--mix", "near:3,far:1")
    assert run(port, *words, "--json", str(file)) == 0
    document = json.loads(file.read_text())
    records = document["records"]
    assert [record["rate"] for record in records] == [40.0, 80.0]
    assert [record["answered"] for record in records] == [40, 80]
    assert document["target"] == {
        "model": "toy",
        "tasks": ["near", "far"],
        "height": 8,
        "width": 24,
    }
    assert set(records[1]["tasks"]) == {"near", "far"}
    text = capsys.readouterr().out
    assert "80.0/s fixed" in text
    assert "near:3,far:1" in text


def test_a_soak_reads_memory_from_the_metrics(port: int, tmp_path: Path, capsys) -> None:
    file = tmp_path / "soak.json"
    assert run(port, "--soak", "1", "--rate", "30", "--json", str(file)) == 0
    (record,) = json.loads(file.read_text())["records"]
    assert record["kind"] == "soak"
    assert record["memory"]["growth_per_hour"] == 0.0
    assert "50.0 MB at the end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "other"), "no model 'other' ready: it has toy"),
        (("--task", "sky"), "no task 'sky': it has near, far"),
        (("--mix", "near:0"), "--mix"),
        (("--rate", "0"), "--rate '0'"),
        (("--rate", "5,x"), "--rate 'x'"),
        (("--duration", "0"), "--duration 0"),
        (("--soak", "nan"), "--soak nan"),
        (("--soak", "1", "--pid", "99999999"), "--pid 99999999"),
        (("--json", "/nowhere/x.json"), "/nowhere"),
        (("--api-key", "/nowhere/key"), "/nowhere/key"),
        (("--overhead", "--session", "no-such-model"), "no-such-model"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(port: int, capsys, words, said: str) -> None:
    assert run(port, *words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["ftp://x", "127.0.0.1:8000", "http://", "http://h:port", "http://h:1/v2", "http://[::1"]
)
def test_a_url_of_another_form_is_refused(capsys, url: str) -> None:
    assert main(["bench", "serve", url]) == 1
    assert "give such as http://127.0.0.1:8000" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_not_there_is_named(capsys, unused_port: int, scheme: str) -> None:
    address = f"{scheme}://127.0.0.1:{unused_port}"
    assert main(["bench", "serve", address]) == 1
    error = capsys.readouterr().err
    assert address in error
    assert "gearshift serve" in error
    assert error.count("\n") == 1
