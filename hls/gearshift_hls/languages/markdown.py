"""`descriptors.md`: the contract as the tables of the documentation."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from gearshift_hls import build, descriptor, fixed_point, records, registers
from gearshift_hls.build import Build
from gearshift_hls.languages.facts import (
    BUILDS,
    DERIVED,
    NOTICE,
    RECORDS,
    REGISTERS,
    build_numbers,
    docs,
    first_paragraph,
    record_numbers,
    words,
)


def documentation() -> str:
    """`descriptors.md`."""
    parts = [
        f"<!-- {NOTICE} -->",
        "# The accelerator's contract",
        _text(descriptor).split("\n\n", 2)[2],
        *(_command(command) for command in descriptor.COMMANDS),
        "## Status",
        _text(descriptor.Status),
        _enum("Status", descriptor.Status),
        "## Formats of a product's result",
        _enum("Format", descriptor.Format),
        "## Number formats",
        _text(fixed_point).split("\n\n", 1)[1],
        "## Parameter records",
        _records(),
        "## Registers",
        _registers(),
        "## Builds",
        _builds(),
    ]
    return "\n\n".join(parts) + "\n"


def _text(thing: object) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def _table(head: list[str], rows: Iterable[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _command(command: type[descriptor.Command]) -> str:
    title = f"## {command.opcode} {command.__name__}"
    text = _text(command)
    rows = [
        [word, f"`{each.name}`", _limit(each.metadata), each.metadata["text"]]
        for word, each in words(command)
    ]
    table = _table(["word", "field", "limits", "meaning"], rows)
    return "\n\n".join([title, text, table] if rows else [title, text])


def _limit(limits: Any) -> str:
    least, most = limits["least"], limits["most"]
    if most == 0xFFFFFFFF:
        return f"from {least}" if least else ""
    text = f"{least} .. " + (f"`{most}`" if isinstance(most, str) else f"{most:,}")
    return text + ", a multiple of `channel_multiple`" if limits["lanes"] else text


def _enum(name: str, kind: type[Any]) -> str:
    texts = docs(descriptor)
    rows = [
        [int(each), each.name, first_paragraph(texts.get(f"{name}.{each.name}"))] for each in kind
    ]
    return _table(["value", "name", "meaning"], rows)


def _records() -> str:
    texts = docs(records)
    rows = []
    for dtype in RECORDS.values():
        record = getattr(records, dtype)
        layout = [
            f"{name} {record[name]} at {place}"
            for name, place in record_numbers(dtype).items()
            if name != "bytes"
        ]
        text = first_paragraph(texts[dtype]).rstrip(".")
        rows.append([text, ", ".join(layout), f"{record.itemsize} bytes"])
    return _table(["record", "fields", "size"], rows)


def _registers() -> str:
    texts = docs(registers)
    rows = [
        [f"0x{getattr(registers, name):02x}", name, first_paragraph(texts.get(name))]
        for name in REGISTERS
    ]
    rows[0][2] = "bit 0 start, 1 done, 2 idle, 3 ready; done and ready are cleared by reading"
    offsets = registers.offsets()
    rows += [
        [f"0x{offsets[each.name]:02x}", f"`{each.name}`", f"{each.text} ({each.bits} bits)"]
        for each in registers.ARGUMENTS
    ]
    rows += [
        [f"0x{place:03x}", f"`{name}`", f"RTL only: {registers.COUNTER_NAMES[name]}"]
        for name, place in registers.counter_offsets().items()
    ]
    return _table(["offset", "register", "meaning"], rows)


def _builds() -> str:
    texts = docs(build)
    numbers = [build_numbers(given) for given in BUILDS.values()]
    rows = [
        [f"`{name}`", *(f"{each[name]:,}" for each in numbers), _build_text(texts, name)]
        for name in numbers[0]
    ]
    return _table(["limit", *BUILDS, "meaning"], rows)


def _build_text(texts: dict[str, str], name: str) -> str:
    text = getattr(Build, name).__doc__ if name in DERIVED else texts.get(f"Build.{name}")
    return first_paragraph(text)
