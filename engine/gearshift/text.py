"""Text for people: aligned columns, and numbers with a decimal prefix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def with_unit(number: float, unit: str) -> str:
    """`12345678, "B"` -> `12.3 MB`; nothing for zero."""
    if not number:
        return ""
    power = min(int(math.log10(number)) // 3, 3)
    digits = f"{number / 1000**power:.1f}" if power else f"{number:.0f}"
    return f"{digits} {('', 'k', 'M', 'G')[power]}{unit}".rstrip()


def columns(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Rows of cells as aligned lines; the columns in `right` stand to the right."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    to_the_right = set(right)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in to_the_right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )
