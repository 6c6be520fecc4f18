"""`gearshift bench accuracy`: what it takes, prints and writes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gearshift.cli import main
from gearshift.errors import BackendError, GearshiftError, InputError
from gearshift.graph.read import read_card_file
from gearshift_bench.commands import accuracy

from ..report.conftest import make_document, make_record

FAST = ("--rooms", "1", "--duration", "0")


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    accuracy.add_arguments(parser)
    return accuracy.run(parser.parse_args([*arguments, *FAST]))


def test_a_trade_is_a_line_and_reasons_stand_below() -> None:
    silent = {"routed_alike": None, "loads_alike": {"blocks.1.router": 0.97}}
    metered = make_record(energy="package-0 0.12 J (0.05 J above idle), error 3%", **silent)
    lines = "\n".join(accuracy.report([make_record(), metered])).splitlines()
    (line,) = (line for line in lines if "  not measured  " in line)
    for part in (
        "7.25 ms",
        "0.5050",
        "0.5000",
        "+1.00 %",
        "0.20 %",
        "RMSE, metres",
        "98.25 % in block 3",
    ):
        assert part in line
    text = "\n".join(lines)
    assert "package-0 0.12 J" in text
    assert "99.50 %" in text
    assert "at most 97.00 % in block 1" in text
    assert lines[-1] == "energy not measured: no meter"


def test_records_as_json(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(artifact), "--backend", "torch", "--precision", "float32", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert {one["backend"] for one in records} == {"torch"}
    assert all(one["output_change_percent"] == 0 for one in records)


def test_emulations_alone(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(artifact), "--emulate", "gelu", "softmax") == 0
    printed = capsys.readouterr().out
    assert "1 test room, beside torch in float32" in printed
    for words in (" gelu ", " softmax ", " gelu and softmax "):
        assert words in printed
    assert "accelerator" not in printed


def test_to_emulate_nothing_leaves_the_backend(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEARSHIFT_BACKEND", "torch")
    assert run(str(artifact), "--emulate", "nothing") == 0
    printed = capsys.readouterr().out
    assert " torch " in printed
    assert "emulated" not in printed


def test_an_approximation_of_a_backend_is_not_lost_beside_an_emulation(artifact: Path) -> None:
    with pytest.raises(GearshiftError, match="softmax"):
        run(str(artifact), "--emulate", "gelu", "--approximate", "softmax", "--backend", "torch")
    with pytest.raises(GearshiftError, match="softmax"):
        run(str(artifact), "--emulate", "gelu", "--approximate", "softmax")


def test_what_a_backend_lacks_is_left_out_and_named(
    artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(artifact), "--backend", "onnxruntime") == 0
    printed = capsys.readouterr().out
    assert "left out: backend onnxruntime runs float32 only, not int8" in printed
    with pytest.raises(BackendError, match="runs float32 only, not int8"):
        run(str(artifact), "--backend", "onnxruntime", "--precision", "int8")


def test_records_go_into_a_result_once(artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("jsonschema", reason="pip install 'gearshift[report]'")
    result = tmp_path / "result.json"
    document = make_document()
    document["model"]["sha256"] = read_card_file(artifact).weights.sha256
    document["accuracy"] = [make_record(backend="mine")]
    result.write_text(json.dumps(document))
    for _ in range(2):
        assert run(str(artifact), "--backend", "torch", "--into", str(result)) == 0
    written = json.loads(result.read_text())["accuracy"]
    assert written[0]["backend"] == "mine"
    keys = [(one["task"], one["backend"], one.get("precision")) for one in written]
    assert len(keys) == len(set(keys)) > 4


def test_a_result_of_another_model_is_refused(artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("jsonschema", reason="pip install 'gearshift[report]'")
    result = tmp_path / "result.json"
    result.write_text(json.dumps(make_document()))
    with pytest.raises(InputError, match=r"demo, with other weights than random\.gs"):
        run(str(artifact), "--into", str(result))


def test_the_benchmark_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "accuracy", "--rooms", "-3"]) != 0
    assert "--rooms -3: give 1 to 100000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rooms", "0"), "--rooms 0: give 1 to"),
        (("--duration", "nan"), "--duration nan: give 0 to"),
        (("--emulate", "nothing", "gelu"), "--emulate nothing: leave the others out"),
        (("--backend", "quantum"), "unknown backend 'quantum'"),
    ],
)
def test_bad_requests_are_named(artifact: Path, arguments: tuple[str, ...], message: str) -> None:
    parser = argparse.ArgumentParser()
    accuracy.add_arguments(parser)
    with pytest.raises(GearshiftError, match=message):
        accuracy.run(parser.parse_args([str(artifact), *arguments]))
