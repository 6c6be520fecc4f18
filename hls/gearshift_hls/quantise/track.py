"""One task over the calibration pictures: its float32 run and its integer run, in step."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gearshift.graph.card import Preprocessing
from gearshift.program import Program
from gearshift_hls import operations as ops
from gearshift_hls.build import Build
from gearshift_hls.host import pack_patches
from gearshift_hls.quantise import reference
from gearshift_hls.quantise.emulate import Emulation
from gearshift_hls.quantise.layers import Norm, read_model

Dtype: TypeAlias = Literal["int8", "uint8", "int16", "int32", "queues"]

RESIDUAL = "residual"
"""The residual stream, which every block changes in place."""


class Track:
    """Both runs of one task, and the operations that are made on the way."""

    def __init__(
        self, build: Build, program: Program, pictures: NDArray[np.float32], given: ops.PatchInput
    ) -> None:
        self.program = program
        self.model = read_model(program)
        self.given = given
        self.operations: list[ops.Operation] = []
        self.names: list[str] = []
        self.tensors: dict[str, ops.Tensor] = {}
        self.tables: dict[str, NDArray[np.int32]] = {}
        self.emulation = Emulation(build, self.tables)
        self.residual = torch.empty(0)
        """Of the float32 run: (N, T, D)."""
        self._build = build
        self._start(pictures)

    @property
    def height(self) -> int:
        return self.program.values[self.program.input].shape[2]

    @property
    def width(self) -> int:
        return self.program.values[self.program.input].shape[3]

    @property
    def tokens(self) -> int:
        return len(self.model.patches.table)

    @property
    def grid(self) -> tuple[int, int]:
        patch = self.given.patch_size
        return self.height // patch, self.width // patch

    def pad(self, channels: int) -> int:
        multiple = self._build.channel_multiple
        return -(-channels // multiple) * multiple

    def _start(self, pictures: NDArray[np.float32]) -> None:
        """Both runs at the patches."""
        channels = self.pad(3 * self.given.patch_size**2)
        shape = (self.tokens, channels)
        packed = np.stack([pack_patches(picture, self.given, *shape) for picture in pictures])
        self.declare(self.given.tensor, shape, "uint8")
        self.emulation.tensors[self.given.tensor] = torch.from_numpy(packed)
        self.pictures = torch.from_numpy(pictures)
        self.residual = reference.embed(self.model, self.pictures)

    def declare(self, name: str, shape: tuple[int, ...], dtype: Dtype) -> str:
        """Say what an operation will write; returns the name."""
        self.tensors[name] = ops.Tensor(name, shape, dtype)
        return name

    def emit(self, name: str, operation: ops.Operation) -> None:
        """Add an operation, and run it; what it writes is declared already."""
        self.operations.append(operation)
        self.names.append(name)
        self.emulation.execute(operation, self.tensors)

    def forget(self, *names: str) -> None:
        """Free what the integer run no longer needs."""
        for name in names:
            self.emulation.tensors.pop(name, None)

    def normalised(self, norm: Norm) -> Tensor:
        """The float32 run's residual stream under `norm`: (N, T, D)."""
        return reference.normalise(self.residual, norm)

    def result(self, output: ops.Output) -> ops.Quantised:
        return ops.Quantised(
            self.program.task,
            self.program.task_card,
            self.height,
            self.width,
            self.given,
            output,
            tuple(self.operations),
            tuple(self.names),
            self.tensors,
            self.tables,
        )


def patch_input(preprocessing: Preprocessing, patch_size: int) -> ops.PatchInput:
    """Pictures as the 8-bit pixels that they were before the card's preprocessing."""
    mean, deviation = preprocessing.mean, preprocessing.standard_deviation
    red, green, blue = (
        (-m / d, preprocessing.divisor * d) for m, d in zip(mean, deviation, strict=True)
    )
    low, scale = zip(red, green, blue, strict=True)
    return ops.PatchInput("patches", patch_size, low, scale)
