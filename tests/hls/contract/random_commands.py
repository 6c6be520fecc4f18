"""Random commands and their constants, without the addresses of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    COMMANDS,
    MAX_SHIFT,
    Attention,
    Command,
    Convolution,
    Experts,
    Linear,
    Norm,
    Resize,
    Route,
    align,
    queue_bytes,
    queue_offset,
)
from gearshift_hls.records import CHANNEL, ENTRY, HEAD, NORM, pack_stream

Bytes = NDArray[np.uint8]
Kind = type[Command]

KINDS: tuple[Kind, ...] = COMMANDS[1:]
PRODUCTS = 1 << 21
"""Multiplications of a command at most, so that tests are quick."""


def texture(rng: np.random.Generator, nbytes: int) -> Bytes:
    """Bytes of one of several kinds: anything, extremes, small int32, small int16, zeros."""
    kind = int(rng.integers(5))
    if kind == 0:
        return rng.integers(0, 256, nbytes, np.uint8)
    if kind == 1:
        return rng.choice(np.array([0, 1, 127, 128, 255], np.uint8), nbytes)
    if kind == 4:
        return np.zeros(nbytes, np.uint8)
    dtype, bits = ("<i4", 31) if kind == 2 else ("<i2", 15)
    scale = 2.0 ** rng.uniform(0, bits)
    values = np.clip(rng.normal(0, scale / 4, nbytes // 2 + 2), -(2.0**bits), 2.0**bits - 1)
    return np.rint(values).astype(dtype).view(np.uint8)[:nbytes].copy()


@dataclass
class Commands:
    """A list of commands and the constants that they point to, as it grows."""

    build: Build
    rng: np.random.Generator
    head: int
    """Bytes in front of the constants, for the descriptors."""
    constants: list[Bytes] = field(default_factory=list)
    made: list[Command] = field(default_factory=list)

    def add(self, kind: Kind) -> None:
        """A command with the addresses of its constants; those of tensors are 0."""
        self.made.append(_SIZES[kind](self))

    @property
    def end(self) -> int:
        """Where the constants end."""
        return self.head + sum(map(len, self.constants))

    # Constants.

    def constant(self, data: Bytes | NDArray[Any]) -> int:
        """Its address."""
        data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        address = self.end
        self.constants.append(np.pad(data, (0, align(len(data)) - len(data))))
        return address

    def weights(self, inputs: int, outputs: int, bits: int = 8) -> Bytes:
        """The streams of a product whose results have about `bits` bits, or any number."""
        rows = texture(self.rng, inputs * outputs).view(np.int8).reshape(outputs, inputs)
        channels = self.channels(inputs, outputs, bits)
        return np.frombuffer(pack_stream(self.build, rows, channels), np.uint8)

    def channels(self, inputs: int, outputs: int, bits: int) -> NDArray[Any]:
        if self.wild():
            return texture(self.rng, CHANNEL.itemsize * outputs).view(CHANNEL)
        channels = np.zeros(outputs, CHANNEL)
        channels["bias"] = self.rng.integers(-(1 << 12), 1 << 12, outputs)
        channels["multiplier"] = self.rng.integers(1 << 15, 1 << 16, outputs)
        typical = round(13 + np.log2(inputs) / 2 + 16 - bits)
        channels["shift"] = typical + self.rng.integers(-3, 4, outputs)
        return channels

    # Choices.

    def wild(self) -> bool:
        """Whether anything that is legal goes."""
        return bool(self.rng.random() < 0.15)

    def flag(self) -> int:
        return int(self.rng.integers(2))

    def size(self, most: int, step: int = 1) -> int:
        """1 .. most steps: often one, often the limit."""
        steps = max(most // step, 1)
        kind = self.rng.random()
        if kind < 0.2:
            return step
        if kind < 0.35:
            return step * steps
        return step * int(self.rng.integers(1, steps + 1))

    def channel_size(self, most: int) -> int:
        return self.size(most, self.build.channel_multiple)

    def shift(self, low: int, high: int) -> int:
        return int(self.rng.integers(0, MAX_SHIFT + 1) if self.wild() else self.integer(low, high))

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]


# One function a command: sizes, scales and constants.


def _norm(maker: Commands) -> Command:
    channels = maker.channel_size(maker.build.max_norm_channels)
    true = maker.pick(channels, channels, maker.integer(1, channels))
    parameters = np.zeros(channels, NORM)
    parameters["gain"] = maker.rng.integers(-(1 << 15), 1 << 15, channels)
    parameters["offset"] = maker.rng.integers(-(1 << 22), 1 << 22, channels)
    if maker.wild():
        parameters = texture(maker.rng, parameters.nbytes).view(NORM)
    wild = maker.wild()
    return Norm(
        rows=maker.size(40),
        channels=channels,
        true_channels=true,
        reciprocal=maker.integer(1, 1 << 26) if wild else round(2**26 / true),
        root=maker.integer(1, 1 << 16) if wild else round(2**11 * true**0.5),
        epsilon=int(2 ** maker.rng.uniform(0, 32)),
        shift=maker.shift(14, 20),
        x=0,
        parameters=maker.constant(parameters),
        y=0,
        normalised=maker.flag(),
    )


def _linear(maker: Commands) -> Command:
    build = maker.build
    inputs = maker.channel_size(min(build.max_channels, 512))
    outputs = maker.channel_size(min(build.max_channels, 512))
    rows = maker.size(maker.pick(20, 2 * build.max_tokens))
    gelu = maker.flag()
    kind = maker.integer(0, 1) if gelu else maker.pick(0, 1, 2, 3, 3, 3)
    weights = maker.weights(inputs, outputs, 12 if gelu else 8)
    return Linear(
        rows=max(1, min(rows, PRODUCTS // (inputs * outputs))),
        inputs=inputs,
        outputs=outputs,
        x_unsigned=maker.flag(),
        format=kind,
        gelu=gelu,
        gelu_multiplier=maker.integer(0, 0xFFFF),
        gelu_shift=maker.shift(20, 30),
        zero=maker.integer(0, 255),
        x=0,
        weights=maker.constant(weights),
        residual=0,
        y=0,
    )


def _attention(maker: Commands) -> Command:
    build = maker.build
    head_dim = maker.channel_size(build.max_head_dim)
    tokens = maker.size(min(build.max_tokens, build.input_bytes // 2 // head_dim, 150))
    heads = maker.size(build.max_heads)
    heads = max(1, min(heads, PRODUCTS // (2 * tokens**2 * head_dim)))
    parameters = np.zeros(heads, HEAD)
    parameters["score_multiplier"] = maker.rng.integers(1, 1 << 16, heads)
    parameters["score_shift"] = maker.rng.integers(10, 26, heads)
    parameters["output_multiplier"] = maker.rng.integers(1 << 15, 1 << 16, heads)
    parameters["output_shift"] = maker.rng.integers(23, 27, heads)
    if maker.wild():
        parameters = texture(maker.rng, parameters.nbytes).view(HEAD)
    return Attention(tokens, heads, head_dim, 0, maker.constant(parameters), 0)


def _route(maker: Commands) -> Command:
    build = maker.build
    channels = maker.channel_size(build.max_norm_channels)
    experts = maker.size(build.max_experts)
    tokens = maker.size(min(build.max_tokens, PRODUCTS // (channels * experts)))
    weights = texture(maker.rng, 2 * experts * channels).view("<i2").reshape(experts, channels)
    biases = maker.rng.integers(-(1 << 16), 1 << 16, experts, dtype=np.int32)
    kind = maker.rng.random()
    if kind < 0.2:  # equal logits
        weights[:], biases[:] = weights[0], biases[0]
    elif kind < 0.4:  # all tokens choose this one
        biases[maker.integer(0, experts - 1)] = 2**31 - 1
    return Route(
        tokens=tokens,
        channels=channels,
        experts=experts,
        top_k=maker.size(min(build.max_top_k, experts)),
        multiplier=maker.integer(0, 0xFFFF),
        shift=maker.shift(16, 44),
        prune=maker.pick(0, 0, 65535, maker.integer(0, 65535)),
        normalised=0,
        weights=maker.constant(weights),
        biases=maker.constant(biases),
        queues=0,
    )


def _experts(maker: Commands) -> Command:
    """Behind a router of the same program, its queues are often taken."""
    build = maker.build
    routers = [each for each in maker.made if isinstance(each, Route)]
    channels = maker.channel_size(min(build.max_channels, build.input_bytes, 256))
    hidden = maker.channel_size(min(build.max_channels, build.hidden_bytes, 256))
    room = min(build.input_bytes // channels, build.hidden_bytes // hidden, build.max_tokens)
    tokens, experts = maker.size(room), maker.size(min(build.max_experts, 8))
    queues = None
    if routers and maker.rng.random() < 0.7:
        tokens, experts = routers[-1].tokens, routers[-1].experts
        if tokens * max(channels, hidden) > min(build.input_bytes, build.hidden_bytes):
            channels = hidden = build.channel_multiple
        if tokens * channels <= min(build.input_bytes, build.hidden_bytes):
            queues = 0
        else:
            tokens = room
    if queues is None:
        queues = maker.constant(make_queues(maker.rng, experts, tokens))
    streams = []
    for _ in range(experts):
        first = maker.weights(channels, hidden, 12)
        second = maker.weights(hidden, channels, 20)
        ports = [part.reshape(build.weight_ports, -1) for part in (first, second)]
        streams.append(np.concatenate(ports, axis=1))
    return Experts(
        tokens=tokens,
        channels=channels,
        hidden=hidden,
        experts=experts,
        gelu_multiplier=maker.integer(0, 0xFFFF),
        gelu_shift=maker.shift(20, 30),
        zero=maker.integer(0, 255),
        x=0,
        queues=queues,
        weights=maker.constant(np.stack(streams)),
        y=0,
    )


def make_queues(rng: np.random.Generator, experts: int, tokens: int) -> Bytes:
    """Legal queues: empty ones, full ones, any number of tokens; at times not in order."""
    data = texture(rng, queue_bytes(experts, tokens))
    for expert in range(experts):
        count = int(rng.choice([0, tokens, rng.integers(0, tokens + 1)]))
        entries = np.zeros(count, ENTRY)
        entries["token"] = np.sort(rng.choice(tokens, count, replace=False))
        if rng.random() < 0.2:
            entries["token"] = rng.integers(0, tokens, count)
        entries["score"] = rng.integers(0, 1 << 16, count)
        data[4 * expert : 4 * expert + 4] = np.array([count], "<u4").view(np.uint8)
        place = queue_offset(expert, experts, tokens)
        data[place : place + entries.nbytes] = entries.view(np.uint8)
    return data


def _convolution(maker: Commands) -> Command:
    build = maker.build
    inputs = maker.channel_size(min(build.max_channels, 128))
    outputs = maker.channel_size(min(build.max_channels, 128))
    upsample = maker.flag()
    step = 1 + upsample
    most = min(build.max_side, build.max_tokens, build.input_bytes // (3 * inputs))
    width = maker.size(max(min(most, PRODUCTS // (9 * inputs * outputs * step)), step), step)
    height = maker.size(
        max(min(build.max_side, PRODUCTS // (9 * inputs * outputs * width)), step), step
    )
    return Convolution(
        height=height,
        width=width,
        inputs=inputs,
        outputs=outputs,
        upsample=upsample,
        x_unsigned=maker.flag(),
        x=0,
        weights=maker.constant(maker.weights(9 * inputs, outputs)),
        y=0,
    )


def _resize(maker: Commands) -> Command:
    build = maker.build
    channels = maker.channel_size(min(build.max_channels, 256))
    width = maker.size(min(build.max_side, build.input_bytes // 4 // channels))
    height = maker.size(max(1, min(build.max_side, (1 << 16) // (width * channels))))
    return Resize(height, width, channels, 0, 0)


_SIZES: dict[Kind, Callable[[Commands], Command]] = {
    Norm: _norm,
    Linear: _linear,
    Attention: _attention,
    Route: _route,
    Experts: _experts,
    Convolution: _convolution,
    Resize: _resize,
}
