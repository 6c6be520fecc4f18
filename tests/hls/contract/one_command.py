"""One command in memory of its own: arrays in, golden model, arrays out; and float64 formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_hls import golden
from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    Command,
    End,
    Norm,
    Region,
    Status,
    align,
    encode,
)
from gearshift_hls.fixed_point import Int
from gearshift_hls.records import CHANNEL

Float64 = NDArray[np.float64]
Generator = np.random.Generator
Arrays = Mapping[str, NDArray[Any]]

# Of fixed_point, see test_fixed_point.py.
GELU_ERROR = (1 / 32) ** 2 / 8 * 2 / math.sqrt(2 * math.pi) + 2 * 2.0**-17 + 2.0**-26
POWER_ERROR = (math.log(2) / 64) ** 2 / 8 + 3 * 2.0**-17
ROOT_ERROR = 2 * ((1 / 64) ** 2 / 8 * 3 / 4 + 2 * 2.0**-17 + 2.0**-22)
"""As a share of the root."""
GELU_SLOPE = 1.13
"""The largest of GELU, at sqrt 2."""


class OneCommand:
    """A program of the command and `End`; every region is one of `arrays` or anything.

    Constants lie in front, then what is read, then what is written, each 64 bytes apart.
    """

    def __init__(self, build: Build, command: Command, arrays: Arrays, seed: int = 0) -> None:
        place = 2 * DESCRIPTOR_BYTES
        bases = []
        if isinstance(command, Norm):
            command = replace(command, normalised=1)
        for access in ("constant", "read", "write"):
            for region in command.regions(build):
                if region.access == access:
                    command = replace(command, **{region.field: place})
                    place += align(region.nbytes) + 64
            bases.append(place)
        self.build, self.command, self.write_base = build, command, bases[0]
        self.memory = np.random.default_rng(seed).integers(0, 256, place, np.uint8)
        self.memory[:DESCRIPTOR_BYTES] = np.frombuffer(encode(command), np.uint8)
        end = np.frombuffer(encode(End()), np.uint8)
        self.memory[DESCRIPTOR_BYTES : 2 * DESCRIPTOR_BYTES] = end
        for name, array in arrays.items():
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            region = self.region(name)
            assert len(data) == region.nbytes, name
            self.memory[region.address : region.address + region.nbytes] = data
        self.traced: dict[str, list[Int]] = {}

    def region(self, name: str) -> Region:
        (found,) = [each for each in self.command.regions(self.build) if each.field == name]
        return found

    def run(self) -> OneCommand:
        """Execute; what was told to the trace stands in `traced`."""

        def trace(number: int, name: str, values: Int) -> None:
            self.traced.setdefault(name, []).append(values)

        ending = golden.run(self.build, self.memory, self.write_base, 0, trace=trace)
        assert ending == golden.Ending(Status.DONE, 1)
        return self

    def result(self, name: str, dtype: str, *shape: int) -> Int:
        """A region, as it is now."""
        region = self.region(name)
        data = self.memory[region.address : region.address + region.nbytes]
        return data.view(dtype).reshape(shape).astype(np.int64)


def int8(rng: Generator, *shape: int) -> NDArray[np.int8]:
    return rng.integers(-128, 128, shape).astype(np.int8)


def records(dtype: np.dtype[Any], **values: Any) -> NDArray[Any]:
    """Records with these fields, the others 0."""
    length = max(np.size(value) for value in values.values())
    made = np.zeros(length, dtype)
    for name, value in values.items():
        made[name] = value
    return made


def channels_of(rng: Generator, inputs: int, outputs: int, bits: int = 8) -> NDArray[Any]:
    """Parameters that leave results of about `bits` bits."""
    shift = round(13 + math.log2(inputs) / 2 + 16 - bits)
    return records(
        CHANNEL,
        bias=rng.integers(-5000, 5000, outputs),
        multiplier=rng.integers(1 << 15, 1 << 16, outputs),
        shift=rng.integers(shift - 1, shift + 2, outputs),
    )


def scale_of(channels: NDArray[Any]) -> Float64:
    return channels["multiplier"] * np.exp2(-channels["shift"].astype(np.float64))


def product(x: NDArray[Any], weights: NDArray[Any], channels: NDArray[Any]) -> Float64:
    """In float64, which holds the sums exactly."""
    total = x.astype(np.float64) @ weights.T.astype(np.float64) + channels["bias"]
    return np.asarray(total * scale_of(channels))
