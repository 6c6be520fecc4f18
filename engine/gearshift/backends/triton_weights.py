"""Weights on a GPU in the layout and precision that the kernels read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from gearshift.backends import Precision
from gearshift.errors import BackendError
from gearshift.experts import Residency, plan_residency
from gearshift.graph.graph import Array
from gearshift_kernels.polyphase import phase_weights, plain_weights
from gearshift_kernels.triton.experts import ExpertBank
from gearshift_kernels.triton.quantise import FLOAT8, Quantised, Weight, quantise

PRODUCT_DTYPE: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.bfloat16,
    "float8": torch.bfloat16,
}
"""The dtype of both operands of a matrix product."""

_ONE_BYTE: Mapping[Precision, torch.dtype] = {"int8": torch.int8, "float8": FLOAT8}

ALIGNMENT = 128
"""Bytes between the parts of an expert: a cache line of a GPU."""


@dataclass(frozen=True)
class Layout:
    """How a kernel wants a weight: the shape it takes, and the array itself."""

    shape: Callable[[tuple[int, ...]], tuple[int, ...]]
    make: Callable[[Array], Array]


MATRIX = Layout(lambda s: (s[0], prod(s[1:])), lambda array: array.reshape(len(array), -1))
"""A linear layer, or a convolution that sees every pixel or patch by itself."""

CONVOLUTION = {
    1: Layout(lambda s: (1, s[0], 9 * s[1]), plain_weights),
    2: Layout(lambda s: (4, s[0], 16 * s[1]), phase_weights),
}
"""3x3 convolutions by the enlargement of their input."""


class TritonWeights:
    """The weights of all programs of one session, each made once and kept on the device.

    On the device `meta` nothing is read: only shapes, dtypes and strides are right.
    """

    def __init__(self, place: torch.device, precision: Precision) -> None:
        self.place = place
        self.precision = precision
        self.dtype = PRODUCT_DTYPE[precision]
        self._exact: dict[str, Tensor] = {}
        self._products: dict[tuple[str, Layout], Weight] = {}

    def exact(self, name: str, array: Array) -> Tensor:
        """A weight that is read in float32: a bias, a norm, a router, the positions."""
        if name not in self._exact:
            self._exact[name] = self._moved(array, array.shape)
        return self._exact[name]

    def product(self, name: str, array: Array, layout: Layout) -> Weight:
        """A weight that is multiplied with, in the session's precision."""
        key = name, layout
        if key not in self._products:
            shape = layout.shape(array.shape)
            wide = self._moved(None if self._is_meta else layout.make(array), shape)
            self._products[key] = narrow(wide, self.precision)
        return self._products[key]

    @property
    def _is_meta(self) -> bool:
        return self.place.type == "meta"

    def _moved(self, array: Array | None, shape: Sequence[int]) -> Tensor:
        if array is None or self._is_meta:
            return torch.empty(tuple(shape), device=self.place)
        # A copy even on the CPU, so that kernels find every weight aligned.
        return torch.from_numpy(np.array(array, np.float32, order="C")).to(self.place)


def narrow(wide: Tensor, precision: Precision) -> Weight:
    """A float32 weight in the precision of a session."""
    if precision in _ONE_BYTE:
        return quantise(wide, _ONE_BYTE[precision], PRODUCT_DTYPE[precision])
    return wide.to(PRODUCT_DTYPE[precision])


