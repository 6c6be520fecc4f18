"""Programs of one command of the array, for C simulation and RTL alike: of any size, and where a
value, an address or a queue is at its limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gearshift_hls.descriptor import (
    SCRATCH,
    Attention,
    Convolution,
    Experts,
    Format,
    Linear,
    encode,
    queue_offset,
)
from gearshift_hls.records import CHANNEL, pack_stream

from ..contract.random_programs import Program
from .array_programs import ProgramMaker

QUEUES: list[list[list[int]]] = [
    [[], [], list(range(20)), []],  # all tokens on one expert
    [[0], [], [], []],
    [list(range(20))] * 4,  # every expert has every token
    [[19, 3, 3, 3, 0], [3], [], [3, 3]],  # the same row again and again, in no order
]
"""Queues of four experts and 20 tokens."""

BAD_QUEUES: list[tuple[int | str, int]] = [
    (0, 21),
    (2, 0xFFFFFFFF),
    ("first token", 20),
    ("last token", 0xFFFF),
]
"""The expert whose count, or the token, that `bad_queue` replaces; and what it says then."""


def linear(
    maker: ProgramMaker,
    rows: int,
    inputs: int,
    outputs: int,
    kind: Format,
    gelu: bool = False,
    x_unsigned: bool = False,
    extreme: bool = False,
    scratch: tuple[str, ...] = (),
) -> Program:
    command = Linear(
        rows, inputs, outputs, int(x_unsigned), int(kind), int(gelu), 51234, 24, 37, 0, 0, 0, 0
    )
    return maker.program(command, {"weights": maker.stream(inputs, outputs, extreme)}, scratch)


def saturating_linear(maker: ProgramMaker, kind: Format, x_unsigned: bool) -> Program:
    """Extreme inputs, weights, biases, multipliers and shifts; residuals near both ends."""
    program = linear(maker, 9, 256, 64, kind, x_unsigned=x_unsigned, extreme=True)
    command = program.commands[0]
    assert isinstance(command, Linear)
    x = maker.random.choice(np.array([0, 127, 128, 255], np.uint8), 9 * 256)
    program.memory[command.x :][: len(x)] = x
    if kind == Format.RESIDUAL:
        ends = np.array([-(2**31), 2**31 - 1, -1, 0], "<i4")
        rows = maker.random.choice(ends, 9 * 64).view(np.uint8)
        program.memory[command.residual :][: len(rows)] = rows
    return program


def gelu_of_every_value(maker: ProgramMaker) -> Program:
    """Results over the whole range of GELU's input, and beyond both its ends."""
    width = maker.build.channel_multiple
    program = linear(maker, 256, width, width, Format.INT8, gelu=True)
    command = program.commands[0]
    assert isinstance(command, Linear)
    # One weight is 1, all shifts are small: y goes from -128 to 127 times 2^0, 2^1, ...
    weights, channels = np.eye(width, dtype=np.int8), np.zeros(width, CHANNEL)
    channels["multiplier"], channels["shift"] = 1 << 15, width - 1 - np.arange(width)
    stream = np.frombuffer(pack_stream(maker.build, weights, channels), np.uint8)
    program.memory[command.weights :][: len(stream)] = stream
    x = np.repeat(np.arange(256, dtype=np.uint8), width)
    program.memory[command.x :][: len(x)] = x
    return program


def linear_in_place(maker: ProgramMaker) -> Program:
    """The result takes the place of the residual stream that it is added to."""
    program = linear(maker, 33, 48, 32, Format.RESIDUAL)
    command = program.commands[0]
    assert isinstance(command, Linear)
    program.memory[:128] = np.frombuffer(encode(replace(command, residual=command.y)), np.uint8)
    return program


def experts(
    maker: ProgramMaker,
    tokens: int,
    channels: int,
    hidden: int,
    lists: list[list[int]],
    extreme: bool = False,
    scratch: tuple[str, ...] = (),
) -> Program:
    """`lists`: the tokens of every expert."""
    command = Experts(tokens, channels, hidden, len(lists), 51234, 24, 77, 0, 0, 0, 0)
    data = {
        "queues": maker.queues(tokens, lists),
        "weights": maker.experts(len(lists), channels, hidden, extreme),
    }
    return maker.program(command, data, scratch)


def bad_queue(
    maker: ProgramMaker, place: int | str, value: int, scratch: tuple[str, ...] = ()
) -> Program:
    """A count above the tokens, or a token that does not exist, in any queue that is read.

    Args:
        place: the expert whose count it is, "first token" or "last token".
    """
    program = experts(maker, 20, 32, 48, [[1, 2, 3], [], [4, 5]], scratch=scratch)
    command = program.commands[0]
    assert isinstance(command, Experts)
    memory = program.scratch if "queues" in scratch else program.memory
    queues = memory[command.queues % SCRATCH :]
    if isinstance(place, int):
        queues[4 * place : 4 * place + 4] = np.array([value], "<u4").view(np.uint8)
    else:
        expert, number = (2, 1) if place == "last token" else (0, 0)
        entry = queue_offset(expert, 3, 20) + 4 * number
        queues[entry : entry + 2] = np.array([value], "<u2").view(np.uint8)
    return program


def convolution(
    maker: ProgramMaker,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    upsample: bool = False,
    x_unsigned: bool = False,
    scratch: tuple[str, ...] = (),
) -> Program:
    command = Convolution(height, width, inputs, outputs, int(upsample), int(x_unsigned), 0, 0, 0)
    return maker.program(command, {"weights": maker.stream(9 * inputs, outputs)}, scratch)


def attention(
    maker: ProgramMaker, tokens: int, heads: int, head_dim: int, scratch: tuple[str, ...] = ()
) -> Program:
    command = Attention(tokens, heads, head_dim, 0, 0, 0)
    return maker.program(command, {"parameters": maker.heads(heads)}, scratch)


def extreme_attention(maker: ProgramMaker, tokens: int, multiplier: int, shift: int) -> Program:
    """Two heads with these parameters: scores that saturate, or that are all alike."""
    program = attention(maker, tokens, 2, 16)
    command = program.commands[0]
    assert isinstance(command, Attention)
    heads = program.memory[command.parameters :][:16].view("<u2")
    heads[0::2] = multiplier
    heads[1::2] = shift
    return program
