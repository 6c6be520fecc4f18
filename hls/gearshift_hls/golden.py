"""The golden model: what every command computes, in plain integers.

The reference for the HLS C++, the RTL and the board, bit for bit: obviously right, not fast. A
function a command, in the order of `descriptor.COMMANDS`; `fixed_point` defines each rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gearshift_hls import fixed_point as fp
from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    ALIGNMENT,
    DESCRIPTOR_BYTES,
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
    check,
    decode,
    queue_bytes,
    queue_offset,
)
from gearshift_hls.fixed_point import Int
from gearshift_hls.records import CHANNEL, ENTRY, HEAD, NORM, Records, unpack_stream

Bytes = NDArray[np.uint8]
Trace = Callable[[int, str, Int], None]
"""Called with the descriptor's number, the name of an intermediate, and its values."""

FORMATS = {Format.INT8: "i1", Format.UINT8: "u1", Format.INT16: "<i2", Format.RESIDUAL: "<i4"}


@dataclass(frozen=True)
class Ending:
    """How a program ended."""

    status: Status
    descriptor: int
    """The number of the descriptor that ended it."""


class QueueError(Exception):
    """An expert queue that is too long, or names a token that does not exist."""


def run(
    build: Build,
    memory: Bytes,
    write_base: int,
    program: int,
    scratch: Bytes | None = None,
    trace: Trace | None = None,
) -> Ending:
    """Execute the program at address `program`, in place.

    Args:
        memory: all external memory (bytes), changed from `write_base` on.
        scratch: on-chip memory, `build.scratch_bytes`; what it holds before a run means nothing.
        trace: is told every intermediate.
    """
    if scratch is None:
        scratch = np.full(build.scratch_bytes, 0xA5, np.uint8)
    if not write_base <= len(memory) <= SCRATCH:
        return Ending(Status.BAD_PROGRAM, 0)
    number = 0
    while True:
        address = program + number * DESCRIPTOR_BYTES
        if address % ALIGNMENT or address + DESCRIPTOR_BYTES > write_base:
            return Ending(Status.BAD_PROGRAM, number)
        command = decode(memory[address : address + DESCRIPTOR_BYTES].tobytes())
        if command is None:
            return Ending(Status.BAD_OPCODE, number)
        status = check(command, build, len(memory), write_base)
        if status != Status.DONE or isinstance(command, End):
            return Ending(status, number)
        unit = _Unit(build, memory, scratch, number, trace)
        try:
            _EXECUTE[type(command)](unit, command)
        except QueueError:
            return Ending(Status.BAD_QUEUE, number)
        number += 1


class _Unit:
    """What the commands share: memory, and the trace."""

    def __init__(
        self, build: Build, memory: Bytes, scratch: Bytes, number: int, trace: Trace | None
    ) -> None:
        self.build = build
        self.memory = memory
        self.scratch = scratch
        self.number = number
        self.trace = trace

    def bytes_at(self, address: int, nbytes: int) -> Bytes:
        """A view of the region."""
        memory, start = self.memory, address
        if address >= SCRATCH:
            memory, start = self.scratch, address - SCRATCH
        return memory[start : start + nbytes]

    def records(self, address: int, dtype: np.dtype[Any], count: int) -> Records:
        return self.bytes_at(address, dtype.itemsize * count).view(dtype)

    def read(self, address: int, dtype: str, *shape: int) -> Int:
        nbytes = np.dtype(dtype).itemsize * prod(shape)
        return self.bytes_at(address, nbytes).view(dtype).reshape(shape).astype(np.int64)

    def write(self, address: int, dtype: str, values: Int) -> None:
        data = values.astype(dtype)
        assert (data == values).all(), "a value was not saturated to its format"
        self.bytes_at(address, data.nbytes)[:] = data.reshape(-1).view(np.uint8)

    def tell(self, name: str, values: Int) -> None:
        if self.trace is not None:
            self.trace(self.number, name, values)


