"""`gearshift synth bitstream`, from the command line to a written project."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift import cli
from gearshift.graph import write_artifact
from gearshift_hls.compile import cache
from gearshift_hls.project import run as project_run

from ...engine.conftest import GraphMaker
from .projects import small_bundle


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact whose bundle is ready: quantising it is not the matter of these tests."""
    monkeypatch.setattr(cache, "open_bundle", lambda *_: small_bundle())
    write_artifact(GraphMaker().make(), tmp_path / "model.gs")
    return tmp_path / "model.gs"


def without_tools(monkeypatch: pytest.MonkeyPatch, missing: list[str]) -> None:
    monkeypatch.setattr(project_run, "missing_tools", lambda *_: missing)


def test_without_vitis_the_last_line_says_what_to_install(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    without_tools(monkeypatch, ["v++", "vivado"])
    folder = tmp_path / "fpga"
    assert cli.main(["synth", "bitstream", str(artifact), "-o", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("not run: v++, vivado not on PATH: install Vitis and Vivado")
    assert (folder / "hls_config.cfg").is_file()
    assert (folder / "overlay" / "bundle" / "constants.bin").is_file()


def test_a_run_that_was_asked_for_and_cannot_be_is_an_error(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    without_tools(monkeypatch, ["v++"])
    folder = tmp_path / "fpga"
    assert cli.main(["synth", "bitstream", str(artifact), "-o", str(folder), "--run"]) == 1
    assert "not run: v++ not on PATH" in capsys.readouterr().err
    assert (folder / "Makefile").is_file()


def test_with_vitis_the_last_line_says_how_to_go_on(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    without_tools(monkeypatch, [])
    folder = tmp_path / "fpga"
    assert cli.main(["synth", "bitstream", str(artifact), "-o", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: make -C {folder} bitstream"


def test_a_folder_in_use_is_refused_before_the_work(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the model was compiled")

    monkeypatch.setattr(cache, "open_bundle", fail)
    assert cli.main(["synth", "bitstream", str(artifact), "-o", str(artifact)]) == 1
    assert "is not empty and no project" in capsys.readouterr().err


def test_an_unknown_board_is_named(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["synth", "bitstream", str(artifact), "-o", str(tmp_path / "x"), "--board", "u250"]
    assert cli.main(command) == 1
    assert "unknown board 'u250': choose from zcu104" in capsys.readouterr().err


def test_report_of_a_project_that_was_not_run(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fpga"
    assert cli.main(["synth", "bitstream", str(artifact), "-o", str(folder)]) == 0
    assert cli.main(["synth", "report", str(folder)]) == 1
    assert f"run make -C {folder} hls" in capsys.readouterr().err
