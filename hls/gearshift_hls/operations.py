"""A quantised task as operations on named tensors: what the quantiser gives to the compiler.

One operation is one descriptor, without addresses. Channels are padded to the build's multiple
already. `parameters`, `weights` and the like are constants: operations of the same `constants` key
(a backbone's, in the programs of all tasks) share them in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gearshift.graph.card import TaskCard
from gearshift_hls.descriptor import queue_bytes
from gearshift_hls.records import Records


@dataclass(frozen=True)
class Tensor:
    """An activation in memory."""

    name: str
    shape: tuple[int, ...]
    """Tokens (T, C) or a map (h, w, C), channels padded; expert queues (E, T)."""
    dtype: Literal["int8", "uint8", "int16", "int32", "queues"]

    @property
    def nbytes(self) -> int:
        if self.dtype == "queues":
            return queue_bytes(*self.shape)
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Weights:
    """A product's constants."""

    weights: NDArray[np.int8]
    """(outputs, inputs), padded; a convolution's inputs are tap by tap."""
    channels: Records
    """`records.CHANNEL` of every output, (outputs)."""


@dataclass(frozen=True)
class Norm:
    constants: str
    x: str
    skip_rows: int
    """Rows of x before the first that is normalised: 1 leaves out the class token."""
    y: str
    normalised: str | None
    true_channels: int
    epsilon: float
    shift: int
    parameters: Records
    """`records.NORM` of every channel."""


@dataclass(frozen=True)
class Linear:
    constants: str
    x: str
    y: str
    residual: str | None
    """A tensor, or a name in `Quantised.tables`; only where y is a residual."""
    weights: Weights
    gelu: tuple[int, int] | None = None
    """Multiplier and shift of GELU's result."""
    zero: int = 0


@dataclass(frozen=True)
class Attention:
    constants: str
    x: str
    y: str
    heads: int
    head_dim: int
    parameters: Records
    """`records.HEAD` of every head."""


@dataclass(frozen=True)
class Route:
    constants: str
    x: str
    """The normalised values of a norm."""
    queues: str
    top_k: int
    multiplier: int
    shift: int
    prune: int
    weights: NDArray[np.int16]
    """(E, C)"""
    biases: NDArray[np.int32]


@dataclass(frozen=True)
class Experts:
    constants: str
    x: str
    queues: str
    y: str
    """The residual stream, changed in place."""
    experts: tuple[tuple[Weights, Weights], ...]
    """Both products of every expert."""
    gelu: tuple[int, int]
    zero: int


@dataclass(frozen=True)
class Convolution:
    constants: str
    x: str
    y: str
    upsample: bool
    weights: Weights


@dataclass(frozen=True)
class Resize:
    x: str
    y: str


Operation: TypeAlias = Norm | Linear | Attention | Route | Experts | Convolution | Resize


@dataclass(frozen=True)
class PatchInput:
    """How the host writes a picture: as uint8 patches, row by row, behind one row of zeros.

    A pixel of the normalised picture becomes round((value - low) x scale), within 0..255: exact for
    a picture of 8 bits.
    """

    tensor: str
    """(T, C): a patch's values channel by channel, then row by row, then zeros."""
    patch_size: int
    low: tuple[float, float, float]
    scale: tuple[float, float, float]


@dataclass(frozen=True)
class Output:
    """How the host reads the result: `tensor` times `scale`, without the padding."""

    tensor: str
    channels: int
    scale: float


@dataclass(frozen=True)
class Quantised:
    """One task at one image size, batch 1."""

    task: int
    task_card: TaskCard
    height: int
    width: int
    input: PatchInput
    output: Output
    operations: tuple[Operation, ...]
    names: tuple[str, ...]
    """Of the graph's node behind each operation, with a part where a node has several."""
    tensors: Mapping[str, Tensor]
    tables: Mapping[str, NDArray[np.int32]]
    """Constant residual rows: class token and positions, (T, C) with 16 fraction bits."""
