"""`gearshift bench report`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gearshift.errors import InputError
from gearshift_bench.commands import report

from .conftest import make_document, make_run


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return report.run(parser.parse_args(list(map(str, words))))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(make_document([make_run("a task of its own")])))
    return path


def test_a_report_stands_beside_its_result(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(result) == 0
    page = result.with_suffix(".html")
    assert "a task of its own" in page.read_text("utf-8")
    assert capsys.readouterr().out == f"wrote {page}\n"


def test_page_and_pictures_where_one_wants_them(result: Path, tmp_path: Path) -> None:
    page, pictures = tmp_path / "page.html", tmp_path / "pictures"
    assert run(result, "-o", page, "--plots", pictures) == 0
    assert page.exists()
    assert (pictures / "latency.svg").exists()
    assert (pictures / "latency.png").exists()
    assert not result.with_suffix(".html").exists()


def test_a_file_that_is_no_result_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("[]")
    with pytest.raises(InputError, match="not as in a result"):
        run(path)
    assert list(tmp_path.iterdir()) == [path]
