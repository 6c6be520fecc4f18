"""The contract: the commands of the accelerator, word by word, and what makes one legal.

The single source: the C++ header, the SystemVerilog package and the table in the documentation
are generated from this file (`generate.py`). What the commands compute stands in `golden.py`.

A program is a list of descriptors of 32 little-endian 32-bit words in constant memory: word 0 the
opcode, then the command's fields in the order below, the rest 0. They are executed in order, each
as if the one before had finished, up to `End` or the first illegal one.

**Memory.** Byte addresses relative to one base. Below `write_base` lie constants (programs,
weights, parameters, tables), from there to the end of memory activations. From `SCRATCH` on lie
`Build.scratch_bytes` of on-chip memory for activations. A region starts at a multiple of 64 bytes
and lies in one of the three. Matrices are row by row without gaps: tokens (T, C), maps (h, w, C).
Channels are padded to `Build.channel_multiple`; padding holds zeros or is multiplied by zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar

import numpy as np

from gearshift_hls.build import Build
from gearshift_hls.command_fields import MAX_SHIFT as MAX_SHIFT
from gearshift_hls.command_fields import (
    address_word,
    channel_count,
    flag_word,
    multiplier_word,
    shift_word,
    word,
)
from gearshift_hls.regions import ALIGNMENT as ALIGNMENT
from gearshift_hls.regions import SCRATCH as SCRATCH
from gearshift_hls.regions import Region as Region
from gearshift_hls.regions import align as align
from gearshift_hls.regions import clashes, is_inside

WORDS = 32
DESCRIPTOR_BYTES = 4 * WORDS
HEAD_BYTES = 8
"""A head's parameters: score multiplier uint16, score shift uint8, 0, output multiplier uint16,
output shift uint8, 0."""
NORM_BYTES = 8
"""A channel's parameters in a norm: offset int32, gain int16, 0 int16."""
MAX_ROWS = 1 << 20
"""Rows of a matrix that is normalised or multiplied: tokens, or pixels of a map."""


class Status(IntEnum):
    """How a program ended: bits 0-7 of what the accelerator returns.

    Bits 8-31 are the number of the descriptor that ended it. After an error, the regions that this
    descriptor would have written hold anything; all other memory is as the ones before left it.
    """

    DONE = 1
    """The program reached `End`."""
    BAD_PROGRAM = 2
    """The next descriptor does not lie in constant memory, or not at a multiple of 64; or constant
    memory does not end in memory, or memory not before `SCRATCH`."""
    BAD_OPCODE = 3
    """Word 0 is no command."""
    BAD_SIZE = 4
    """A field outside its limits, or a layer that a buffer of this build cannot hold."""
    BAD_ADDRESS = 5
    """A region that is not aligned, not inside its memory, or written while it is read."""
    BAD_QUEUE = 6
    """An expert queue longer than the sequence, or with a token outside of it."""
    BAD_BUS = 7
    """External memory answered with an error; hardware alone can end so."""


class Format(IntEnum):
    """What a product writes."""

    INT8 = 0
    UINT8 = 1
    INT16 = 2
    RESIDUAL = 3
    """int32 with 16 fraction bits, added to the residual stream."""


ITEM_BYTES = {Format.INT8: 1, Format.UINT8: 1, Format.INT16: 2, Format.RESIDUAL: 4}


@dataclass(frozen=True)
class Command:
    """One descriptor; the subclasses are the instruction set."""

    opcode: ClassVar[int]

    def regions(self, build: Build) -> list[Region]:
        """What it touches; only of a command whose sizes are legal."""
        return []

    def fits(self, build: Build) -> bool:
        """Whether the build's buffers hold it, its fields being within their limits."""
        return True


@dataclass(frozen=True)
class End(Command):
    """The program is done."""

    opcode: ClassVar[int] = 0


@dataclass(frozen=True)
class Norm(Command):
    """LayerNorm of residual rows -> int8 rows, and the bare normalised values for a router."""

    opcode: ClassVar[int] = 1
    rows: int = word("tokens", MAX_ROWS, 1)
    channels: int = channel_count("width of a row", "max_norm_channels")
    true_channels: int = word("channels that are not padding", "max_norm_channels", 1)
    reciprocal: int = word("round(2^26 / true_channels)", 1 << 26, 1)
    root: int = word("round(2^11 sqrt(true_channels))", 1 << 16, 1)
    epsilon: int = word("round(2^32 epsilon true_channels)", least=1)
    shift: int = shift_word("gain x value + offset")
    x: int = address_word("residual rows, int32")
    parameters: int = address_word("a channel: offset int32, gain int16, 0 int16")
    y: int = address_word("int8 rows")
    normalised: int = address_word("int16 rows, 10 fraction bits; 0: none")

    def regions(self, build: Build) -> list[Region]:
        values = self.rows * self.channels
        regions = [
            Region("x", self.x, 4 * values, "read"),
            Region("parameters", self.parameters, NORM_BYTES * self.channels, "constant"),
            Region("y", self.y, values, "write"),
        ]
        if self.normalised:
            regions.append(Region("normalised", self.normalised, 2 * values, "write"))
        return regions

    def fits(self, build: Build) -> bool:
        return self.true_channels <= self.channels


