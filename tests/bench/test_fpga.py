"""`gearshift bench fpga`: estimates of a small model, figures from a run, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gearshift.cli import main
from gearshift_bench.commands import fpga as command
from gearshift_bench.fpga import (
    Figures,
    Layer,
)
from gearshift_hls.compile.estimate import ESTIMATE
from gearshift_hls.rtl_simulation import SIMULATED

LAYERS = [
    Layer("blocks.0.norm1", "norm", 1000, 0),
    Layer("blocks.0.attention.qkv", "linear", 3000, 2700),
]


def figures(part: str, kind: str = SIMULATED, **changes: object) -> Figures:
    stalls = {"array_waits_for_weights": 10} if kind == SIMULATED else {}
    given = ("model", "depth", part, 17, kind, 4200, 300.0, 5000, 9000, LAYERS, stalls)
    return Figures(*given)


def test_numbers_of_a_part() -> None:
    one = figures("encoder")
    assert one.milliseconds == pytest.approx(0.014)
    assert one.utilisation == pytest.approx(2700 / 4200)


def test_json_names_the_encoders_cycles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(model: str, *_: object) -> Iterator[Figures]:
        yield figures("encoder")
        yield figures("task", ESTIMATE)

    monkeypatch.setattr(command, "measure", measure)
    assert main(["bench", "fpga", "--model", "model", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["encoder_cycles"] == 4200
    assert document["model"]["encoder"]["kind"] == SIMULATED
    assert document["model"]["tasks"]["depth"]["kind"] == ESTIMATE
    names = [one["design"] for one in document["published"]]
    assert names == ["M3ViT", "Edge-MoE", "UbiMoE", "UbiMoE", "CoQMoE", "CoQMoE", "HeatViT"]
    assert main(["bench", "fpga", "--model", "model", "--layers"]) == 0
    text = capsys.readouterr().out
    assert (
        "encoder: 4,200 cycles, 0.01 ms at 300 MHz (simulated cycles at an assumed clock)" in text
    )
    assert "estimate, not measured" in text
    assert "blocks.0.attention.qkv" in text
    assert "34.64" in text
    assert "arXiv:2305.18691" in text
