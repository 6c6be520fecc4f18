"""What installed packages register: backends, commands and models."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def find_entries(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name."""
    return {entry.name: entry for entry in _entry_points().select(group=group)}


@cache
def _entry_points() -> Any:
    """Of all packages, by `select`: reading them takes milliseconds, once a process. Python 3.12
    gives them another type."""
    return entry_points()
