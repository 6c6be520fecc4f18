"""`gearshift bench peers` as a user meets it. Nothing here depends on how long a run takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from gearshift.cli import main
from gearshift.graph import Graph
from gearshift_bench.commands import peers
from gearshift_bench.peers import entries, parts

from ..engine.conftest import GraphMaker


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from gearshift.cli import main\n"
        "try:\n    main(['bench', 'peers', '--help'])\nexcept SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'numpy', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "gearshift bench peers --json peers.json" in done.stdout


def test_names_on_the_command_line_are_those_of_the_benchmark() -> None:
    """Written twice, so that `--help` need not load the benchmark."""
    assert peers.PARTS == parts.PARTS
    assert peers.PEERS == entries.PEERS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo, ours being the torch backend, which is there on every machine."""
    output = tmp_path_factory.mktemp("peers") / "peers.json"
    arguments = ["bench", "peers", "demo", "--task", "depth", "--threads", "1", "--rounds", "2"]
    arguments += ["--ours", "torch", "--precision", "float32", "--peers", "onnxruntime"]
    threads = torch.get_num_threads()
    assert main([*arguments, "--json", str(output)]) == 0
    assert torch.get_num_threads() == threads
    return dict(json.loads(output.read_text(), parse_constant=pytest.fail))


def test_ratios_of_the_demo(written: dict[str, Any]) -> None:
    ratios = written["ratios_to_best_peer"]
    assert set(ratios) == {"demo"}
    assert set(ratios["demo"]) == {"encoder", "task"}
    assert all(ratio > 0 for ratio in ratios["demo"].values())
    assert written["float32_ratio_to_best_float32_peer"].keys() == ratios.keys()
    assert written["two_thread_ratio"] == {}
    assert written["rounds"] == 2


def test_contenders_agree_and_are_timed(written: dict[str, Any]) -> None:
    encoder, task = written["results"]
    assert [encoder["part"], task["part"]] == ["encoder", "task"]
    assert encoder["macs"] < task["macs"]
    assert not any("exported file" in name for name in encoder["contenders"])
    assert any("exported file" in name for name in task["contenders"])
    for result in (encoder, task):
        assert result["ours"] == "gearshift torch, float32"
        assert "onnxruntime" in result["best_peer"]
        for contender in result["contenders"].values():
            assert not contender["not_run"]
            assert not contender["wrong"]
            assert 0 <= contender["error"] <= contender["allowed"] < 1e-3
            assert contender["low_ms"] <= contender["median_ms"] <= contender["high_ms"]


def test_nodes_of_ours_and_of_a_peer(written: dict[str, Any]) -> None:
    for result in written["results"]:
        ours, theirs = result["nodes"].items()
        assert ours[0] == "gearshift torch, float32"
        assert "onnxruntime" in theirs[0]
        assert {"patch_embedding", "blocks.1.experts"} <= set(ours[1]["ms"]) & set(theirs[1]["ms"])


def test_switching_with_all_experts_and_with_half(written: dict[str, Any]) -> None:
    resident, half, exported = written["switching"]["demo"]
    assert resident["setting"] == "gearshift torch, float32, all experts resident"
    assert resident["first_ms"]["median"] > 0
    assert "half" in (half if isinstance(half, str) else half["setting"])
    assert exported["setting"] == "onnxruntime, exported file"


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_takes_part_on_two_threads(
    make_artifact: Callable[[Graph], Path], tmp_path: Path
) -> None:
    output = tmp_path / "peers.json"
    model = str(make_artifact(GraphMaker().make()))
    arguments = ["bench", "peers", model, "--part", "encoder", "--threads", "2", "--rounds", "1"]
    arguments += ["--ours", "torch", "--precision", "float32", "--peers", "openvino"]
    assert main([*arguments, "--json", str(output)]) == 0
    figures = json.loads(output.read_text())
    (result,) = figures["results"]
    precisions = [one["precision"] for one in result["contenders"].values() if not one["is_ours"]]
    assert precisions == ["float32", "bfloat16"]
    assert "OpenVINO" in result["best_peer"]
    assert figures["ratios_to_best_peer"] == {}  # That is of one thread.


def test_a_peer_that_is_not_installed_is_one_line_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "gearshift_bench.peers.openvino_entries", raising=False)
    found = peers._peer_entries(["openvino", "torch"])
    assert [entry.precision for entry in found] == ["float32", "bfloat16"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("left out: peer openvino needs the package openvino")
    assert line.endswith("pip install 'gearshift[peers]'")


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--part", "decoder"], "choose from encoder, task"),
        (["--peers", "tvm"], "choose from onnxruntime, openvino, torch, compile"),
        (["--precision", "float8"], "choose from float32, bfloat16, int8"),
        (["--threads", "1,0"], "give numbers from 1"),
        (["--threads", "two"], "give numbers from 1"),
        (["--rounds", "0"], "give at least 1"),
        (["--ours", "abacus"], "choose from auto, "),
        (["--task", "cooking", "--peers", "torch"], "choose from"),
        (["--json", "no/such/folder.json"], "make the folder no/such first"),
        (["nowhere"], "nowhere"),
    ],
)
def test_errors_are_one_line_before_any_work(
    arguments: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [] if arguments == ["nowhere"] else ["demo"]
    assert main(["bench", "peers", "--ours", "torch", *models, *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert remedy in line
