"""What all languages say of the contract: which names, and how to read them off the modules."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_hls import build, descriptor, fixed_point, records, registers
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD, SMALL_BUILD, Build
from gearshift_hls.descriptor import Command

NOTICE = "Generated from the contract by `python -m gearshift_hls.generate`; do not edit."

BUILDS = {"Zcu104Build": ZCU104.build, "SmallBuild": SMALL_BUILD, "RtlBuild": RTL_BUILD}

DERIVED = ("channel_multiple", "port_lanes")
"""Properties of a build that become constants."""

NUMBERS: tuple[tuple[ModuleType, str], ...] = (
    (build, "BEAT_BYTES"),
    (build, "CHANNEL_BYTES"),
    (descriptor, "WORDS"),
    (descriptor, "DESCRIPTOR_BYTES"),
    (descriptor, "ALIGNMENT"),
    (descriptor, "SCRATCH"),
    (descriptor, "HEAD_BYTES"),
    (descriptor, "NORM_BYTES"),
    (descriptor, "MAX_SHIFT"),
    (descriptor, "MAX_ROWS"),
    (fixed_point, "VALUE_BITS"),
    (fixed_point, "RESIDUAL_BITS"),
    (fixed_point, "SCORE_BITS"),
)
"""Constants of the modules, by name."""

TABLES = ("GELU_TABLE", "POWER_TABLE", "ROOT_TABLE")
"""Of `fixed_point`."""

RECORDS = {
    "norm_record": "NORM",
    "channel_record": "CHANNEL",
    "head_record": "HEAD",
    "entry_record": "ENTRY",
}
"""Names in `records`, by their names elsewhere."""

REGISTERS = ("CONTROL", "GLOBAL_INTERRUPT", "INTERRUPT_ENABLE", "INTERRUPT_STATUS", "RETURN")
"""Of `registers`, before the arguments."""

ENUMS = {"Status": descriptor.Status, "Format": descriptor.Format}

ITEM_BYTES = [descriptor.ITEM_BYTES[each] for each in descriptor.Format]

FIELDS = max(len(fields(command)) for command in descriptor.COMMANDS)
"""Of the command that has most."""


def docs(module: ModuleType) -> dict[str, str]:
    """The strings that stand behind assignments, by name: `NAME` or `Class.NAME`."""
    return dict(_docs(ast.parse(inspect.getsource(module)).body, ""))


def _docs(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str]]:
    for statement, behind in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.ClassDef):
            yield from _docs(statement.body, f"{statement.name}.")
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        text = getattr(getattr(behind, "value", None), "value", None)
        if isinstance(targets[0], ast.Name) and isinstance(text, str):
            yield prefix + targets[0].id, inspect.cleandoc(text)


def first_paragraph(text: str | None) -> str:
    """In one line."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


def words(command: type[Command]) -> Iterator[tuple[int, Any]]:
    """A command's fields and the words they stand in."""
    return enumerate(fields(command), 1)


def lower_name(command: type[Command]) -> str:
    return command.__name__.lower()


def with_fields() -> list[type[Command]]:
    """All commands but `End`."""
    return [command for command in descriptor.COMMANDS if fields(command)]


def build_numbers(given: Build) -> dict[str, int]:
    names = [each.name for each in fields(Build)]
    return {name: getattr(given, name) for name in (*names, *DERIVED)}


def record_numbers(name: str) -> dict[str, int]:
    """Offsets of the fields of a record in `records`, and its size."""
    dtype: np.dtype[Any] = getattr(records, name)
    used = {name: place[1] for name, place in (dtype.fields or {}).items() if "unused" not in name}
    return used | {"bytes": dtype.itemsize}


def register_numbers() -> dict[str, int]:
    """Byte offsets of all registers, in order; `return` is a word of C++."""
    fixed = {name.lower(): getattr(registers, name) for name in REGISTERS}
    fixed["return_value"] = fixed.pop("return")
    return fixed | registers.offsets() | {"counters": registers.COUNTERS}


def table(name: str) -> NDArray[np.int64]:
    found: NDArray[np.int64] = getattr(fixed_point, name)
    return found


def rows_of(items: list[str], columns: int = 10) -> Iterator[str]:
    """Items between commas, in rows of some."""
    for start in range(0, len(items), columns):
        comma = "," if start + columns < len(items) else ""
        yield ", ".join(items[start : start + columns]) + comma
