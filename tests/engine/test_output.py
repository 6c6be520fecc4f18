"""Files are refused before the work and never left half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gearshift.cli import main
from gearshift.commands import kernels_launches
from gearshift.errors import InputError
from gearshift.output import check_file, make_folder, whole_file, whole_folder


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    check_file(tmp_path / "new.json")
    with pytest.raises(InputError, match=r"no/x\.json cannot be written: make the folder .*no fir"):
        check_file(tmp_path / "no" / "x.json")
    with pytest.raises(InputError, match="is a folder: choose another name"):
        check_file(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/x cannot be made .*: choose another"):
        make_folder(tmp_path / "file" / "x")


def test_a_read_only_folder_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so the system's answer is put in its place.
    monkeypatch.setattr(os, "access", lambda folder, mode: (folder, mode) != (tmp_path, os.W_OK))
    with pytest.raises(InputError, match=r"x\.json cannot be written: folder .* is read-only"):
        check_file(tmp_path / "x.json")


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "table.json"
    output.write_text("old")

    def interrupted() -> None:
        with whole_file(output) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert output.read_text() == "old"
    assert list(tmp_path.iterdir()) == [output]
    with whole_file(output) as partial:
        partial.write_text("new")
        assert output.read_text() == "old"
        assert partial.suffix == ".json"
    assert output.read_text() == "new"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "-o"], "make the folder"),
        (["pack", "demo", "--target", "sm_80", "-o"], "cannot be made"),
    ],
)
def test_kernels_are_not_compiled_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(kernels_launches, "check_compiler", lambda: None)
    monkeypatch.setattr(kernels_launches, "compile_programs", lambda *_: pytest.fail("compiled"))
    (tmp_path / "file").write_text("")
    assert main(["kernels", *arguments, str(tmp_path / "file" / "x")]) == 1
    assert message in capsys.readouterr().err


def test_an_old_folder_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    output = tmp_path / "made" / "model"
    with whole_folder(output) as new:
        (new / "one").write_text("old")

    def interrupted() -> None:
        with whole_folder(output) as new:
            (new / "two").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (output / "one").read_text() == "old"
    with whole_folder(output) as new:
        (new / "two").write_text("new")
    assert [path.name for path in output.iterdir()] == ["two"]
    assert list(output.parent.iterdir()) == [output]
