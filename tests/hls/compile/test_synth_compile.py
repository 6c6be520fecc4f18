"""`gearshift synth compile`, with a stand-in for the quantiser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gearshift.cli import main
from gearshift.graph import write_artifact
from gearshift_hls.board import ZCU104
from gearshift_hls.compile.cache import open_bundle
from gearshift_hls.compile.files import load_bundle
from gearshift_hls.compile.listing import list_tasks

from .stand_in_quantiser import Quantiser, small_graph, stand_in


@pytest.fixture
def quantiser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Quantiser:
    return stand_in(monkeypatch, tmp_path)


@pytest.fixture
def artifact(tmp_path: Path) -> str:
    write_artifact(small_graph(), tmp_path / "random.gs")
    return str(tmp_path / "random.gs")


def test_it_writes_a_bundle_and_tells_what_it_costs(
    quantiser: Quantiser, artifact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "compiled"
    assert main(["synth", "compile", artifact, "-o", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("random at 16x16 pixels for the zcu104: constants ")
    assert "estimate, not measured" in text
    bundle = load_bundle(folder)
    assert bundle.build == ZCU104.build
    for listed in list_tasks(bundle, ZCU104, {}):
        (line,) = (line for line in text.split("\n") if line.startswith(listed.task.name))
        assert line.split()[1:4] == [
            str(listed.task.descriptors),
            f"{listed.cycles:,.0f}",
            f"{listed.milliseconds:.2f}",
        ]
        assert f"task {listed.task.name}, " in (folder / "listing.txt").read_text()


def test_json_has_the_same_figures(
    quantiser: Quantiser, artifact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["synth", "compile", artifact, "--height", "8", "--width", "24", "--json"]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "estimate, not measured"
    assert document["image"] == [3, 8, 24]
    for task in document["tasks"]:
        assert task["milliseconds"] == pytest.approx(task["cycles"] / 300e3, rel=1e-3)
        assert sum(task["cycles_by_cause"].values()) == pytest.approx(task["cycles"], rel=1e-3)
        assert task["external_bytes"] > task["weight_bytes"] > 0


def test_own_pictures_are_for_the_backends_too(
    quantiser: Quantiser, artifact: str, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.png").write_text("7")
    assert main(["synth", "compile", artifact, "--pictures", str(photos)]) == 0
    open_bundle(Path(artifact), ZCU104)
    assert [seed for seed, *_ in quantiser.calls] == [7.0]
    assert main(["synth", "compile", artifact]) == 0
    open_bundle(Path(artifact), ZCU104)
    assert [seed for seed, *_ in quantiser.calls] == [7.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "zcu999"], "unknown board 'zcu999': choose from zcu104"),
        (["-o", "."], "which is no part of a bundle"),
        (["--height", "9"], "image height 9 is not a multiple of the patch size 8"),
        (["--pictures", "nowhere"], "nowhere is no folder"),
    ],
)
def test_bad_words_are_refused_before_the_work(
    quantiser: Quantiser,
    artifact: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["synth", "compile", artifact, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert quantiser.calls == []
