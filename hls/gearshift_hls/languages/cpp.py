"""`contract.h`: the contract in C++14."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from gearshift_hls import descriptor, fixed_point
from gearshift_hls.languages.facts import (
    BUILDS,
    ENUMS,
    FIELDS,
    ITEM_BYTES,
    NOTICE,
    NUMBERS,
    RECORDS,
    TABLES,
    build_numbers,
    docs,
    first_paragraph,
    lower_name,
    record_numbers,
    register_numbers,
    rows_of,
    table,
    with_fields,
    words,
)


def header() -> str:
    """`contract.h`."""
    return "\n".join(
        [
            f"// {NOTICE}",
            "#pragma once",
            "",
            "#include <cstdint>",
            "",
            "namespace gearshift {",
            *_numbers(),
            *_enums(),
            *_words(),
            *_records(),
            *_registers(),
            *_builds(),
            *_limits(),
            *_tables(),
            "",
            "}  // namespace gearshift",
            "",
        ]
    )


def _numbers() -> Iterator[str]:
    yield ""
    for module, name in NUMBERS:
        yield f"constexpr std::uint32_t {name} = {_number(getattr(module, name))};"


def _number(value: int) -> str:
    return f"{value:#x}u" if value >= 1 << 31 else str(value)


def _enums() -> Iterator[str]:
    yield from _enum("Opcode", [(each.__name__, each.opcode) for each in descriptor.COMMANDS])
    for name, kind in ENUMS.items():
        yield from _enum(name, [(each.name, int(each)) for each in kind])
    bytes_each = ", ".join(map(str, ITEM_BYTES))
    yield ""
    yield "// By Format."
    yield f"constexpr std::uint32_t ITEM_BYTES[{len(ITEM_BYTES)}] = {{{bytes_each}}};"


def _enum(name: str, members: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield ""
    yield f"enum class {name} : std::uint32_t {{"
    for member, value in members:
        yield f"    {member} = {value},"
    yield "};"


def _words() -> Iterator[str]:
    yield ""
    yield "// Words of a descriptor; word 0 is the opcode."
    for command in with_fields():
        yield from _namespace(
            lower_name(command), {each.name: word for word, each in words(command)}
        )


def _records() -> Iterator[str]:
    yield ""
    yield "// Bytes from the start of a record."
    for name, dtype in RECORDS.items():
        yield from _namespace(name, record_numbers(dtype))


def _registers() -> Iterator[str]:
    yield ""
    yield "// Byte offsets of the control registers."
    yield from _namespace("registers", register_numbers())


def _namespace(name: str, numbers: dict[str, int]) -> Iterator[str]:
    yield f"namespace {name} {{"
    for each, value in numbers.items():
        yield f"constexpr int {each} = {value};"
    yield f"}}  // namespace {name}"


def _builds() -> Iterator[str]:
    for name, given in BUILDS.items():
        yield ""
        yield f"struct {name} {{"
        for each, value in build_numbers(given).items():
            yield f"    static constexpr int {each} = {value};"
        yield "};"


def _limits() -> Iterator[str]:
    """The limits of every field, as a function, since some are those of a build."""
    unused = "{0, 0xffffffffu, false}"
    yield from (
        "",
        "// What a field of a descriptor may hold.",
        "struct Limit {",
        "    std::uint32_t least;",
        "    std::uint32_t most;",
        "    bool lanes;  // a multiple of channel_multiple",
        "};",
        "",
        f"constexpr int COMMANDS = {len(descriptor.COMMANDS)};",
        f"constexpr int FIELDS = {FIELDS};  // of the command that has most; behind are zeros",
        "",
        "// The limits of word `word` (1 .. FIELDS) of the command `opcode` (below COMMANDS).",
        "template <class Build>",
        "inline Limit limit(int opcode, int word) {",
        "    static const Limit limits[COMMANDS][FIELDS] = {",
    )
    for command in descriptor.COMMANDS:
        yield f"        {{  // {command.__name__}"
        for each in fields(command):
            yield f"            {_limit(each.metadata)},  // {each.name}"
        yield from [f"            {unused},"] * (FIELDS - len(fields(command)))
        yield "        },"
    yield "    };"
    yield "    return limits[opcode][word - 1];"
    yield "}"


def _limit(limits: Any) -> str:
    most = limits["most"]
    text = f"Build::{most}" if isinstance(most, str) else f"{most:#x}u"
    return f"{{{limits['least']}, {text}, {str(limits['lanes']).lower()}}}"


def _tables() -> Iterator[str]:
    texts = docs(fixed_point)
    for name in TABLES:
        entries = table(name)
        yield ""
        yield f"// {first_paragraph(texts[name])}"
        yield f"constexpr std::int32_t {name}[{len(entries)}] = {{"
        yield from (f"    {row}" for row in rows_of([str(value) for value in entries]))
        yield "};"
