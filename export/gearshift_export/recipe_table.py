"""One table of a recipe, read key by key against an expectation; what is left over is unknown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gearshift.errors import CheckpointError
from gearshift.graph.brief import brief

_REQUIRED = object()


@dataclass(frozen=True)
class Expectation:
    """A test of a value, and the words that tell a reader what would pass it."""

    words: str
    passes: Callable[[Any], bool]


@dataclass
class Table:
    """`where` is the path of the table inside `file`, such as `tasks[1].`."""

    file: str
    where: str
    values: dict[str, Any]
    taken: list[str] = field(default_factory=list)

    def take(self, key: str, expected: Expectation, default: Any = _REQUIRED) -> Any:
        """The value of `key`, or `default` when it is absent.

        Raises:
            CheckpointError: absent without a default, or not as expected.
        """
        self.taken.append(key)
        if key not in self.values:
            if default is _REQUIRED:
                raise self._error(key, "is missing", expected.words)
            return default
        value = self.values[key]
        if not expected.passes(value):
            raise self._error(key, f"is {brief(value)}", expected.words)
        return value

    def table(self, key: str) -> Table:
        """The sub-table `key`, empty when it is absent."""
        value = self.take(key, Expectation("a table", lambda v: isinstance(v, dict)), {})
        return Table(self.file, f"{self.where}{key}.", value)

    def tables(self, key: str) -> list[Table]:
        """The array of tables `[[key]]`, at least one."""
        expected = Expectation(
            f"one or more tables [[{key}]]", lambda v: _is_list_of(v, dict) and len(v) > 0
        )
        values = self.take(key, expected)
        return [
            Table(self.file, f"{self.where}{key}[{i}].", value) for i, value in enumerate(values)
        ]

    def finish(self) -> None:
        """Raises CheckpointError for a key that nothing took."""
        for key, value in self.values.items():
            if key not in self.taken:
                title = key if key.isidentifier() else brief(key)
                raise self._error(title, f"({brief(value)}) is unknown", ", ".join(self.taken))

    def _error(self, key: str, problem: str, words: str) -> CheckpointError:
        return CheckpointError(f"recipe {self.file}: {self.where}{key} {problem}, expected {words}")


def one_of(choices: type[StrEnum]) -> Expectation:
    names = [choice.value for choice in choices]
    return Expectation(f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names)


def triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(entry, kind) for entry in value)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _are_three(values: object, test: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(test(v) for v in values)


def _are_colours(values: object) -> bool:
    return isinstance(values, Iterable) and all(
        _are_three(colour, lambda v: _is_whole(v) and 0 <= v <= 255) for colour in values
    )


POSITIVE = Expectation("a whole number above 0", lambda v: _is_whole(v) and v > 0)
TRUTH = Expectation("true or false", lambda v: isinstance(v, bool))
TEXT = Expectation("a text of one line", _is_line)
TEXTS = Expectation(
    "a list of texts of one line", lambda v: isinstance(v, list) and all(map(_is_line, v))
)
IDENTIFIER = Expectation(
    "a name of letters, digits and _",
    lambda v: isinstance(v, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", v) is not None,
)
FRACTION = Expectation("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1)
ABOVE_ZERO = Expectation("a number above 0", lambda v: _is_number(v) and v > 0)
THREE_NUMBERS = Expectation("three numbers", lambda v: _are_three(v, _is_number))
THREE_ABOVE_ZERO = Expectation(
    "three numbers above 0", lambda v: _are_three(v, lambda n: _is_number(n) and n > 0)
)
COLOURS = Expectation("a list of [red, green, blue], each 0 to 255", _are_colours)