@dataclass(frozen=True)
class Linear(Command):
    """Product of 8-bit rows with int8 weights, then bias, requantisation, GELU or residual."""

    opcode: ClassVar[int] = 2
    rows: int = word("tokens or pixels", MAX_ROWS, 1)
    inputs: int = channel_count("input channels")
    outputs: int = channel_count("output channels")
    x_unsigned: int = flag_word("x is uint8, not int8")
    format: int = word("of y: 0 int8, 1 uint8, 2 int16, 3 residual", 3)
    gelu: int = flag_word("GELU; format 0 or 1 only")
    gelu_multiplier: int = multiplier_word("GELU's result")
    gelu_shift: int = shift_word("GELU's result")
    zero: int = word("added to an 8-bit result", 255)
    x: int = address_word("8-bit rows")
    weights: int = address_word("weight streams, port by port")
    residual: int = address_word("residual rows that the result is added to; format 3 only")
    y: int = address_word("rows of the result; may equal residual")

    def regions(self, build: Build) -> list[Region]:
        values = self.rows * self.outputs
        stream = build.weight_ports * build.stream_bytes(self.inputs, self.outputs)
        regions = [
            Region("x", self.x, self.rows * self.inputs, "read"),
            Region("weights", self.weights, stream, "constant"),
            Region("y", self.y, values * ITEM_BYTES[Format(self.format)], "write"),
        ]
        if self.format == Format.RESIDUAL:
            regions.append(Region("residual", self.residual, 4 * values, "read"))
        return regions

    def fits(self, build: Build) -> bool:
        return self.inputs <= build.input_bytes and not (self.gelu and self.format > 1)


@dataclass(frozen=True)
class Attention(Command):
    """softmax(q k^T) v of every head, the softmax in a single pass over blocks of keys."""

    opcode: ClassVar[int] = 3
    tokens: int = word("tokens", "max_tokens", 1)
    heads: int = word("heads", "max_heads", 1)
    head_dim: int = channel_count("channels of a head", "max_head_dim")
    x: int = address_word("int8 rows: queries of all heads, keys of all heads, values of all heads")
    parameters: int = address_word(
        "a head: score multiplier uint16, shift uint8, 0, output multiplier uint16, shift uint8, 0"
    )
    y: int = address_word("int8 rows, head by head")

    def regions(self, build: Build) -> list[Region]:
        values = self.tokens * self.heads * self.head_dim
        return [
            Region("x", self.x, 3 * values, "read"),
            Region("parameters", self.parameters, HEAD_BYTES * self.heads, "constant"),
            Region("y", self.y, values, "write"),
        ]

    def fits(self, build: Build) -> bool:
        return 2 * self.tokens * self.head_dim <= build.input_bytes


@dataclass(frozen=True)
class Route(Command):
    """Scores of all experts for every token, the `top_k` best of them, and the expert queues.

    The queues: a uint32 for every expert, the tokens in its queue; then, each at the next multiple
    of 64 bytes, room for `tokens` entries of every expert: token uint16, gate score uint16 with 16
    fraction bits, in token order. Counts and queues are written up to the next multiple of 64
    bytes, with zeros; the room behind is left as it is.
    """

    opcode: ClassVar[int] = 4
    tokens: int = word("tokens", "max_tokens", 1)
    channels: int = channel_count("width of a token", "max_norm_channels")
    experts: int = word("experts", "max_experts", 1)
    top_k: int = word("experts of a token", "max_top_k", 1)
    multiplier: int = multiplier_word("a logit, to base 2 with 10 fraction bits")
    shift: int = shift_word("a logit")
    prune: int = word("a score not above this becomes 0; 16 fraction bits", 0xFFFF)
    normalised: int = address_word("int16 rows, as a norm leaves them")
    weights: int = address_word("int16 rows, one an expert")
    biases: int = address_word("int32, one an expert, in 1024 units of the products' sum")
    queues: int = address_word("the expert queues")

    def regions(self, build: Build) -> list[Region]:
        return [
            Region("normalised", self.normalised, 2 * self.tokens * self.channels, "read"),
            Region("weights", self.weights, 2 * self.experts * self.channels, "constant"),
            Region("biases", self.biases, 4 * self.experts, "constant"),
            Region("queues", self.queues, queue_bytes(self.experts, self.tokens), "write"),
        ]

    def fits(self, build: Build) -> bool:
        return self.top_k <= self.experts


