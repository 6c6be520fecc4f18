"""The memory of backends that use torch's tensors: one arena for all programs of a session."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from gearshift.buffers import ALIGNMENT


class Arena:
    """One block of memory that can grow: tensors that stand in it stay valid."""

    def __init__(self, place: torch.device | None = None) -> None:
        self._place = place or torch.device("cpu")
        self._storage = torch.empty(0, dtype=torch.uint8, device=self._place).untyped_storage()

    @property
    def nbytes(self) -> int:
        return self._storage.nbytes()

    @property
    def address(self) -> int:
        """Where it begins; growing may change that."""
        return self._storage.data_ptr()

    def tensor(self, offset: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Uninitialised memory at `offset` bytes, C-contiguous."""
        end = offset + prod(shape) * dtype.itemsize
        if end > self.nbytes:
            self._storage.resize_(end)
        stride = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
        tensor = torch.empty(0, dtype=dtype, device=self._place)
        return tensor.set_(self._storage, offset // dtype.itemsize, list(shape), stride)

    def map(self, offset: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The same for a map (N,C,h,w), channels-last in memory."""
        batch, channels, height, width = shape
        return self.tensor(offset, (batch, height, width, channels), dtype).permute(0, 3, 1, 2)


class Scratch:
    """Scratch memory of one step, from `start` on; the steps' scratches overlay each other."""

    def __init__(self, arena: Arena, start: int) -> None:
        self._arena = arena
        self._next = start

    def __call__(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Uninitialised memory, aligned; maps (N,C,h,w) are channels-last."""
        take = self._arena.map if len(shape) == 4 else self._arena.tensor
        tensor = take(self._next, shape, dtype)
        self._next += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        return tensor
