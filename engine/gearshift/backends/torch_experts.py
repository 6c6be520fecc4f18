"""Experts of the torch backend under a memory budget: slots, and how an expert gets into one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from gearshift.backends import Options
from gearshift.buffers import ALIGNMENT
from gearshift.errors import BackendError
from gearshift.expert_store import ExpertStore, open_store
from gearshift.experts import plan_residency
from gearshift.graph.graph import Array
from gearshift.program import Program

PIECE = 2**14
"""Numbers copied at a time: torch shares out larger copies (32,768 and more) among threads, and
those of the loader would take the processors from the ones that compute."""


class ExpertSlots:
    """Memory for some of a model's experts, which all programs of a session share."""

    def __init__(
        self, program: Program, dtype: torch.dtype, experts: dict[str, list[list[Array]]],
        slots: int, options: Options,
    ) -> None:  # fmt: skip
        """`experts`: by mixture, the four weights of each expert; all of one size."""
        self._sources = {
            bank: [[torch.from_numpy(array) for array in expert] for expert in bank_experts]
            for bank, bank_experts in experts.items()
        }
        shapes = [source.shape for source in next(iter(self._sources.values()))[0]]
        blocks = torch.empty((slots, expert_bytes(shapes, dtype) // dtype.itemsize), dtype=dtype)
        self.tensors = [_parts(block, shapes) for block in blocks]
        """By slot, the four weights of the expert that stands there."""
        store = open_store(program, slots, self._read, options.expert_share)
        assert store is not None
        self.store: ExpertStore = store

    def _read(self, bank: str, expert: int, slot: int) -> None:
        """From the artifact's memory map, converted on the way."""
        for source, target in zip(self._sources[bank][expert], self.tensors[slot], strict=True):
            pieces = zip(source.flatten().split(PIECE), target.flatten().split(PIECE), strict=True)
            for wide, narrow in pieces:
                narrow.copy_(wide)


def open_slots(program: Program, dtype: torch.dtype, options: Options) -> ExpertSlots | None:
    """The slots that the budget pays for, or None when it pays for all experts.

    Raises:
        BackendError: the experts differ in size.
        InputError: the budget holds fewer than two experts.
    """
    experts = {
        step.name: [
            [program.weights[name] for name in step.weights[first : first + 4]]
            for first in range(0, len(step.weights), 4)
        ]
        for step in program.steps
        if step.kernel == "expert_mixture"
    }
    if not experts:
        return None
    sizes = {name: [weight.shape for weight in bank[0]] for name, bank in experts.items()}
    (first, shapes), *others = sizes.items()
    for other, found in others:
        if found != shapes:
            raise BackendError(
                f"experts of {other} are {found[0][1]}x{found[0][0]}, those of {first} "
                f"{shapes[0][1]}x{shapes[0][0]}: a memory budget needs experts of one size; "
                "leave memory out"
            )
    banks = {name: len(bank) for name, bank in experts.items()}
    residency = plan_residency(banks, expert_bytes(shapes, dtype), options.memory)
    if not residency.streams:
        return None
    return ExpertSlots(program, dtype, experts, residency.slots, options)


def expert_bytes(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> int:
    """Memory of one expert: each of its weights begins at a multiple of `ALIGNMENT`."""
    return sum(-(-prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT for shape in shapes)


def _parts(block: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Four views of one slot."""
    parts, start, step = [], 0, ALIGNMENT // block.itemsize
    for shape in shapes:
        parts.append(block[start : start + prod(shape)].view(shape))
        start += -(-prod(shape) // step) * step
    return parts
