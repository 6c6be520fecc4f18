"""What a design or a module of it takes of the programmable logic."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gearshift_hls.board import Resources


@dataclass(frozen=True)
class Usage:
    """Counts of the kinds in `board.Resources`."""

    name: str
    """Of the module or instance."""
    lut: int
    ff: int
    dsp: int
    bram: float
    """Blocks of 36 Kib; a half is one of 18 Kib."""
    uram: int


KINDS = tuple(each.name for each in fields(Resources))


def over_budget(usage: Usage, budget: Resources) -> list[str]:
    """What does not fit, a phrase each."""
    return [
        f"{kind.upper()} {getattr(usage, kind):g} of {getattr(budget, kind)}"
        for kind in KINDS
        if getattr(usage, kind) > getattr(budget, kind)
    ]
