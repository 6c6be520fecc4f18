"""What the native kernels read of a step's weights: one block of bytes each, in their layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_kernels.native.pack import DTYPES, LANES, LINE, pack_matrix, pad_lanes
from gearshift_kernels.native.structures import INT8, Expert, Norm, Weight

PAGE = 4096
"""Bytes; an expert begins on a page of its own, so that one read moves it."""

POINTS = 36
"""Products of a convolution: see `gearshift_kernels.winograd`."""

Arrays = Mapping[str, NDArray[Any]]
Weights = Mapping[str, NDArray[Any]]
"""The arrays of a program, by name."""
Field = tuple[tuple[int, ...], type[np.generic]]
"""Shape and dtype of an array."""


@dataclass(frozen=True)
class Block:
    """Arrays one after the other in memory, each beginning at a multiple of 64 bytes."""

    key: str
    """Names of the weights in it: two blocks of one key and size have one content."""
    fields: Mapping[str, Field]
    make: Callable[[], Arrays]
    """The arrays; called when the block is packed, and only then."""
    alignment: int = LINE

    @cached_property
    def offsets(self) -> Mapping[str, int]:
        """By field, the bytes before it."""
        offsets, end = {}, 0
        for name, (shape, dtype) in self.fields.items():
            offsets[name] = end
            end += round_up(prod(shape) * np.dtype(dtype).itemsize, LINE)
        return offsets

    @cached_property
    def nbytes(self) -> int:
        last = list(self.fields)[-1]
        shape, dtype = self.fields[last]
        end = self.offsets[last] + prod(shape) * np.dtype(dtype).itemsize
        return round_up(end, self.alignment)

    def write(self, memory: NDArray[np.uint8]) -> None:
        """Pack into `memory` (nbytes)."""
        memory[:] = 0
        arrays = self.make()
        for name, (shape, dtype) in self.fields.items():
            start = self.offsets[name]
            end = start + prod(shape) * np.dtype(dtype).itemsize
            memory[start:end].view(dtype).reshape(shape)[...] = arrays[name]


@dataclass(frozen=True)
class Placed:
    """A block in memory; its arrays as the kernels take them."""

    block: Block
    address: int

    def pointer(self, name: str) -> int:
        """The address of an array, 0 if the block has none of that name."""
        offset = self.block.offsets.get(name)
        return 0 if offset is None else self.address + offset

    def weight(self, name: str, outputs: int, inputs: int) -> Weight:
        """A matrix of `matrix_fields`."""
        return Weight(
            self.pointer(name),
            self.pointer(f"{name}.scale"),
            self.pointer(f"{name}.correction"),
            outputs,
            inputs,
        )

    def norm(self, epsilon: float) -> Norm:
        """The LayerNorm of `norm_fields`, or none."""
        return Norm(self.pointer("norm.scale"), self.pointer("norm.bias"), epsilon)

    def expert(self, hidden: int, width: int) -> Expert:
        """The weights of `expert_block`."""
        return Expert(
            self.weight("fc1", hidden, width),
            self.weight("fc2", width, hidden),
            self.pointer("fc1_bias"),
            self.pointer("fc2_bias"),
        )


def round_up(number: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-number // unit) * unit


def matrix_fields(name: str, outputs: int, inputs: int, precision: int) -> dict[str, Field]:
    """Of a weight (outputs, inputs) of `pack_matrix`."""
    dtype = DTYPES[precision]
    group = 4 // np.dtype(dtype).itemsize
    rows = round_up(outputs, LANES)
    groups = round_up(inputs, LANES * group) // group
    fields: dict[str, Field] = {name: ((rows // LANES, groups, LANES, group), dtype)}
    if precision == INT8:
        fields |= {f"{name}.scale": vector(outputs), f"{name}.correction": vector(outputs)}
    return fields


def matrix_arrays(name: str, weight: NDArray[Any], precision: int) -> dict[str, NDArray[Any]]:
    """The arrays of `matrix_fields`; a convolution that sees one patch or pixel is a matrix."""
    packed = pack_matrix(weight.reshape(len(weight), -1), precision)
    arrays: dict[str, NDArray[Any]] = {name: packed.panels}
    if packed.scale is not None and packed.correction is not None:
        arrays |= {f"{name}.scale": packed.scale, f"{name}.correction": packed.correction}
    return arrays


def vector(length: int) -> Field:
    """A float32 vector padded to whole lines."""
    return (round_up(length, LANES),), np.float32


def norm_fields(width: int) -> dict[str, Field]:
    """Of a LayerNorm."""
    return {"norm.scale": vector(width), "norm.bias": vector(width)}


def norm_arrays(scale: NDArray[Any], bias: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The arrays of `norm_fields`."""
    return {"norm.scale": pad_lanes(scale), "norm.bias": pad_lanes(bias)}


