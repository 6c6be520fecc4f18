"""Values of a stranger's file in messages: short, and on one line."""

from __future__ import annotations

_LONGEST = 80


def brief(value: object) -> str:
    """`repr(value)`, cut to a length that a person reads."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, tables without end
        shown = type(value).__name__
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