@dataclass(frozen=True)
class _Product:
    """Weights (outputs, inputs) and the parameters of the output channels."""

    weights: Int
    channels: Mapping[str, Int]

    def __call__(self, x: Int) -> tuple[Int, Int]:
        """x (rows, inputs) -> int32 sums and requantised results, both (rows, outputs)."""
        total = fp.exact_product(x, self.weights.T)
        channels = self.channels
        return total, fp.requantise(
            total, channels["bias"], channels["multiplier"], channels["shift"]
        )


def _product(unit: _Unit, address: int, inputs: int, outputs: int) -> _Product:
    nbytes = unit.build.weight_ports * unit.build.stream_bytes(inputs, outputs)
    return _unpack(unit.build, unit.bytes_at(address, nbytes), inputs, outputs)


def _unpack(build: Build, stream: Bytes, inputs: int, outputs: int) -> _Product:
    weights, channels = unpack_stream(build, stream, inputs, outputs)
    return _Product(weights.astype(np.int64), _integers(channels, CHANNEL))


def _integers(records: Records, dtype: np.dtype[Any]) -> dict[str, Int]:
    return {name: records[name].astype(np.int64) for name in dtype.names or ()}


def _norm(unit: _Unit, command: Norm) -> None:
    """LayerNorm (Ba et al., 2016) in two passes over a row: the mean, then the deviations."""
    rows, channels, true = command.rows, command.channels, command.true_channels
    x = fp.saturate(unit.read(command.x, "<i4", rows, channels), 27)
    mean = fp.shift_right(x.sum(axis=1, keepdims=True) * command.reciprocal, 26)
    deviation = np.where(np.arange(channels) < true, fp.saturate(x - mean, 27), 0)
    variance = (deviation**2).sum(axis=1, keepdims=True) + command.epsilon
    root, half = fp.reciprocal_root(np.minimum(variance, (1 << 62) - 1))
    scale = fp.shift_right(root * command.root, 12)
    values = fp.saturate(fp.shift_right(deviation * scale, 6 + half), 16)
    unit.tell("normalised", values)
    channel = _integers(unit.records(command.parameters, NORM, channels), NORM)
    y = fp.shift_right(values * channel["gain"] + channel["offset"], command.shift)
    y = np.where(np.arange(channels) < true, fp.saturate(y, 8), 0)
    unit.tell("y", y)
    unit.write(command.y, "i1", y)
    if command.normalised:
        unit.write(command.normalised, "<i2", values)


def _linear(unit: _Unit, command: Linear) -> None:
    dtype = "u1" if command.x_unsigned else "i1"
    x = unit.read(command.x, dtype, command.rows, command.inputs)
    product = _product(unit, command.weights, command.inputs, command.outputs)
    total, y = product(x)
    unit.tell("sum", total)
    kind = Format(command.format)
    if command.gelu:
        y = _gelu(unit, y, command)
    if kind == Format.RESIDUAL:
        y = y + unit.read(command.residual, "<i4", command.rows, command.outputs)
        y = fp.saturate(y, 32)
    elif kind == Format.INT16:
        y = fp.saturate(y, 16)
    else:
        y = fp.saturate(y + command.zero, 8, unsigned=kind == Format.UINT8)
    unit.tell("y", y)
    unit.write(command.y, FORMATS[kind], y)


def _gelu(unit: _Unit, y: Int, command: Linear | Experts) -> Int:
    """Requantised products -> GELU, requantised once more."""
    value = fp.saturate(y, 16)
    unit.tell("gelu input", value)
    return fp.shift_right(fp.gelu(value) * command.gelu_multiplier, command.gelu_shift)


