"""A design in RTLIL, Yosys's own text form, with one module for all instances that are alike.

Slang makes a module of every instance. What is alike is synthesised once; counts are multiplied.
Source of the form: YosysHQ, "Yosys documentation", chapter "RTLIL text representation".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

BLOCK = re.compile(r"^module (\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
CELL = re.compile(r"^(\s*cell )(\\\S+)( )", re.MULTILINE)
SOURCE = re.compile(r"^\s*attribute \\src .*\n", re.MULTILINE)
ATTRIBUTE = re.compile(r"^\s*attribute .*\n", re.MULTILINE)
NUMBER = re.compile(r"\$\d+")
PORT = re.compile(r"^  wire .*\b(?:input|output|inout) \d+ .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Hierarchy:
    """Modules by name, and who is where."""

    top: str
    texts: Mapping[str, str]
    """RTLIL of a module, with its header and end; instances name modules that are here."""
    children: Mapping[str, Counter[str]]
    """Of a module: its modules and how many instances of each."""
    paths: Mapping[str, str]
    """A module that was one instance's: where that was, such as `norm_unit`."""

    def alone(self, name: str) -> str:
        """This module: the same text wherever it comes from and whatever else the design holds."""
        return _renumbered(SOURCE.sub("", self.texts[name]))

    def stub(self, name: str) -> str:
        """Its ports alone."""
        wires = "".join(PORT.findall(self.texts[name]))
        return f"attribute \\blackbox 1\nmodule {name}\n{wires}end\n"

    @cached_property
    def heights(self) -> dict[str, int]:
        """Modules below each, on the longest way down; those of a height are never in another."""
        found: dict[str, int] = {}

        def visit(name: str) -> int:
            if name not in found:
                found[name] = 1 + max(map(visit, self.children[name]), default=-1)
            return found[name]

        visit(self.top)
        return found


def unify(rtlil: str, top: str) -> Hierarchy:
    """The design with equal modules made one: the name of the first stays.

    Args:
        rtlil: what `write_rtlil` wrote after slang.
    """
    blocks = {match[1]: match for match in BLOCK.finditer(rtlil)}
    name_of: dict[str, str] = {}
    texts: dict[str, str] = {}
    children: dict[str, Counter[str]] = {}
    known: dict[str, str] = {}

    @cache
    def visit(name: str) -> str:
        found: Counter[str] = Counter()

        def rename(match: re.Match[str]) -> str:
            if match[2] not in blocks:
                return match[0]
            child = visit(match[2])
            found[child] += 1
            return f"{match[1]}{child}{match[3]}"

        body = CELL.sub(rename, blocks[name][2])
        kind = name.split("$")[0]
        alike = known.setdefault(f"{kind}\n{_plain(body)}", name)
        if alike == name:
            texts[name] = f"module {name}\n{body}end\n"
            children[name] = found
        name_of[name] = alike
        return alike

    root = visit(f"\\{top}")
    paths = {name: name.partition("$")[2].partition(".")[2] for name in texts}
    return Hierarchy(root, texts, children, paths)


def _plain(body: str) -> str:
    """Without what differs between equal modules: attributes and running numbers."""
    return _renumbered(ATTRIBUTE.sub("", body))


def _renumbered(text: str) -> str:
    """With running numbers from 0."""
    numbers: dict[str, str] = {}

    def renumber(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"${len(numbers)}")

    return NUMBER.sub(renumber, text)