def patch_block(name: str, weights: Weights, outputs: int, inputs: int, precision: int) -> Block:
    """The weight of a patch embedding."""
    fields = matrix_fields("weight", outputs, inputs, precision)
    return Block(
        f"patches {name}", fields, lambda: matrix_arrays("weight", weights[name], precision)
    )


def table_block(name: str, weights: Weights, shape: tuple[int, int]) -> Block:
    """The table of a patch embedding, (tokens, width)."""
    return Block(f"table {name}", {"table": (shape, np.float32)}, lambda: {"table": weights[name]})


def norm_block(names: tuple[str, ...], weights: Weights, width: int) -> Block:
    """A LayerNorm; `names` of its scale and bias."""
    return Block(
        f"norm {' '.join(names)}",
        norm_fields(width),
        lambda: norm_arrays(*(weights[name] for name in names)),
    )


def linear_block(
    names: tuple[str, ...], weights: Weights, outputs: int, inputs: int, precision: int
) -> Block:
    """A linear layer; `names` of its weight, its bias, and those of the norm before it if any."""
    fields = matrix_fields("weight", outputs, inputs, precision) | {"bias": vector(outputs)}
    if len(names) > 2:
        fields |= norm_fields(inputs)

    def make() -> Arrays:
        weight, bias, *norm = (weights[name] for name in names)
        arrays = matrix_arrays("weight", weight, precision) | {"bias": pad_lanes(bias)}
        return arrays | norm_arrays(*norm) if norm else arrays

    return Block(f"linear {' '.join(names)}", fields, make)


def router_block(
    names: tuple[str, ...], weights: Weights, columns: int, experts: int, has_norm: bool
) -> Block:
    """A router; `names` of its weight, of its bias if any, and those of the norm before it."""
    (width,), _ = vector(experts)
    fields: dict[str, Field] = {"weight": ((columns, width), np.float32), "bias": vector(experts)}
    own, norm = (names[:-2], names[-2:]) if has_norm else (names, ())
    if has_norm:
        fields |= norm_fields(columns)

    def make() -> Arrays:
        weight, *bias = (weights[name] for name in own)
        shift = bias[0] if bias else np.zeros(experts, np.float32)
        # No token ever chooses what only fills the line.
        arrays = {"weight": pad_lanes(weight), "bias": pad_lanes(shift, -np.inf)}
        return arrays | norm_arrays(*(weights[name] for name in norm)) if norm else arrays

    return Block(f"router {' '.join(names)}", fields, make)


def expert_block(names: tuple[str, ...], weights: Weights, precision: int) -> Block:
    """One expert; `names` of its fc1 weight and bias, and its fc2 weight and bias."""
    hidden, width = weights[names[0]].shape
    fields = {
        **matrix_fields("fc1", hidden, width, precision),
        **matrix_fields("fc2", width, hidden, precision),
        "fc1_bias": vector(hidden),
        "fc2_bias": vector(width),
    }

    def make() -> Arrays:
        fc1, fc1_bias, fc2, fc2_bias = (weights[name] for name in names)
        return {
            **matrix_arrays("fc1", fc1, precision),
            **matrix_arrays("fc2", fc2, precision),
            "fc1_bias": pad_lanes(fc1_bias),
            "fc2_bias": pad_lanes(fc2_bias),
        }

    return Block(f"expert {' '.join(names)}", fields, make, PAGE)


def convolution_block(
    names: tuple[str, ...],
    weights: Weights,
    outputs: int,
    inputs: int,
    precision: int,
) -> Block:
    """A 3x3 convolution as 36 products, one behind the other, and its bias."""
    (panels,) = matrix_fields("point", outputs, inputs, precision).values()
    shape, dtype = panels

    def make() -> Arrays:
        from gearshift_kernels.winograd import winograd_weights

        weight, bias = (weights[name] for name in names)
        points = [pack_matrix(point, precision).panels for point in winograd_weights(weight)]
        return {"panels": np.stack(points), "bias": pad_lanes(bias)}

    fields: dict[str, Field] = {"panels": ((POINTS, *shape), dtype), "bias": vector(outputs)}
    return Block(f"convolution {' '.join(names)}", fields, make)
