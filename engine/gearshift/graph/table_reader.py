"""Reads untrusted TOML field by field, and complains about what is wrong or left over."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np

from gearshift.errors import ArtifactError
from gearshift.graph.brief import brief

_DEEPEST = 16
"""Levels of tables and lists in free-form fields."""

_LARGEST = float(np.finfo(np.float32).max)
"""Numbers are computed with in float32."""


class TableReader:
    """Takes fields out of one table; every method raises ArtifactError naming field and value."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self.where = where
        """Prefix of the table's fields in messages: `tasks[1].`, or empty for the whole file."""
        self._rest = dict(table)

    @classmethod
    def from_toml(cls, content: bytes) -> TableReader:
        """Of a whole file."""
        try:
            return cls(tomllib.loads(content.decode()), "")
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"not TOML: {error}") from None

    def finish(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._rest:
            raise ArtifactError(f"unknown field {self._title(next(iter(self._rest)))}; remove it")

    def text(self, name: str, default: str | None = None) -> str:
        value = self._take(name, default)
        if not _is_text(value):
            raise self._wrong(name, value, "a string that can be printed")
        return str(value)

    def label(self, name: str) -> str:
        """A name that people read and type: not empty, printable."""
        value = self._take(name)
        if not _is_text(value) or not value.strip():
            raise self._wrong(name, value, "a printable name")
        return str(value)

    def integer(self, name: str, least: int) -> int:
        value = self._take(name)
        if type(value) is not int or not least <= value < 2**63:
            raise self._wrong(name, value, f"a whole number of at least {least}")
        return value

    def integers(self, name: str, least: int) -> tuple[int, ...]:
        """A list of whole numbers, not empty."""
        value = self._take(name)
        if (
            not isinstance(value, list)
            or not value
            or not all(type(item) is int and least <= item < 2**63 for item in value)
        ):
            raise self._wrong(name, value, f"a list of whole numbers of at least {least}")
        return tuple(value)

    def number(self, name: str, default: float | None = None) -> float:
        return self._number(name, self._take(name, default))

    def triple(
        self, name: str, default: tuple[float, float, float] | None = None
    ) -> tuple[float, float, float]:
        """Three numbers, one a channel."""
        value = self._take(name, default)
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise self._wrong(name, value, "three numbers")
        red, green, blue = (self._number(name, item) for item in value)
        return red, green, blue

    def labels(self, name: str) -> list[str]:
        value = self._take(name, [])
        if not isinstance(value, list) or not all(map(_is_text, value)):
            raise self._wrong(name, value, "a list of strings that can be printed")
        return value

    def colours(self, name: str) -> list[tuple[int, int, int]]:
        value = self._take(name, [])
        wanted = "a list of [red, green, blue] in 0..255"
        if not isinstance(value, list):
            raise self._wrong(name, value, wanted)
        for colour in value:
            if not isinstance(colour, list) or len(colour) != 3:
                raise self._wrong(name, value, wanted)
            if not all(type(part) is int and 0 <= part <= 255 for part in colour):
                raise self._wrong(name, value, wanted)
        return [(red, green, blue) for red, green, blue in value]

    def table(self, name: str) -> TableReader:
        value = self._take(name)
        if not isinstance(value, dict):
            raise self._wrong(name, value, "a table")
        return TableReader(value, f"{self.where}{name}.")

    def tables(self, name: str) -> list[TableReader]:
        value = self._take(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(name, value, "a list of tables")
        return [TableReader(item, f"{self.where}{name}[{i}].") for i, item in enumerate(value)]

    def texts(self) -> dict[str, str]:
        """All remaining fields, which must be strings under names that can be printed."""
        if odd := next((name for name in self._rest if not name.isprintable()), None):
            raise ArtifactError(f"field {self._title(odd)} has a name that cannot be printed")
        return {name: self.text(name) for name in list(self._rest)}

    def everything(self) -> dict[str, Any]:
        """All remaining fields: tables and lists of what JSON knows and people can read."""
        rest, self._rest = self._rest, {}
        for name, value in rest.items():
            if not name.isprintable() or not _is_plain(value, _DEEPEST):
                raise self._wrong(
                    name,
                    value,
                    f"printable strings, finite numbers, truths, and at most {_DEEPEST} levels of "
                    "lists and tables of them",
                )
        return rest

    def _take(self, name: str, default: object = None) -> Any:
        value = self._rest.pop(name, default)
        if value is None:
            raise ArtifactError(f"field {self._title(name)} is missing")
        return value

    def _number(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        if not -_LARGEST <= value <= _LARGEST:
            raise self._wrong(name, value, "a finite number of float32")
        return float(value)

    def _wrong(self, name: str, value: object, wanted: str) -> ArtifactError:
        return ArtifactError(f"field {self._title(name)} is {brief(value)}; want {wanted}")

    def _title(self, name: str) -> str:
        """The field's full name; a stranger's own words are quoted where they are not plain."""
        return self.where + (name if name.isidentifier() else brief(name))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_plain(value: object, levels: int) -> bool:
    """Whether a value of a free-form field can be shown as text and as JSON."""
    if isinstance(value, dict | list):
        names, items = (value, value.values()) if isinstance(value, dict) else ((), value)
        return (
            levels > 0
            and all(map(_is_text, names))
            and all(_is_plain(item, levels - 1) for item in items)
        )
    if isinstance(value, int | float):
        return -_LARGEST <= value <= _LARGEST
    return _is_text(value)
