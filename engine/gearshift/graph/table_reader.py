"""Reads untrusted TOML field by field, and complains about what is wrong or left over."""

from __future__ import annotations

import sys
from typing import Any

from gearshift.errors import ArtifactError
from gearshift.graph.brief import brief


class TableReader:
    """Takes fields out of one table; every method raises ArtifactError naming field and value."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self.where = where
        """Prefix of the table's fields in messages: `tasks[1].`, or empty for the whole file."""
        self._rest = dict(table)

    def finish(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._rest:
            raise ArtifactError(f"unknown field {self.where}{next(iter(self._rest))}; remove it")

    def text(self, name: str, default: str | None = None) -> str:
        value = self._take(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def label(self, name: str) -> str:
        """A name that people read and type: not empty, printable."""
        value = self.text(name)
        if not value.strip() or not value.isprintable():
            raise self._wrong(name, value, "a printable name")
        return value

    def integer(self, name: str, least: int) -> int:
        value = self._take(name)
        if type(value) is not int or not least <= value < 2**63:
            raise self._wrong(name, value, f"a whole number of at least {least}")
        return value

    def number(self, name: str, default: float) -> float:
        return self._number(name, self._take(name, default))

    def triple(self, name: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
        """Three numbers, one a channel."""
        value = self._take(name, default)
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise self._wrong(name, value, "three numbers")
        red, green, blue = (self._number(name, item) for item in value)
        return red, green, blue

    def labels(self, name: str) -> list[str]:
        value = self._take(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of strings")
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
        """All remaining fields, which must be strings."""
        return {name: self.text(name) for name in list(self._rest)}

    def everything(self) -> dict[str, Any]:
        """All remaining fields, of any type."""
        rest, self._rest = self._rest, {}
        return rest

    def _take(self, name: str, default: object = None) -> Any:
        value = self._rest.pop(name, default)
        if value is None:
            raise ArtifactError(f"field {self.where}{name} is missing")
        return value

    def _number(self, name: str, value: object) -> float:
        # A whole number may have more digits than a float can hold.
        largest = sys.float_info.max
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        if not -largest <= value <= largest:
            raise self._wrong(name, value, "a finite number")
        return float(value)

    def _wrong(self, name: str, value: object, wanted: str) -> ArtifactError:
        return ArtifactError(f"field {self.where}{name} is {brief(value)}; want {wanted}")
