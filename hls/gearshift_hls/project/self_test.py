"""A small random program with every command, and what memory holds after it.

The C test bench of a project runs it, in C simulation and against the RTL: its result is that of
the golden model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gearshift_hls import golden
from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    SCRATCH,
    Attention,
    Command,
    Convolution,
    End,
    Experts,
    Format,
    Linear,
    Norm,
    Resize,
    Route,
    Status,
    align,
    encode,
    queue_bytes,
)
from gearshift_hls.records import CHANNEL, HEAD, NORM, Records, pack_stream

Bytes = NDArray[np.uint8]

EXPERTS = 3
TOP_K = 2
HEIGHT, WIDTH = 2, 4
WRITE_BASE = 1 << 16
"""Room for the constants."""


@dataclass(frozen=True)
class SelfTest:
    """A program, memory before and after it."""

    before: Bytes
    after: Bytes
    write_base: int
    program: int
    """Address of the first descriptor."""
    ending: golden.Ending


def make_self_test(build: Build, seed: int = 0) -> SelfTest:
    """Every command once or more, over external and on-chip memory, of small sizes."""
    maker = _Maker(build, np.random.default_rng(seed))
    commands = maker.commands()
    program = maker.constant(b"".join(encode(command) for command in commands))
    before = maker.image()
    after = before.copy()
    ending = golden.run(build, after, WRITE_BASE, program)
    assert ending == golden.Ending(Status.DONE, len(commands) - 1), ending
    return SelfTest(before, after, WRITE_BASE, program, ending)


def memory_header(test: SelfTest) -> str:
    """The test as constants of C++: memory as little-endian words of 64 bits."""
    ending = int(test.ending.status) | test.ending.descriptor << 8
    return f"""\
// Made by gearshift: a random program with every command, and what the golden model leaves.
#pragma once

#include <cstdint>

