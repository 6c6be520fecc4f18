"""`card.toml`: the card, the format's version, and the size and hash of the other two files."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any

import tomli_w

from gearshift.errors import ArtifactError
from gearshift.graph.card import (
    CHANNELS_OF_KIND,
    FORMAT_VERSION,
    Card,
    Preprocessing,
    TaskCard,
    TaskKind,
)
from gearshift.graph.layout import MODEL_FILE, WEIGHTS_FILE
from gearshift.graph.table_reader import TableReader

_LEAST_DIVISOR = 1e-6
"""Less is no picture's spread, and would in the end be a division by zero."""


@dataclass(frozen=True)
class FileRecord:
    """What the card says about another file of the artifact."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""


@dataclass(frozen=True)
class CardFile:
    """The whole of `card.toml`."""

    card: Card
    model: FileRecord
    weights: FileRecord


def check_card(card: Card) -> None:
    """Whether `card.toml` can hold this card and will be read again.

    Raises:
        ArtifactError: naming the field, its value and what it should be.
    """
    reader = TableReader.from_toml(_to_toml(card))
    reader.integer("format_version", least=FORMAT_VERSION)
    _read_card(reader)


def card_to_toml(content: CardFile) -> bytes:
    """The bytes of `card.toml`, for a card that `check_card` accepts."""
    files = {MODEL_FILE: asdict(content.model), WEIGHTS_FILE: asdict(content.weights)}
    return _to_toml(content.card, files=files)


def card_from_toml(text: bytes) -> CardFile:
    """Read and check the bytes of `card.toml`.

    Raises:
        ArtifactError: not TOML, another format version, or a field that is missing, unknown, of
            the wrong type or out of range; the message names the field and its value.
    """
    reader = TableReader.from_toml(text)
    version = reader.integer("format_version", least=0)
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"format_version {version}; this gearshift reads version {FORMAT_VERSION}: export "
            "the model again, or install the gearshift that wrote it"
        )
    files = reader.table("files")
    model, weights = (_file_record(files.table(name)) for name in (MODEL_FILE, WEIGHTS_FILE))
    files.finish()
    return CardFile(_read_card(reader), model, weights)


def _to_toml(card: Card, **more: Any) -> bytes:
    table = {
        "name": card.name,
        "image_height": card.image_height,
        "image_width": card.image_width,
        "preprocessing": asdict(card.preprocessing),
        "tasks": [_task_table(task) for task in card.tasks],
        "provenance": dict(card.provenance),
        "metrics": dict(card.metrics),
    }
    try:
        return tomli_w.dumps({"format_version": FORMAT_VERSION, **table, **more}).encode()
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the card cannot be written as TOML: {error}") from None


def _read_card(reader: TableReader) -> Card:
    card = Card(
        name=reader.label("name"),
        image_height=reader.integer("image_height", least=1),
        image_width=reader.integer("image_width", least=1),
        tasks=tuple(_task(task) for task in reader.tables("tasks")),
        preprocessing=_preprocessing(reader.table("preprocessing")),
        provenance=reader.table("provenance").texts(),
        metrics=reader.table("metrics").everything(),
    )
    reader.finish()
    names = [task.name for task in card.tasks]
    if not names or len(set(names)) < len(names):
        raise ArtifactError(f"tasks are named {names}; want at least one, and each name once")
    return card


def _task_table(task: TaskCard) -> dict[str, Any]:
    """The task's fields, without those that stand at their defaults."""
    pairs = ((field, getattr(task, field.name)) for field in fields(task))
    return {field.name: value for field, value in pairs if value != field.default}


def _task(reader: TableReader) -> TaskCard:
    kind_name = reader.text("kind")
    if kind_name not in set(TaskKind):
        kinds = ", ".join(TaskKind)
        raise ArtifactError(f"{reader.where}kind is {kind_name!r}; known are {kinds}")
    kind = TaskKind(kind_name)
    task = TaskCard(
        name=reader.label("name"),
        kind=kind,
        channels=reader.integer("channels", least=1),
        labels=tuple(reader.labels("labels")),
        colours=tuple(reader.colours("colours")),
        unit=reader.text("unit", ""),
        threshold=reader.number("threshold", TaskCard.threshold),
    )
    reader.finish()
    wanted = CHANNELS_OF_KIND.get(kind, task.channels)
    if task.channels != wanted:
        raise ArtifactError(f"{reader.where}channels is {task.channels}; {kind} has {wanted}")
    for field, count in (("labels", len(task.labels)), ("colours", len(task.colours))):
        if count not in (0, task.channels):
            raise ArtifactError(
                f"{reader.where}{field} has {count} entries for {task.channels} channels; "
                "want one a channel, or none"
            )
    return task


def _preprocessing(reader: TableReader) -> Preprocessing:
    default = Preprocessing()
    result = Preprocessing(
        divisor=reader.number("divisor", default.divisor),
        mean=reader.triple("mean", default.mean),
        standard_deviation=reader.triple("standard_deviation", default.standard_deviation),
    )
    reader.finish()
    for field, value in (
        ("divisor", result.divisor),
        ("standard_deviation", min(result.standard_deviation)),
    ):
        if value < _LEAST_DIVISOR:
            raise ArtifactError(
                f"{reader.where}{field} is {value}; want numbers above 0, at least {_LEAST_DIVISOR}"
            )
    return result


def _file_record(reader: TableReader) -> FileRecord:
    record = FileRecord(reader.integer("size", least=1), reader.text("sha256"))
    reader.finish()
    if not re.fullmatch("[0-9a-f]{64}", record.sha256):
        raise ArtifactError(
            f"{reader.where}sha256 is {record.sha256!r}; want 64 hexadecimal digits"
        )
    return record
