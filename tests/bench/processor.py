"""What this processor can do, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}


def has_bfloat16() -> bool:
    """Whether it multiplies bfloat16, without which torch refuses that precision."""
    words = Path("/proc/cpuinfo").read_text("ascii", "replace").split()
    return not BFLOAT16.isdisjoint(words)
