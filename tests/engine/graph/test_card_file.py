"""A wrong `card.toml`: each fault is named with field, value and what it should be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

Refuse = Callable[..., None]


def nested(levels: int) -> dict[str, Any]:
    """A table in a table in a table."""
    table: dict[str, Any] = {}
    for _ in range(levels):
        table = {"a": table}
    return table


CARDS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "other version": (lambda t: t.update(format_version=2), "format_version 2; this gearshift"),
    "version as text": (lambda t: t.update(format_version="1"), "format_version is '1'"),
    "no version": (lambda t: t.pop("format_version"), "field format_version is missing"),
    "no tasks": (lambda t: t.update(tasks=[]), "want at least one"),
    "a task twice": (lambda t: t["tasks"][1].update(name="rooms"), "and each name once"),
    "unknown field": (lambda t: t.update(eval="x"), "unknown field eval"),
    "unknown task field": (lambda t: t["tasks"][1].update(x=1), "unknown field tasks[1].x"),
    "unknown kind": (lambda t: t["tasks"][0].update(kind="x"), "tasks[0].kind is 'x'; known are"),
    "kind for the rest": (
        lambda t: t["tasks"][0].update(kind="tokens"),
        "'tokens' is for the rest",
    ),
    "empty name": (lambda t: t["tasks"][0].update(name=" "), "tasks[0].name is ' '"),
    "control characters": (lambda t: t.update(name="a\x1b[2J"), "want a printable name"),
    "true is no number": (lambda t: t["tasks"][0].update(channels=True), "channels is True"),
    "no channels": (lambda t: t["tasks"][0].update(channels=0), "channels is 0"),
    "two depths": (lambda t: t["tasks"][1].update(channels=2), "channels is 2; depth has 1"),
    "channels of another model": (
        lambda t: t["tasks"][0].update(channels=3, labels=[]),
        "'rooms' computes ('N', 4, 8)",
    ),
    "labels": (lambda t: t["tasks"][0].update(labels=["a"]), "labels has 1 entries for 4"),
    "labels of numbers": (lambda t: t["tasks"][0].update(labels=[1]), "want a list of strings"),
    "colour": (lambda t: t["tasks"][0].update(colours=[[0, 0, 256]]), "in 0..255"),
    "colours": (lambda t: t["tasks"][0].update(colours=[[0, 0]]), "in 0..255"),
    "mean": (lambda t: t["preprocessing"].update(mean=[0.0]), "want three numbers"),
    "infinite": (lambda t: t["preprocessing"].update(divisor=float("inf")), "a finite number"),
    "huge": (lambda t: t["preprocessing"].update(divisor=10**400), "a finite number"),
    "division by zero": (lambda t: t["preprocessing"].update(divisor=0), "divisor is 0.0; want"),
    "spread": (
        lambda t: t["preprocessing"].update(standard_deviation=[1, 1, -1]),
        "standard_deviation is -1.0; want numbers above 0",
    ),
    "spread that is almost nothing": (
        lambda t: t["preprocessing"].update(standard_deviation=[1, 1, 1e-300]),
        "standard_deviation is 1e-300; want numbers above 0",
    ),
    "more than a float32 holds": (
        lambda t: t["preprocessing"].update(mean=[1e300, 0, 0]),
        "mean is 1e+300; want a finite number",
    ),
    "a picture of terabytes": (
        lambda t: t.update(image_height=2**20),
        "image_height is 1048576, but the model has positions for 3 patches of 8",
    ),
    "sides swapped": (
        lambda t: t.update(image_height=40, image_width=24),
        "image_height is 40, but the model has positions for 3 patches of 8 along it: want 24",
    ),
    "terminal codes in labels": (
        lambda t: t["tasks"][0].update(labels=["a", "b", "c", "\x1b[2J"]),
        "want a list of strings that can be printed",
    ),
    "terminal codes in a unit": (
        lambda t: t["tasks"][1].update(unit="\x1b[2J"),
        "tasks[1].unit is '\\x1b[2J'; want a string that can be printed",
    ),
    "provenance of two lines": (
        lambda t: t["provenance"].update(model="a\nb"),
        "provenance.model is 'a\\nb'; want a string that can be printed",
    ),
    "provenance under terminal codes": (
        lambda t: t["provenance"].update({"\x1b[2J": "a"}),
        "field provenance.'\\x1b[2J' has a name that cannot be printed",
    ),
    "unknown field of two lines": (lambda t: t.update({"a\nb": 1}), "unknown field 'a\\nb'; rem"),
    "metrics without end": (
        lambda t: t["metrics"].update(rooms=nested(20)),
        "at most 16 levels of lists and tables",
    ),
    "metrics that JSON does not know": (
        lambda t: t["metrics"].update(rooms={"value": float("nan")}),
        "metrics.rooms is {'value': nan}; want printable strings, finite numbers",
    ),
    "a date among the metrics": (
        lambda t: t["metrics"].update(rooms=[date(2000, 1, 1)]),
        "metrics.rooms is [datetime.date(2000, 1, 1)]; want printable strings",
    ),
    "size": (lambda t: t.update(image_height=20), "20 is not a multiple of patch_size 8"),
    "provenance": (lambda t: t["provenance"].update(a=1), "provenance.a is 1; want a string"),
    "metrics": (lambda t: t.update(metrics=1), "metrics is 1; want a table"),
    "hash": (
        lambda t: t["files"]["model.onnx"].update(sha256="../x"),
        "files.model.onnx.sha256 is '../x'; want 64 hexadecimal digits",
    ),
    "no files": (lambda t: t.pop("files"), "field files is missing"),
    "other file": (lambda t: t["files"].update(x={}), "unknown field files.x"),
}


@pytest.mark.parametrize("fault", CARDS)
def test_card(fault: str, folder: Path, edit_card: Callable[..., None], refuse: Refuse) -> None:
    change, words = CARDS[fault]
    edit_card(change)
    refuse(words)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"a = ", b"a = " + b"[" * 100_000, b"a = " + b"9" * 10_000]
)
def test_no_toml(content: bytes, folder: Path, refuse: Refuse) -> None:
    (folder / "card.toml").write_bytes(content)
    refuse("card.toml: ", "mend it")


def test_a_name_without_end(folder: Path, refuse: Refuse) -> None:
    path = folder / "card.toml"
    endless = f"name.{'.'.join('a' * 2000)} = 1\n"
    path.write_text(path.read_text().replace('name = "random"\n', endless, 1))
    refuse("field name is dict; want a printable name")