def _attention(unit: _Unit, command: Attention) -> None:
    """Softmax in base 2 with a running maximum that is an integer, so that rescaling is a shift.

    Keys come in blocks of `output_lanes`. Source of the idea: Stevens et al., "Softermax" (DAC
    2021); of the order of the loops: Sarkar et al., "Edge-MoE" (ICCAD 2023).
    """
    tokens, heads, head_dim = command.tokens, command.heads, command.head_dim
    x = unit.read(command.x, "i1", tokens, 3, heads, head_dim)
    parameters = _integers(unit.records(command.parameters, HEAD, heads), HEAD)
    y = np.empty((tokens, heads, head_dim), np.int64)
    for head in range(heads):
        queries, keys, values = x[:, 0, head], x[:, 1, head], x[:, 2, head]
        mine = {name: value[head] for name, value in parameters.items()}
        y[:, head] = _attend(unit, queries, keys, values, mine)
    unit.tell("y", y)
    unit.write(command.y, "i1", y)


def _attend(unit: _Unit, queries: Int, keys: Int, values: Int, head: Mapping[str, Int]) -> Int:
    """One head: (T, head_dim) each -> int8 (T, head_dim)."""
    tokens, block = len(keys), unit.build.output_lanes
    largest = total = np.zeros((tokens, 1), np.int64)
    weighted = np.zeros_like(values)
    for start in range(0, tokens, block):
        these = slice(start, start + block)
        dots = fp.exact_product(queries, keys[these].T)
        scaled = fp.shift_right(dots * head["score_multiplier"], head["score_shift"] & 63)
        scores = fp.saturate(scaled, 32)
        unit.tell("scores", scores)
        ceiling = -(-scores.max(axis=1, keepdims=True) >> fp.VALUE_BITS)
        new = ceiling if start == 0 else np.maximum(largest, ceiling)
        fall = np.minimum(new - largest, 31) if start else np.zeros_like(new)
        largest = new
        below = (largest << fp.VALUE_BITS) - scores
        weights = np.minimum(fp.shift_right(fp.power(below), 8), 255)
        unit.tell("weights", weights)
        total = fp.shift_right(total, fall) + weights.sum(axis=1, keepdims=True)
        weighted = fp.shift_right(weighted, fall) + fp.exact_product(weights, values[these])
    inverse = ((1 << 32) + total // 2) // total
    mean = fp.shift_right(weighted * inverse, 32 - fp.VALUE_BITS)
    y = fp.shift_right(mean * head["output_multiplier"], head["output_shift"] & 63)
    return fp.saturate(y, 8)


def _route(unit: _Unit, command: Route) -> None:
    """Equal logits go to the lower expert; scores are not renormalised over the chosen ones."""
    tokens, experts = command.tokens, command.experts
    x = unit.read(command.normalised, "<i2", tokens, command.channels)
    weights = unit.read(command.weights, "<i2", experts, command.channels)
    biases = unit.read(command.biases, "<i4", experts)
    logits = fp.exact_product(x, weights.T) + (biases << 10)
    unit.tell("logits", logits)
    chosen = np.argsort(-logits, axis=1, kind="stable")[:, : command.top_k]
    powers = fp.saturate(fp.shift_right(logits * command.multiplier, command.shift), 32)
    below = powers.max(axis=1, keepdims=True) - powers
    terms = fp.power(below)
    total = terms.sum(axis=1, keepdims=True)
    shares = ((np.take_along_axis(terms, chosen, 1) << fp.SCORE_BITS) + total // 2) // total
    scores = np.minimum(shares, 65535)
    scores = np.where(scores <= command.prune, 0, scores)
    unit.tell("chosen", chosen)
    unit.tell("scores", scores)
    queues = unit.bytes_at(command.queues, queue_bytes(experts, tokens))
    queues[: align(4 * experts)] = 0
    for expert in range(experts):
        token, slot = np.nonzero(chosen == expert)
        entries = np.zeros(align(ENTRY.itemsize * len(token)) // ENTRY.itemsize, ENTRY)
        entries["token"][: len(token)] = token
        entries["score"][: len(token)] = scores[token, slot]
        queues[4 * expert : 4 * expert + 4] = np.array([len(token)], "<u4").view(np.uint8)
        place = queue_offset(expert, experts, tokens)
        queues[place : place + entries.nbytes] = entries.view(np.uint8)


def _experts(unit: _Unit, command: Experts) -> None:
    tokens, channels = command.tokens, command.channels
    x = unit.read(command.x, "i1", tokens, channels)
    residual = unit.read(command.y, "<i4", tokens, channels)
    for expert in range(command.experts):
        token, score = _queue(unit, command, expert)
        if len(token) == 0:
            continue
        first, second = _expert_products(unit, command, expert)
        gelu = _gelu(unit, first(x[token])[1], command)
        middle = fp.saturate(gelu + command.zero, 8, unsigned=True)
        unit.tell("hidden", middle)
        answer = fp.saturate(second(middle)[1], 32)
        unit.tell("answer", answer)
        for row, share, value in zip(token, score, answer, strict=True):
            part = fp.shift_right(value * share, fp.SCORE_BITS)
            residual[row] = fp.saturate(residual[row] + part, 32)
    unit.tell("y", residual)
    unit.write(command.y, "<i4", residual)


def _expert_products(unit: _Unit, command: Experts, expert: int) -> tuple[_Product, _Product]:
    """A port's stream of an expert is that of its first product, then that of its second."""
    channels, hidden, build = command.channels, command.hidden, unit.build
    nbytes = build.weight_ports * build.expert_bytes(channels, hidden)
    stream = unit.bytes_at(command.weights + expert * nbytes, nbytes)
    first, second = np.split(
        stream.reshape(build.weight_ports, -1), [build.stream_bytes(channels, hidden)], axis=1
    )
    return _unpack(build, first, channels, hidden), _unpack(build, second, hidden, channels)


def _queue(unit: _Unit, command: Experts, expert: int) -> tuple[Int, Int]:
    """Tokens and gate scores of the queue."""
    (count,) = unit.read(command.queues + 4 * expert, "<u4", 1)
    if count > command.tokens:
        raise QueueError
    place = command.queues + queue_offset(expert, command.experts, command.tokens)
    entries = _integers(unit.records(place, ENTRY, int(count)), ENTRY)
    if (entries["token"] >= command.tokens).any():
        raise QueueError
    return entries["token"], entries["score"]


def _convolution(unit: _Unit, command: Convolution) -> None:
    height, width, inputs = command.height, command.width, command.inputs
    dtype = "u1" if command.x_unsigned else "i1"
    half = command.upsample
    x = unit.read(command.x, dtype, height >> half, width >> half, inputs)
    if command.upsample:
        x = enlarge(x)
        unit.tell("enlarged", x)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    rows = np.concatenate(taps, axis=2).reshape(height * width, 9 * inputs)
    product = _product(unit, command.weights, 9 * inputs, command.outputs)
    y = fp.saturate(product(rows)[1], 8, unsigned=True)
    unit.tell("y", y)
    unit.write(command.y, "u1", y)


def _resize(unit: _Unit, command: Resize) -> None:
    x = unit.read(command.x, "<i2", command.height, command.width, command.channels)
    y = enlarge(x)
    unit.tell("y", y)
    unit.write(command.y, "<i2", y)


def enlarge(x: Int) -> Int:
    """(h, w, C) -> (2h, 2w, C), bilinear with half-pixel centres, one rounding at the end.

    Every result is 9, 3, 3 and 1 sixteenths of the four nearest pixels; beyond the border stands
    the border's pixel.
    """
    return fp.shift_right(_double(_double(x, 0), 1), 4)


def _double(x: Int, axis: int) -> Int:
    """Twice as long along `axis`, times 4."""
    before = np.concatenate([x.take([0], axis), x], axis).take(range(x.shape[axis]), axis)
    after = np.concatenate([x, x.take([-1], axis)], axis).take(range(1, x.shape[axis] + 1), axis)
    pairs = np.stack([before + 3 * x, 3 * x + after], axis + 1)
    return pairs.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])


_EXECUTE = cast(
    Mapping[type[Command], Callable[[_Unit, Command], None]],
    {
        Norm: _norm,
        Linear: _linear,
        Attention: _attention,
        Route: _route,
        Experts: _experts,
        Convolution: _convolution,
        Resize: _resize,
    },
)
