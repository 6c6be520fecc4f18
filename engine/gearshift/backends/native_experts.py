"""The native backend's experts under a memory budget: slots that are filled from pack files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gearshift.backends.native_pack_file import PackedWeights
from gearshift.backends.native_plan import Mixture
from gearshift.backends.native_weights import Block
from gearshift.expert_profile import Shares
from gearshift.expert_store import ExpertStore, open_store
from gearshift.experts import plan_residency
from gearshift.program import Program
from gearshift_kernels.native.pack import aligned


class ExpertSlots:
    """Private memory for as many experts as a budget holds."""

    def __init__(
        self, packed: PackedWeights, banks: Mapping[str, tuple[Block, ...]], number: int
    ) -> None:
        self._packed = packed
        self._banks = banks
        self._memory = aligned((number, largest(banks)), np.uint8)

    @property
    def expert_bytes(self) -> int:
        """Of one slot."""
        return self._memory.shape[1]

    def address(self, slot: int) -> int:
        """Where a slot begins."""
        return int(self._memory.ctypes.data) + slot * self.expert_bytes

    def read(self, bank: str, expert: int, slot: int) -> None:
        """Copy an expert into a slot: one read of its file."""
        block = self._banks[bank][expert]
        self._packed.read(block, self._memory[slot, : block.nbytes])


def largest(banks: Mapping[str, tuple[Block, ...]]) -> int:
    """Bytes of the largest expert."""
    return max(block.nbytes for experts in banks.values() for block in experts)


def open_slots(
    program: Program,
    mixtures: Mapping[str, Mixture],
    packed: PackedWeights,
    budget: int | None,
    shares: Shares,
) -> tuple[ExpertSlots, ExpertStore] | None:
    """Slots for the experts of a program's model, and the store that says what stands in them.

    None if all experts fit into the budget, or if there are none.

    Raises:
        InputError: the budget holds fewer than two experts.
    """
    banks = {name: mixture.experts for name, mixture in mixtures.items()}
    if budget is None or not banks:
        return None
    sizes = {name: len(experts) for name, experts in banks.items()}
    residency = plan_residency(sizes, largest(banks), budget)
    if not residency.streams:
        return None
    slots = ExpertSlots(packed, banks, residency.slots)
    store = open_store(program, residency.slots, slots.read, shares)
    assert store is not None
    return slots, store