namespace testbench {{

constexpr std::uint32_t MEMORY_BYTES = {len(test.before)};
constexpr std::uint32_t WRITE_BASE = {test.write_base};
constexpr std::uint32_t PROGRAM = {test.program};
constexpr std::uint32_t ENDING = {ending};

// All of memory.
const std::uint64_t BEFORE[] = {{
{_c_words(test.before)}
}};

// From WRITE_BASE on.
const std::uint64_t AFTER[] = {{
{_c_words(test.after[test.write_base :])}
}};

}}  // namespace testbench
"""


def _c_words(data: Bytes) -> str:
    words = [f"0x{word:016x}," for word in data.view("<u8").tolist()]
    return "\n".join("    " + " ".join(words[i : i + 4]) for i in range(0, len(words), 4))


class _Maker:
    """Lays out constants and activations as the commands ask for them.

    Multipliers and shifts are such that most results neither vanish nor saturate: `2^-shift` times
    a multiplier around 2^15 brings a sum of `channels` products to some tens of an int8, or to
    about one in fixed point.
    """

    def __init__(self, build: Build, random: np.random.Generator) -> None:
        self.build = build
        self.random = random
        self.tokens = build.output_lanes + 1
        """Two blocks of keys."""
        self.channels = build.channel_multiple
        self.constants = bytearray()
        self.end = WRITE_BASE
        self.scratch_end = SCRATCH

    def commands(self) -> list[Command]:
        rows, channels = self.tokens, self.channels
        patches, stream = self.tensor(rows * channels), self.on_chip(4 * rows * channels)
        y, normalised = self.tensor(rows * channels), self.on_chip(2 * rows * channels)
        qkv, heads = self.tensor(3 * rows * channels), self.on_chip(rows * channels)
        queues = self.tensor(queue_bytes(EXPERTS, rows))
        table = self.constant(self.random.integers(-(1 << 16), 1 << 16, rows * channels, "<i4"))
        return [
            Linear(rows, channels, channels, 1, Format.RESIDUAL, 0, 0, 0, 0, patches,
                   self.weights(channels, channels, 15), table, stream),
            self.norm(stream, y, 0),
            Linear(rows, channels, 3 * channels, 0, Format.INT8, 0, 0, 0, 0, y,
                   self.weights(channels, 3 * channels, 24), 0, qkv),
            Attention(rows, 1, channels, qkv, self.head(), heads),
            Linear(rows, channels, channels, 0, Format.RESIDUAL, 0, 0, 0, 0, heads,
                   self.weights(channels, channels, 14), stream, stream),
            self.norm(stream, y, normalised),
            self.route(normalised, queues),
            Experts(rows, channels, channels, EXPERTS, 40_000, 26, 7, y, queues,
                    self.experts(), stream),
            self.norm(stream, y, 0),
            Linear(rows, channels, channels, 0, Format.UINT8, 1, 40_000, 26, 7, y,
                   self.weights(channels, channels, 19), 0, self.tensor(rows * channels)),
            *self.decoder(),
            End(),
        ]  # fmt: skip

    def decoder(self) -> list[Command]:
        """An enlarged map, a product of its pixels, the result enlarged."""
        pixels, channels = HEIGHT * WIDTH, self.channels
        small, features = self.tensor(pixels // 4 * channels), self.on_chip(pixels * channels)
        scores, result = self.on_chip(2 * pixels * channels), self.tensor(8 * pixels * channels)
        return [
            Convolution(HEIGHT, WIDTH, channels, channels, 1, 1, small,
                        self.weights(9 * channels, channels, 27), features),
            Linear(pixels, channels, channels, 1, Format.INT16, 0, 0, 0, 0, features,
                   self.weights(channels, channels, 20), 0, scores),
            Resize(HEIGHT, WIDTH, channels, scores, result),
        ]  # fmt: skip

    def norm(self, x: int, y: int, normalised: int) -> Norm:
        """All channels but the last are true."""
        channels, true = self.channels, self.channels - 1
        parameters = self.records(NORM, channels)
        parameters["offset"] = self.random.integers(-(1 << 22), 1 << 22, channels)
        parameters["gain"] = self.random.integers(-25_000, 25_000, channels)
        reciprocal, root = round(2**26 / true), round(2**11 * true**0.5)
        epsilon = round(2**32 * 1e-6 * true)
        address = self.constant(parameters)
        return Norm(
            self.tokens, channels, true, reciprocal, root, epsilon, 19, x, address, y, normalised
        )

    def route(self, normalised: int, queues: int) -> Route:
        weights = self.random.integers(-20_000, 20_000, (EXPERTS, self.channels), "<i2")
        biases = self.random.integers(-10_000, 10_000, EXPERTS, "<i4")
        return Route(
            self.tokens, self.channels, EXPERTS, TOP_K, 40_000, 31, 6_000,
            normalised, self.constant(weights), self.constant(biases), queues,
        )  # fmt: skip

    def head(self) -> int:
        parameters = self.records(HEAD, 1)
        parameters["score_multiplier"], parameters["score_shift"] = 60_000, 19
        parameters["output_multiplier"], parameters["output_shift"] = 50_000, 25
        return self.constant(parameters)

    def experts(self) -> int:
        """Every expert port by port: the stream of its first product, then of its second."""
        channels, ports = self.channels, self.build.weight_ports
        experts = []
        for _ in range(EXPERTS):
            streams = [
                np.frombuffer(self.stream(channels, channels, shift), np.uint8).reshape(ports, -1)
                for shift in (19, 13)
            ]
            experts.append(np.concatenate(streams, axis=1))
        return self.constant(np.stack(experts))

    def weights(self, inputs: int, outputs: int, shift: int) -> int:
        return self.constant(self.stream(inputs, outputs, shift))

    def stream(self, inputs: int, outputs: int, shift: int) -> bytes:
        channels = self.records(CHANNEL, outputs)
        channels["bias"] = self.random.integers(-20_000, 20_000, outputs)
        channels["multiplier"] = self.random.integers(1 << 15, 1 << 16, outputs)
        channels["shift"] = shift
        weights = self.random.integers(-128, 128, (outputs, inputs), np.int8)
        return pack_stream(self.build, weights, channels)

    def records(self, dtype: np.dtype[np.void], count: int) -> Records:
        return np.zeros(count, dtype)

    def constant(self, data: Records | bytes) -> int:
        """Put constants at the next place; their address."""
        address = len(self.constants)
        self.constants += data if isinstance(data, bytes) else data.tobytes()
        self.constants += bytes(align(len(self.constants)) - len(self.constants))
        return address

    def tensor(self, nbytes: int) -> int:
        """Room for activations in external memory; its address."""
        address, self.end = self.end, align(self.end + nbytes)
        return address

    def on_chip(self, nbytes: int) -> int:
        address, self.scratch_end = self.scratch_end, align(self.scratch_end + nbytes)
        return address

    def image(self) -> Bytes:
        """Memory before the run; what is no constant is random."""
        assert len(self.constants) <= WRITE_BASE
        image = self.random.integers(0, 256, self.end, np.uint8)
        image[: len(self.constants)] = np.frombuffer(bytes(self.constants), np.uint8)
        return image
