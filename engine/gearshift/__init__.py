"""Runs one task at a time of a trained multitask mixture-of-experts vision transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift.session import Session

__all__ = ["Session"]


def __getattr__(name: str) -> object:
    """`Session` on demand, so that `import gearshift` stays light."""
    if name == "Session":
        from gearshift.session import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