@dataclass(frozen=True)
class Experts(Command):
    """Every expert over its queue: two products with GELU between, scaled by the gate score, added
    to the residual stream, the lowest expert first. Each used expert's weights are read once."""

    opcode: ClassVar[int] = 5
    tokens: int = word("tokens", "max_tokens", 1)
    channels: int = channel_count("width of a token")
    hidden: int = channel_count("hidden channels of an expert")
    experts: int = word("experts", "max_experts", 1)
    gelu_multiplier: int = multiplier_word("GELU's result")
    gelu_shift: int = shift_word("GELU's result")
    zero: int = word("added to a hidden value, which is uint8", 255)
    x: int = address_word("int8 rows")
    queues: int = address_word("the expert queues, as Route leaves them")
    weights: int = address_word("an expert: port by port the streams of its two products")
    y: int = address_word("residual rows, read and written")

    def regions(self, build: Build) -> list[Region]:
        values = self.tokens * self.channels
        stream = build.weight_ports * build.expert_bytes(self.channels, self.hidden)
        return [
            Region("x", self.x, values, "read"),
            Region("queues", self.queues, queue_bytes(self.experts, self.tokens), "read"),
            Region("weights", self.weights, self.experts * stream, "constant"),
            Region("y", self.y, 4 * values, "write"),
        ]

    def fits(self, build: Build) -> bool:
        return (
            self.tokens * self.channels <= build.input_bytes
            and self.tokens * self.hidden <= build.hidden_bytes
        )


@dataclass(frozen=True)
class Convolution(Command):
    """3x3 convolution of a map with a border of zeros, bias, ReLU; the map enlarged first if asked.

    The weights are those of a product with 9 x `inputs` input channels: the taps row by row, the
    channels of a tap together.
    """

    opcode: ClassVar[int] = 6
    height: int = word("of the result", "max_side", 1)
    width: int = word("of the result", "max_side", 1)
    inputs: int = channel_count("input channels")
    outputs: int = channel_count("output channels")
    upsample: int = flag_word("x has half the height and width and is enlarged bilinearly")
    x_unsigned: int = flag_word("x is uint8, not int8")
    x: int = address_word("8-bit map")
    weights: int = address_word("weight streams, port by port")
    y: int = address_word("uint8 map")

    def regions(self, build: Build) -> list[Region]:
        pixels = self.height * self.width
        stream = build.weight_ports * build.stream_bytes(9 * self.inputs, self.outputs)
        return [
            Region("x", self.x, pixels * self.inputs >> 2 * self.upsample, "read"),
            Region("weights", self.weights, stream, "constant"),
            Region("y", self.y, pixels * self.outputs, "write"),
        ]

    def fits(self, build: Build) -> bool:
        even = not self.upsample or (self.height % 2 == 0 and self.width % 2 == 0)
        rows_fit = 3 * self.width * self.inputs <= build.input_bytes
        return even and rows_fit and self.width <= build.max_tokens


@dataclass(frozen=True)
class Resize(Command):
    """An int16 map, enlarged bilinearly to twice its height and width."""

    opcode: ClassVar[int] = 7
    height: int = word("of x", "max_side", 1)
    width: int = word("of x", "max_side", 1)
    channels: int = channel_count("channels")
    x: int = address_word("int16 map")
    y: int = address_word("int16 map")

    def regions(self, build: Build) -> list[Region]:
        values = self.height * self.width * self.channels
        return [
            Region("x", self.x, 2 * values, "read"),
            Region("y", self.y, 8 * values, "write"),
        ]

    def fits(self, build: Build) -> bool:
        return 4 * self.width * self.channels <= build.input_bytes


COMMANDS: tuple[type[Command], ...] = (
    End,
    Norm,
    Linear,
    Attention,
    Route,
    Experts,
    Convolution,
    Resize,
)
"""By opcode."""


def queue_offset(expert: int, experts: int, tokens: int) -> int:
    """Bytes from the start of the queues to those of `expert`."""
    return align(4 * experts) + expert * align(4 * tokens)


def queue_bytes(experts: int, tokens: int) -> int:
    return queue_offset(experts, experts, tokens)


def encode(command: Command) -> bytes:
    """The descriptor of a command."""
    words = [command.opcode, *(getattr(command, each.name) for each in fields(command))]
    return np.array(words + [0] * (WORDS - len(words)), "<u4").tobytes()


def decode(descriptor: bytes) -> Command | None:
    """The command of a descriptor of 128 bytes; None when its opcode is unknown."""
    opcode, *words = np.frombuffer(descriptor, "<u4", WORDS).tolist()
    if opcode >= len(COMMANDS):
        return None
    kind = COMMANDS[opcode]
    return kind(*words[: len(fields(kind))])


def check(command: Command, build: Build, memory_bytes: int, write_base: int) -> Status:
    """`DONE` when the accelerator would execute it, else the error it ends with.

    Sizes are checked before addresses.
    """
    for each in fields(command):
        value, limits = getattr(command, each.name), each.metadata
        most = limits["most"]
        if isinstance(most, str):
            most = getattr(build, most)
        if not limits["least"] <= value <= most:
            return Status.BAD_SIZE
        if limits["lanes"] and value % build.channel_multiple:
            return Status.BAD_SIZE
    if not command.fits(build):
        return Status.BAD_SIZE
    regions = command.regions(build)
    if all(is_inside(region, build, memory_bytes, write_base) for region in regions):
        written = [region for region in regions if region.access == "write"]
        if not any(clashes(one, other) for one in written for other in regions):
            return Status.DONE
    return Status.BAD_ADDRESS
