"""A compiled model: the constants of all its tasks in one image, and where the host finds what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.build import Build
from gearshift_hls.operations import Output, PatchInput, Tensor


@dataclass(frozen=True)
class Place:
    """A tensor and its address."""

    tensor: Tensor
    address: int


@dataclass(frozen=True)
class TaskProgram:
    """One task's descriptor list and what the host writes and reads around it."""

    name: str
    program: int
    """Address of the first descriptor."""
    descriptors: int
    """How many, `End` included."""
    input: PatchInput
    input_place: Place
    """In external memory, as is the output."""
    output: Output
    output_place: Place
    names: tuple[str, ...] = ()
    """Of the graph's node behind each descriptor but `End`; empty when nobody said."""


@dataclass(frozen=True)
class Bundle:
    """All tasks of a model at one image size, for one build. A switch is another `program`."""

    model: str
    board: str
    build: Build
    height: int
    width: int
    memory_bytes: int
    """External memory, constants and activations."""
    write_base: int
    """Where the constants end."""
    constants: NDArray[np.uint8]
    """Memory up to `write_base`: programs, weights, parameters, tables."""
    tasks: Mapping[str, TaskProgram]
    """By name, in the card's order."""
