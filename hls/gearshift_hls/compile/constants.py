"""Constant memory under construction: what operations share lies there once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gearshift_hls import operations as ops
from gearshift_hls.build import Build
from gearshift_hls.descriptor import align
from gearshift_hls.records import pack_stream

Bytes = NDArray[np.uint8]
Sources: TypeAlias = tuple[NDArray[Any], ...]
"""The arrays that an operation's constants are made from."""


class ConstantImage:
    """Regions one behind the other, each at a multiple of `descriptor.ALIGNMENT`."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.end = 0
        """Bytes so far."""
        self._regions: list[tuple[int, Bytes]] = []
        self._shared: dict[str, tuple[Sources, dict[str, int]]] = {}

    def reserve(self, nbytes: int) -> int:
        """The address of `nbytes` that are zero until `fill` says more."""
        address, self.end = self.end, self.end + align(nbytes)
        return address

    def fill(self, address: int, data: Bytes) -> None:
        self._regions.append((address, data))

    def add(self, array: NDArray[Any]) -> int:
        """The address of a new region that holds the array."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        address = self.reserve(data.size)
        self.fill(address, data)
        return address

    def share(self, operation: ops.Operation) -> dict[str, int]:
        """Addresses of an operation's constants by the field of its command.

        They are placed when their key first comes up.
        """
        if isinstance(operation, ops.Resize):
            return {}
        key, sources = operation.constants, _sources(operation)
        if key not in self._shared:
            regions = _regions(operation, self.build)
            addresses = {field: self.add(array) for field, array in regions.items()}
            self._shared[key] = sources, addresses
        known, addresses = self._shared[key]
        assert _same(known, sources), f"constants {key!r} differ between two operations"
        return addresses

    def share_table(self, name: str, table: NDArray[np.int32]) -> int:
        """The address of a table, placed when its name first comes up."""
        key = f"table {name}"
        if key not in self._shared:
            self._shared[key] = (table,), {"table": self.add(table.astype("<i4"))}
        known, addresses = self._shared[key]
        assert _same(known, (table,)), f"tables {name!r} of two tasks differ"
        return addresses["table"]

    def image(self) -> Bytes:
        """All of it."""
        image = np.zeros(self.end, np.uint8)
        for address, data in self._regions:
            image[address : address + data.size] = data
        return image


def _sources(operation: ops.Operation) -> Sources:
    match operation:
        case ops.Norm() | ops.Attention():
            return (operation.parameters,)
        case ops.Linear() | ops.Convolution():
            return (operation.weights.weights, operation.weights.channels)
        case ops.Route():
            return (operation.weights, operation.biases)
        case ops.Experts():
            products = [product for expert in operation.experts for product in expert]
            return tuple(array for one in products for array in (one.weights, one.channels))
    return ()


def _regions(operation: ops.Operation, build: Build) -> dict[str, NDArray[Any]]:
    """An operation's constants as they lie in memory, by the field of its command."""
    match operation:
        case ops.Norm() | ops.Attention():
            return {"parameters": operation.parameters}
        case ops.Linear() | ops.Convolution():
            return {"weights": _stream(build, operation.weights).reshape(-1)}
        case ops.Route():
            return {
                "weights": operation.weights.astype("<i2"),
                "biases": operation.biases.astype("<i4"),
            }
        case ops.Experts():
            experts = [
                # A port reads its share of an expert's first product, then of its second.
                np.concatenate([_stream(build, first), _stream(build, second)], axis=1)
                for first, second in operation.experts
            ]
            return {"weights": np.stack(experts)}
    return {}


def _stream(build: Build, product: ops.Weights) -> Bytes:
    """The streams of a product, a row a port."""
    stream = pack_stream(build, product.weights, product.channels)
    return np.frombuffer(stream, np.uint8).reshape(build.weight_ports, -1)


def _same(some: Sequence[NDArray[Any]], others: Sequence[NDArray[Any]]) -> bool:
    return len(some) == len(others) and all(
        one is other or np.array_equal(one, other) for one, other in zip(some, others, strict=True)
    )
