"""The fields of a command: words with their meaning and their limits.

A field's metadata holds `text`, `least`, `most` (a number, or the name of a limit of `Build`) and
`lanes` (whether it must be a multiple of `Build.channel_multiple`).
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

MAX_SHIFT = 62


def word(text: str, most: int | str = 0xFFFFFFFF, least: int = 0, lanes: bool = False) -> Any:
    """One word."""
    return field(metadata={"text": text, "least": least, "most": most, "lanes": lanes})


def channel_count(text: str, most: str = "max_channels") -> Any:
    return word(f"{text}, padded", most, 1, lanes=True)


def address_word(text: str) -> Any:
    return word(f"address: {text}")


def flag_word(text: str) -> Any:
    return word(f"1: {text}", 1)


def shift_word(text: str) -> Any:
    return word(f"right shift of {text}", MAX_SHIFT)


def multiplier_word(text: str) -> Any:
    return word(f"multiplier of {text}", 0xFFFF)
