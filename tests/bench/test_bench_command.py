"""`gearshift bench` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gearshift.backends import triton_device
from gearshift.backends.lowering import lower
from gearshift.cli import main
from gearshift.graph import read_artifact
from gearshift.models import find_model
from gearshift.specialise import specialise
from gearshift_bench.commands.kernels import NOT_TIMED, report
from gearshift_bench.commands.roofline import PREDICTION
from gearshift_bench.kernels import Result, entries
from gearshift_bench.machines import MACHINES
from gearshift_kernels.triton import launch


def test_help_of_the_benchmarks_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from gearshift.cli import main\n"
        "try:\n    main(['bench', 'kernels', '--help'])\nexcept SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'triton', 'numpy', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "  TRITON_INTERPRET=1 gearshift bench kernels demo" in done.stdout


def test_a_prediction_says_so_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "roofline", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == PREDICTION
    assert "nothing was measured" in lines[0]
    rows = [line.split() for line in lines if line.startswith("tiny ")]
    assert [row[2] for row in rows] == [*MACHINES, *MACHINES]
    assert all("memory" in " ".join(row) for row in rows)


def test_predictions_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "roofline", "tiny", "--machine", "A100,Orin", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == PREDICTION
    assert [task["task"] for task in document["tasks"]] == ["semseg", "depth"]
    for task in document["tasks"]:
        assert set(task["predictions"]) == {"A100", "Orin"}
        for one in task["predictions"].values():
            assert one["launches"] > 50
            assert sum(one["roof_ms_by_bound"].values()) == pytest.approx(one["roof_ms"])
            assert one["predicted_ms"] == pytest.approx(one["roof_ms"] + one["gaps_ms"])
        faster, slower = (task["predictions"][name] for name in ("A100", "Orin"))
        assert faster["predicted_ms"] < slower["predicted_ms"]
    assert document["machines"]["A100"]["sources"]


def test_nodes_of_one_task(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "roofline", "tiny", "--task", "depth", "--nodes", "--machine", "H100"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith(PREDICTION)
    assert "\nblocks.1.experts.expert_fc1 " in text
    assert "decoders.depth.head" in text
    assert "decoders.semseg" not in text


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["roofline", "tiny", "--machine", "B9000"], "A100, H100, H200, A6000, Orin"),
        (["roofline", "tiny", "--machine", "A100", "--precision", "float8"], "H100, H200"),
        (["roofline", "tiny", "--nodes"], "--task"),
        (["roofline", "tiny", "--task", "cooking"], "semseg, depth"),
        (["kernels", "nowhere"], "nowhere"),
    ],
)
def test_errors_are_one_line_that_names_the_remedy(
    arguments: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert remedy in line


def test_kernels_without_a_card_is_a_one_line_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "is_interpreted", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "kernels", "demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert "no GPU that torch can use" in line
    assert "TRITON_INTERPRET=1" in line


def test_a_card_without_float8_is_a_one_line_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_device, "current_target", lambda: "sm_80")
    assert main(["bench", "kernels", "demo", "--precision", "float8"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "A100 (sm_80) has no float8 (e4m3): choose precision int8" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run on the GPU here")
def test_kernels_are_checked_but_not_timed_in_the_interpreter(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "kernels.json"
    assert main(["bench", "kernels", "demo", "--task", "depth", "--json", str(output)]) == 0
    text = capsys.readouterr().out
    assert NOT_TIMED in text
    assert "WRONG" not in text
    document = json.loads(output.read_text())
    assert not document["timed"]
    for entry in document["kernels"]:
        assert 0 <= entry["error"] <= entry["tolerance"] < 0.1
        assert entry["median_us"] == {}
        assert entry["roof_us"] is None
    graph = read_artifact(find_model("demo"))
    steps = lower(specialise(graph, "depth"), "bfloat16").steps
    checked = {entry["kernel"].split()[0] for entry in document["kernels"]}
    assert checked == {step.kernel for step in steps}
    assert sum(entry["steps"] for entry in document["kernels"]) == len(steps)


def test_a_wrong_kernel_is_named_and_not_timed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not launch.is_interpreted():
        monkeypatch.setattr("gearshift_bench.kernels.measure", lambda bench, result: result)
    monkeypatch.setattr(launch.Launch, "run", lambda self: None)
    output = tmp_path / "kernels.json"
    assert main(["bench", "kernels", "demo", "--task", "depth", "--json", str(output)]) == 1
    kernels = json.loads(output.read_text(), parse_constant=pytest.fail)["kernels"]
    assert all(kernel["error"] is None for kernel in kernels)
    captured = capsys.readouterr()
    assert "WRONG" in captured.out
    assert " right" not in captured.out
    (line,) = captured.err.splitlines()
    assert "blocks.0.attention.attention" in line
    assert "blocks.1.router.router" in line


def test_times_are_shown_with_rates_roof_and_peers() -> None:
    program = specialise(read_artifact(find_model("tiny")), "depth")
    entry = next(e for e in entries(program, "bfloat16") if e.sizes.step.kernel == "upsample_conv")
    machine = MACHINES["A100"]
    roof = entry.work.bound(machine, "bfloat16")[1]
    times = {"gearshift": 4 * roof, "torch": 10 * roof}
    lines = report(program, [Result(entry, 0.0, 1.0, times, 7)], "a card", machine, "bfloat16")
    (row,) = (line for line in lines[-2].splitlines() if line.startswith("upsample_conv"))
    assert " 25%" in row
    assert row.endswith("torch 2.50")
    rate = entry.work.flops / (4 * roof) / 1e12
    assert f" {rate:.1f} " in row
    (untimed,) = report(program, [Result(entry, 0.0, 1.0)], "a card", None, "bfloat16")[-1:]
    assert untimed == NOT_TIMED
