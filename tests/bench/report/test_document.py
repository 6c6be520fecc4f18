"""Documents from strangers are checked before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gearshift.errors import InputError
from gearshift_bench.report.document import (
    MOST_BYTES,
    check_document,
    read_document,
    write_document,
)

from .conftest import make_document, make_record, make_run


def test_documents_of_these_tests_follow_the_schema() -> None:
    assert check_document(make_document()) == make_document()


def test_text_that_cannot_be_printed_is_replaced() -> None:
    found = check_document(make_document([make_run("a\x00b\ud800c\ue000")]))
    assert found["runs"][0]["task"] == "a\ufffdb\ufffdc\ue000"


SPOILT: dict[str, Callable[[dict[str, Any]], None]] = {
    "format": lambda document: document.update(format="other"),
    "version": lambda document: document.update(version=99),
    "runs": lambda document: document.pop("runs"),
    "runs[0].latency.median": lambda document: document["runs"][0]["latency"].update(median="1"),
    "runs[0].seconds": lambda document: document["runs"][0].update(seconds=[-1.0]),
    "machine": lambda document: document.update(machine=[]),
    "accuracy[0].value": lambda document: document.update(accuracy=[make_record(value="0.5")]),
    "accuracy[0]": lambda document: document.update(accuracy=[{"task": "depth"}]),
}


@pytest.mark.parametrize("place", SPOILT)
def test_what_the_schema_refuses_is_named(place: str) -> None:
    document = make_document()
    SPOILT[place](document)
    with pytest.raises(InputError, match=r"not as in a result of gearshift bench") as caught:
        check_document(document)
    assert place.rpartition(".")[2].partition("[")[0] in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_other_json_is_no_document(document: object) -> None:
    with pytest.raises(InputError, match="document"):
        check_document(document)


@pytest.mark.parametrize("figure", [float("inf"), float("nan"), 1e31, 10**400, 1e-31])
def test_figures_that_no_axis_holds_are_refused(figure: float) -> None:
    document = make_document()
    document["runs"][0]["throughput"] = figure
    with pytest.raises(InputError):
        check_document(document)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b'{"runs": NaN}', "NaN is no number of JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "not as in a result"),
    ],
)
def test_files_that_are_no_result(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_document(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_result_nested_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    document = json.dumps(make_document()).replace(
        '"cores"', f'"more": {"[" * 900}{"]" * 900}, "cores"'
    )
    path.write_text(document)
    with pytest.raises(InputError, match="nested too deeply"):
        read_document(path)


def test_a_file_that_is_too_large_for_a_result(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as sparse:
        sparse.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match=r"has more than 256,000,000 bytes: that is no result$"):
        read_document(path)


def test_a_device_is_not_read() -> None:
    with pytest.raises(InputError, match=r"^/dev/zero cannot be read: it is not a file$"):
        read_document("/dev/zero")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_document(tmp_path / "result.json")


def test_reading_gives_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    document = make_document(accuracy=[make_record()])
    write_document(document, path)
    assert read_document(path) == document
    assert list(tmp_path.iterdir()) == [path]
