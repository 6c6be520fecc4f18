"""The protocol's tensors: a batch of pictures in, a task's raw output out.

The input `image` is taken in two datatypes, which say what it is:

- `FP32` (N,3,H,W): normalised by the client, as the model's card says;
- `UINT8` (N,H,W,3): pixels in RGB order, normalised here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.errors import InputError
from gearshift.graph.card import Card
from gearshift.pictures import load_pictures
from gearshift.server.errors import InvalidRequest

IMAGE = "image"
OUTPUT = "output"

DATATYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
"""Of the input, as they stand in a request's bytes."""

AXES: dict[str, tuple[str | int, ...]] = {
    "FP32": ("N", 3, "H", "W"),
    "UINT8": ("N", "H", "W", 3),
}

LONGEST_AXIS = 2**20
"""Nothing is made of a shape before its bytes are there; this keeps its product readable."""


def check_input(name: object, datatype: object, shape: object) -> tuple[str, tuple[int, ...]]:
    """The datatype and shape of the one input, before anything of its size is made.

    Raises:
        InvalidRequest: another name, datatype or shape than the model's.
    """
    if name != IMAGE:
        raise InvalidRequest(f"input {shown(name)} is not known: the model has one, {IMAGE!r}")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise InvalidRequest(
            f"input {IMAGE} of datatype {shown(datatype)}: give FP32 (N,3,H,W), normalised, or "
            "UINT8 (N,H,W,3), pixels"
        )
    if not _matches(shape, AXES[datatype]):
        axes = ",".join(map(str, AXES[datatype]))
        raise InvalidRequest(
            f"input {IMAGE} of {datatype} has shape {shown(shape)}: give ({axes}), each axis from "
            f"1 to {LONGEST_AXIS:,}"
        )
    return datatype, tuple(shape)  # type: ignore[arg-type]


def _matches(shape: object, axes: tuple[str | int, ...]) -> bool:
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != len(axes):
        return False
    return all(
        type(size) is int and 1 <= size <= LONGEST_AXIS and (axis == size or isinstance(axis, str))
        for size, axis in zip(shape, axes, strict=True)
    )


def from_bytes(
    data: bytes | memoryview, datatype: str, shape: tuple[int, ...]
) -> NDArray[np.generic]:
    """The tensor in a request's own bytes: a view, perhaps not aligned, of a checked shape.

    Raises:
        InvalidRequest: more or fewer bytes than the shape has.
    """
    dtype = DATATYPES[datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidRequest(
            f"input {IMAGE} has {len(data):,} bytes, but {datatype} of shape {list(shape)} has "
            f"{expected:,}"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def from_numbers(
    numbers: NDArray[np.generic], datatype: str, shape: tuple[int, ...]
) -> NDArray[np.generic]:
    """The tensor of numbers that stood in a text, in row-major order.

    Raises:
        InvalidRequest: more or fewer numbers than the shape has, or some that the datatype lacks.
    """
    if numbers.size != math.prod(shape):
        raise InvalidRequest(
            f"input {IMAGE} has {numbers.size:,} numbers, but its shape {list(shape)} has "
            f"{math.prod(shape):,}"
        )
    if datatype == "UINT8":
        whole = numbers.dtype.kind in "iu"
        if not whole or int(numbers.min()) < 0 or int(numbers.max()) > 255:
            raise InvalidRequest(f"input {IMAGE} of UINT8 holds others than whole numbers 0 to 255")
    with np.errstate(over="ignore"):
        # What float32 cannot hold becomes infinite, which the service refuses.
        return numbers.astype(DATATYPES[datatype]).reshape(shape)


def normalised(tensor: NDArray[np.generic], card: Card) -> NDArray[np.float32]:
    """float32 (N,3,H,W), aligned and writable, from either form of the input; it may be the input
    itself.

    Raises:
        InvalidRequest: a picture that the card cannot normalise.
    """
    if tensor.dtype == np.uint8:
        try:
            return load_pictures(tensor, card)
        except InputError as error:
            raise InvalidRequest(f"input {IMAGE}: {error}") from None
    # What lies as it must may be used where it lies.
    return tensor.astype(np.float32, copy=not tensor.flags.carray)


def to_bytes(output: NDArray[np.float32]) -> bytes:
    """FP32 in row-major order, least significant byte first."""
    return to_buffer(output).tobytes()


def to_buffer(output: NDArray[np.float32]) -> memoryview:
    """The same where they lie, of an output that has them so."""
    return np.ascontiguousarray(output, "<f4").reshape(-1).view(np.uint8).data


def shown(value: object) -> str:
    """What a client sent, on one line of an error."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else text[:80] + "..."
