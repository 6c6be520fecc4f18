"""What a memory budget pays for: how many experts, and which of them a fixed plan keeps.

A backend whose moves are fixed ahead of a run (a CUDA graph) follows the whole plan; one that
decides as it runs takes the number of slots and leaves the rest to `gearshift.expert_store`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gearshift.errors import InputError

STREAMING_SLOTS = 2
"""One expert computes while the next one's weights arrive in the other slot."""

_UNITS = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}


@dataclass(frozen=True)
class Residency:
    """The plan for all banks of a model, whose experts have one size."""

    resident: Mapping[str, int]
    """By bank: how many experts stay; the first ones, in the order in which they compute."""
    slots: int
    """Experts that fast memory holds at a time."""

    @property
    def streams(self) -> bool:
        """Whether some experts must be moved in for each run."""
        return self.slots > sum(self.resident.values())


def plan_residency(
    experts: Mapping[str, int], expert_bytes: int, budget: int | None = None
) -> Residency:
    """Keep as many experts as the budget holds, spread evenly over the banks.

    A run visits every bank once and, in it, every expert in turn. For such a cycle, keeping what
    is resident moves the least, while the least recently used expert would always be the next one
    needed. What does not fit passes through `STREAMING_SLOTS`; spread evenly, so that the moves
    of one bank hide behind the work between two.

    Args:
        experts: number of experts by bank, in the order of a run.
        expert_bytes: of one expert's weights, in the precision of the run.
        budget: bytes of fast memory for experts; None holds them all.

    Raises:
        InputError: not even the slots for streaming fit.
    """
    total = sum(experts.values())
    if budget is None or budget >= total * expert_bytes:
        return Residency(dict(experts), total)
    slots = budget // max(expert_bytes, 1)
    if slots < STREAMING_SLOTS:
        raise InputError(
            f"memory of {budget:,} bytes holds fewer than {STREAMING_SLOTS} experts of "
            f"{expert_bytes:,} bytes: give at least {STREAMING_SLOTS * expert_bytes:,}"
        )
    resident = dict.fromkeys(experts, 0)
    left = slots - STREAMING_SLOTS
    while left:
        for bank, number in experts.items():
            if left and resident[bank] < number:
                resident[bank] += 1
                left -= 1
    return Residency(resident, slots)


def parse_memory(memory: str | int) -> int:
    """Bytes of `64MB`, `1.5 GiB` or a whole number. kB, MB, GB are decimal, KiB ... binary.

    Raises:
        InputError: neither.
    """
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\w+)", memory) if isinstance(memory, str) else None
    number, unit = found.groups() if found else ("", "")
    if unit not in _UNITS or float(number) <= 0:
        raise InputError(
            f"memory {memory!r} is no amount: give bytes, or a number with {', '.join(_UNITS)}, "
            "such as '64MB'"
        )
    return int(float(number) * _UNITS[unit])
