"""`gearshift_pkg.sv`: the contract as a SystemVerilog package."""

from __future__ import annotations

from collections.abc import Iterator

from gearshift_hls import descriptor, fixed_point, registers
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


def package() -> str:
    """`gearshift_pkg.sv`."""
    return "\n".join(
        [
            f"// {NOTICE}",
            "package gearshift_pkg;",
            *_numbers(),
            *_enums(),
            *_names(),
            *_builds(),
            *_limits(),
            *_tables(),
            "",
            "endpackage",
            "",
        ]
    )


def _number(name: str, value: int) -> str:
    number = f"32'h{value:x}" if value >= 1 << 31 else str(value)
    return f"  localparam int unsigned {name} = {number};"


def _numbers() -> Iterator[str]:
    yield ""
    for module, name in NUMBERS:
        yield _number(name, getattr(module, name))


def _enums() -> Iterator[str]:
    opcodes = [(f"OP_{lower_name(each).upper()}", each.opcode) for each in descriptor.COMMANDS]
    yield from _enum("opcode_t", opcodes)
    for name, kind in ENUMS.items():
        members = [(f"{name.upper()}_{each.name}", int(each)) for each in kind]
        yield from _enum(f"{name.lower()}_t", members)
    counters = [f"COUNTER_{name.upper()}" for name in registers.COUNTER_NAMES]
    yield from _enum("counter_t", [(name, place) for place, name in enumerate(counters)])
    yield ""
    yield _number("COUNTERS", len(counters))
    bytes_each = ", ".join(map(str, ITEM_BYTES))
    yield ""
    yield "  // By format."
    yield f"  localparam int unsigned ITEM_BYTES [{len(ITEM_BYTES)}] = '{{{bytes_each}}};"


def _enum(name: str, members: list[tuple[str, int]]) -> Iterator[str]:
    yield ""
    yield "  typedef enum logic [7:0] {"
    for place, (member, value) in enumerate(members, 1):
        yield f"    {member} = {value}" + ("," if place < len(members) else "")
    yield f"  }} {name};"


def _names() -> Iterator[str]:
    """Words of commands, offsets in records and registers, each with a prefix."""
    groups = {
        f"WORD_{lower_name(command)}": {each.name: word for word, each in words(command)}
        for command in with_fields()
    }
    groups |= {name: record_numbers(each) for name, each in RECORDS.items()}
    groups["register"] = register_numbers()
    for group, numbers in groups.items():
        yield ""
        for each, value in numbers.items():
            yield _number(f"{group}_{each}".upper(), value)


def _builds() -> Iterator[str]:
    numbers = {name: build_numbers(given) for name, given in BUILDS.items()}
    yield ""
    yield "  typedef struct packed {"
    yield from (f"    int unsigned {each};" for each in next(iter(numbers.values())))
    yield "  } build_t;"
    for name, values in numbers.items():
        yield ""
        yield f"  localparam build_t {name.removesuffix('Build').upper()}_BUILD = '{{"
        yield ",\n".join(f"    {each}: {value}" for each, value in values.items())
        yield "  };"


def _limits() -> Iterator[str]:
    yield from (
        "",
        "  // What a field of a descriptor may hold; `lanes`: a multiple of channel_multiple.",
        "  typedef struct packed {",
        "    logic [31:0] least;",
        "    logic [31:0] most;",
        "    logic lanes;",
        "  } limit_t;",
        "",
        f"  localparam int unsigned COMMANDS = {len(descriptor.COMMANDS)};",
        f"  localparam int unsigned FIELDS = {FIELDS};",
        "",
        "  // The limits of word `place` of the command `opcode`.",
        "  function automatic limit_t limit(build_t given, logic [7:0] opcode, logic [4:0] place);",
        "    case ({opcode, 3'b0, place})",
    )
    for command in with_fields():
        for word, each in words(command):
            most, lanes = each.metadata["most"], int(each.metadata["lanes"])
            text = f"given.{most}" if isinstance(most, str) else f"32'h{most:x}"
            limits = f"'{{32'd{each.metadata['least']}, {text}, 1'b{lanes}}}"
            label = f"16'h{command.opcode:02x}{word:02x}"
            yield f"      {label}: return {limits};  // {lower_name(command)} {each.name}"
    yield "      default: return '{32'd0, 32'hffffffff, 1'b0};"
    yield "    endcase"
    yield "  endfunction"


def _tables() -> Iterator[str]:
    texts = docs(fixed_point)
    for name in TABLES:
        entries = table(name)
        bits = int(entries.max()).bit_length()
        yield ""
        yield f"  // {first_paragraph(texts[name])}"
        yield f"  localparam logic [{bits - 1}:0] {name} [{len(entries)}] = '{{"
        yield from (f"    {row}" for row in rows_of([f"{bits}'d{value}" for value in entries]))
        yield "  };"