@dataclass(frozen=True)
class _Part:
    """One tensor of an expert inside its block of bytes."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int

    @property
    def end(self) -> int:
        return self.start + prod(self.shape) * self.dtype.itemsize

    def of(self, blocks: Tensor) -> Tensor:
        """The tensor of every block: blocks uint8 (S, bytes) -> (S, *shape)."""
        flat = blocks[:, self.start : self.end].view(self.dtype)
        return flat.unflatten(1, self.shape)


class ExpertPool:
    """Slots for experts in fast memory; those that do not fit wait in host memory.

    An expert is one block of bytes, so that one copy moves it. A bank's first experts are
    resident; the two last slots are for streaming when there are more experts than slots.
    """

    def __init__(
        self,
        place: torch.device,
        precision: Precision,
        banks: Mapping[str, tuple[str, ...]],
        weights: Mapping[str, Array],
        budget: int | None,
    ) -> None:
        """`banks`: by mixture, the names of each expert's four weights in turn.

        Raises:
            BackendError: the experts differ in size.
            InputError: the budget holds fewer than two experts.
        """
        self._precision = precision
        self._parts = _expert_parts(banks, weights, precision)
        last = list(self._parts.values())[-1]
        self.expert_bytes = -(-last.end // ALIGNMENT) * ALIGNMENT
        sizes = {bank: len(names) // 4 for bank, names in banks.items()}
        self.residency: Residency = plan_residency(sizes, self.expert_bytes, budget)
        pinned = place.type == "cuda"
        waiting = sum(sizes.values()) - sum(self.residency.resident.values())
        shape = self.residency.slots, self.expert_bytes
        self.slots = torch.empty(shape, dtype=torch.uint8, device=place)
        self.host = torch.empty((waiting, self.expert_bytes), dtype=torch.uint8, pin_memory=pinned)
        self.first: dict[str, int] = {}
        """By bank, the slot of its first resident expert."""
        self.first_waiting: dict[str, int] = {}
        """By bank, the row of `host` of its first expert that is not resident."""
        self._fill(banks, weights, is_meta=place.type == "meta")

    @property
    def nbytes(self) -> int:
        """Fast memory taken."""
        return self.slots.nbytes

    def bank(self, slot: Tensor) -> ExpertBank:
        """All slots as the kernels read them; `slot` int32 (E) says where each expert is."""
        part = {name: part.of(self.slots) for name, part in self._parts.items()}
        return ExpertBank(
            self._weight(part, "fc1"), part["fc1_bias"], self._weight(part, "fc2"),
            part["fc2_bias"], slot,
        )  # fmt: skip

    def _weight(self, part: Mapping[str, Tensor], name: str) -> Weight:
        scale = part.get(f"{name}_scale")
        if scale is None:
            return part[name]
        return Quantised(part[name], scale, PRODUCT_DTYPE[self._precision])

    def _fill(
        self, banks: Mapping[str, tuple[str, ...]], weights: Mapping[str, Array], is_meta: bool
    ) -> None:
        slot = row = 0
        for bank, names in banks.items():
            self.first[bank], self.first_waiting[bank] = slot, row
            resident = self.residency.resident[bank]
            for expert in range(len(names) // 4):
                if expert < resident:
                    blocks, place = self.slots, slot
                    slot += 1
                else:
                    blocks, place = self.host, row
                    row += 1
                if not is_meta:
                    self._pack([weights[name] for name in names[4 * expert : 4 * expert + 4]],
                               blocks[place : place + 1])  # fmt: skip

    def _pack(self, arrays: Sequence[Array], block: Tensor) -> None:
        fc1, fc1_bias, fc2, fc2_bias = (torch.from_numpy(np.array(array)) for array in arrays)
        tensors = {"fc1_bias": fc1_bias, "fc2_bias": fc2_bias}
        for name, wide in (("fc1", fc1), ("fc2", fc2)):
            weight = narrow(wide, self._precision)
            if isinstance(weight, Quantised):
                tensors[name], tensors[f"{name}_scale"] = weight.values, weight.scale
            else:
                tensors[name] = weight
        for name, part in self._parts.items():
            part.of(block)[0].copy_(tensors[name])


def _expert_parts(
    banks: Mapping[str, tuple[str, ...]], weights: Mapping[str, Array], precision: Precision
) -> dict[str, _Part]:
    """Where each tensor of an expert stands in its block.

    Raises:
        BackendError: the experts of two banks differ in size.
    """
    shapes = {bank: weights[names[0]].shape for bank, names in banks.items()}
    (name, (hidden, width)), *others = shapes.items()
    for other, shape in others:
        if shape != (hidden, width):
            raise BackendError(
                f"experts of {other} are {shape[1]}x{shape[0]}, those of {name} {width}x{hidden}: "
                "backend triton keeps experts of one size only; choose backend torch"
            )
    dtype = _ONE_BYTE.get(precision, PRODUCT_DTYPE[precision])
    wanted: list[tuple[str, tuple[int, ...], torch.dtype]] = [
        ("fc1", (hidden, width), dtype),
        ("fc2", (width, hidden), dtype),
        ("fc1_bias", (hidden,), torch.float32),
        ("fc2_bias", (width,), torch.float32),
    ]
    if precision in _ONE_BYTE:
        wanted += [("fc1_scale", (hidden,), torch.float32), ("fc2_scale", (width,), torch.float32)]
    parts: dict[str, _Part] = {}
    start = 0
    for part_name, shape, part_dtype in wanted:
        parts[part_name] = _Part(shape, part_dtype, start)
        start = -(-parts[part_name].end // ALIGNMENT) * ALIGNMENT
    return parts
