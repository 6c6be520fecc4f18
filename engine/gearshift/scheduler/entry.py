"""What waits, and what runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Key(NamedTuple):
    """Requests with the same key may run as one batch."""

    model: str
    version: str
    task: str
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def is_switch_from(self, other: Key | None) -> bool:
        """Whether this one's experts are others than those that the batch before it used."""
        return other is None or self[:3] != other[:3]


@dataclass(eq=False)
class Entry:
    """One request in the queue; two are never equal. Times in seconds, on the caller's clock."""

    key: Key
    arrival: float
    images: int = 1
    priority: int | None = None
    """1 is most urgent; None: the settings' default."""
    deadline: float | None = None
    """When it is of no use any more to begin."""
    payload: Any = None
    """The caller's."""
    due: float = field(default=float("inf"), init=False)
    """When it should have begun; the scheduler says it on submission."""
    number: int = field(default=0, init=False)
    """Counts submissions."""

    @property
    def nbytes(self) -> int:
        """Of the images, float32 with three channels."""
        return 12 * self.images * self.key.pixels


@dataclass(eq=False)
class Batch:
    """Entries of one key that run together."""

    key: Key
    entries: list[Entry]
    started: float
    switched: bool
    """Another task, or another model, ran before it."""
    expected_seconds: float
    """What the scheduler expects it to take; 0 when it knows nothing yet."""
    images: int
    """Of all entries."""
