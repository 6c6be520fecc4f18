"""Commands that hit a unit's corners, and the look at a command that says which it hit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from gearshift_hls.build import Build
from gearshift_hls.descriptor import (
    DESCRIPTOR_BYTES,
    SCRATCH,
    Command,
    Norm,
    Resize,
    Route,
    align,
    encode,
)
from gearshift_hls.fixed_point import Int
from gearshift_hls.records import NORM

from ..contract.one_command import OneCommand, records
from ..contract.random_programs import Program
from .rtl_streams import Coverage

KINDS: Mapping[str, type[Command]] = {"norm": Norm, "route": Route, "resize": Resize}

CORNERS = {
    "norm": Coverage(
        "one row",
        "narrowest",
        "widest",
        "padded",
        "normalised values too",
        "normalised values not written",
        "all values equal",
        "input saturated",
        "normalised value saturated",
        "mean saturated",
        "result saturated",
        "result tie",
        "results that end in half a word",
        "on-chip memory",
        "external memory",
    ),
    "route": Coverage(
        "one token",
        "one expert",
        "all experts chosen",
        "as many experts as the build holds",
        "as many tokens as the build holds",
        "widest",
        "equal logits",
        "empty queue",
        "every token in one queue",
        "queue of whole blocks",
        "power saturated",
        "score saturated",
        "score pruned",
        "score at the limit of pruning",
        "on-chip memory",
        "external memory",
    ),
    "resize": Coverage(
        "one pixel",
        "one row",
        "one column",
        "one strip",
        "many strips",
        "last strip of two columns",
        "most channels",
        "channels no power of two",
        "as wide as the build holds",
        "as high as the build holds",
        "least value",
        "greatest value",
        "tie",
        "on-chip memory",
        "external memory",
    ),
}


def kind_of(unit: str) -> type[Command]:
    return KINDS[unit]


def directed(unit: str, build: Build) -> Iterator[Program]:
    """Programs of one command that hit the corners of a unit."""
    for number, program in enumerate(
        {"norm": _norms, "route": _routes, "resize": _resizes}[unit](build)
    ):
        yield _on_chip(program) if number == 0 else program


def fast(unit: str, build: Build) -> tuple[Program, int]:
    """A program of one command, and the cycles it may take when memory never stalls."""
    return {"norm": _fast_norm, "route": _fast_route, "resize": _fast_resize}[unit](build)


def look(coverage: Coverage, program: Program, told: Mapping[str, Int]) -> None:
    """Count the corners that the program's one command hit; `told`: the golden model's trace."""
    looks = {Norm: _look_norm, Route: _look_route, Resize: _look_resize}
    looks[type(program.commands[0])](coverage, program, told)


def _program(build: Build, command: Command, arrays: Mapping[str, Any]) -> Program:
    made = OneCommand(build, command, arrays)
    scratch = np.random.default_rng(1).integers(0, 256, build.scratch_bytes, np.uint8)
    return Program(build, made.memory, scratch, made.write_base, 0, [made.command])


def _on_chip(program: Program) -> Program:
    """The same with everything but the constants in on-chip memory."""
    (command,), place = program.commands, 0
    for region in command.regions(program.build):
        if region.access != "constant":
            data = program.memory[region.address : region.address + region.nbytes]
            program.scratch[place : place + region.nbytes] = data
            command = replace(command, **{region.field: SCRATCH + place})
            place += align(region.nbytes)
    program.memory[:DESCRIPTOR_BYTES] = np.frombuffer(encode(command), np.uint8)
    return replace(program, commands=[command])


def _without_addresses(kind: type[Command], **values: int) -> Command:
    return kind(**{each.name: 0 for each in fields(kind)} | values)


def _spaces(coverage: Coverage, program: Program) -> None:
    for region in program.commands[0].regions(program.build):
        coverage.hit("on-chip memory", region.address >= SCRATCH)
        coverage.hit("external memory", program.write_base <= region.address < SCRATCH)


# Norm.


def _norms(build: Build) -> Iterator[Program]:
    rng = np.random.default_rng(7)
    widest = build.max_norm_channels
    least = build.channel_multiple
    for rows, channels, true, greatest in (
        (1, least, least, ""),
        (70, least, 1, ""),
        (5, widest, widest, "reciprocal"),
        (6, widest, widest - 1, "root"),
        (9, 3 * least, 2 * least + 1, ""),
    ):
        x = rng.integers(-(1 << 20), 1 << 20, (rows, channels)).astype(np.int32)
        x[0] = 12345
        if rows > 1:  # one value far away from all others
            x[1] = 0
            x[1, 0] = 1 << 25
        x[-1, 0] = -(1 << 31)
        x[-1, -1] = (1 << 31) - 1
        command = _without_addresses(
            Norm,
            rows=rows,
            channels=channels,
            true_channels=true,
            reciprocal={"reciprocal": 1 << 26, "root": 1}.get(greatest, round(2**26 / true)),
            root=1 << 16 if greatest == "root" else round(2**11 * true**0.5),
            epsilon=1,
            shift=14,
        )
        gains = rng.integers(-(1 << 15), 1 << 15, channels)
        parameters = records(NORM, gain=gains, offset=rng.integers(-(1 << 20), 1 << 20, channels))
        yield _program(build, command, {"x": x, "parameters": parameters})


def _fast_norm(build: Build) -> tuple[Program, int]:
    """As many cycles as the input has words, beside the parameters and the pipeline."""
    rng = np.random.default_rng(8)
    command = _without_addresses(
        Norm,
        rows=60,
        channels=96,
        true_channels=96,
        reciprocal=round(2**26 / 96),
        root=round(2**11 * 96**0.5),
        epsilon=1,
        shift=14,
    )
    x = rng.integers(-(1 << 20), 1 << 20, (60, 96)).astype(np.int32)
    return _program(build, command, {"x": x}), (60 * 96 + 2 * 96) // (build.input_lanes // 2) + 100


def _look_norm(coverage: Coverage, program: Program, told: Mapping[str, Int]) -> None:
    (command,) = program.commands[:1]
    assert isinstance(command, Norm)
    build, normalised, y = program.build, told["normalised"], told["y"]
    coverage.hit("one row", command.rows == 1)
    coverage.hit("narrowest", command.channels == build.channel_multiple)
    coverage.hit("widest", command.channels == build.max_norm_channels)
    coverage.hit("padded", command.true_channels < command.channels)
    coverage.hit("normalised values too", command.normalised != 0)
    coverage.hit("normalised values not written", command.normalised == 0)
    coverage.hit("all values equal", int((normalised == 0).all(axis=1).sum()))
    coverage.hit("normalised value saturated", int((np.abs(2 * normalised + 1) == 65535).sum()))
    coverage.hit("result saturated", int((np.abs(2 * y + 1) == 255).sum()))
    half = command.channels // build.input_lanes % 2 == 1
    coverage.hit("results that end in half a word", half)
    space, place = program.memory, command.x
    if command.x >= SCRATCH:
        space, place = program.scratch, command.x - SCRATCH
    x = space[place : place + 4 * y.size].view("<i4")
    x = x.astype(np.int64).reshape(y.shape)
    coverage.hit("input saturated", int((np.abs(x) > 1 << 26).sum()))
    sums = x.clip(-(1 << 26), (1 << 26) - 1).sum(axis=1)
    coverage.hit("mean saturated", int((np.abs(sums * command.reciprocal >> 26) > 1 << 27).sum()))
    place = command.parameters
    channel = program.memory[place : place + 8 * command.channels].view(NORM)
    moved = normalised * channel["gain"] + channel["offset"]
    half = 1 << command.shift >> 1
    coverage.hit("result tie", int((moved % (1 << command.shift) == half).sum() if half else 0))
    _spaces(coverage, program)


# Route.


def _routes(build: Build) -> Iterator[Program]:
    rng = np.random.default_rng(9)
    least, most = build.channel_multiple, build.max_experts
    for tokens, channels, experts, top_k, kind in (
        (1, least, 1, 1, ""),
        (build.max_tokens, build.max_norm_channels, most, build.max_top_k, ""),
        (32, least, most, 2, "favourite"),
        (33, 2 * least, most - 3, 3, "equal"),
        (20, least, 4, 4, "pairs"),
        (17, least, 2, 2, "far apart"),
        (build.max_tokens, least, 4, 4, ""),
    ):
        x = rng.integers(-(1 << 15), 1 << 15, (tokens, channels)).astype(np.int16)
        weights = rng.integers(-(1 << 15), 1 << 15, (experts, channels)).astype(np.int16)
        biases = rng.integers(-(1 << 20), 1 << 20, experts).astype(np.int32)
        shift = 32
        if kind == "favourite":
            biases[most - 2] = (1 << 31) - 1
        if kind == "equal":
            weights[:], biases[:] = weights[0], biases[0]
        if kind == "pairs":
            weights[1], weights[3], biases[1], biases[3] = (
                weights[0],
                weights[2],
                biases[0],
                biases[2],
            )
        if kind == "far apart":
            biases[:] = -(1 << 31), (1 << 31) - 1
            shift = 0
        command = _without_addresses(
            Route,
            tokens=tokens,
            channels=channels,
            experts=experts,
            top_k=top_k,
            multiplier=47274,
            shift=shift,
            prune=round(2**16 / experts) if kind == "equal" else 300,
        )
        yield _program(build, command, {"normalised": x, "weights": weights, "biases": biases})


def _fast_route(build: Build) -> tuple[Program, int]:
    """Four experts and a line of channels a cycle, beside the constants and the pipeline."""
    rng = np.random.default_rng(8)
    tokens, channels, experts = 64, 96, build.max_experts
    command = _without_addresses(
        Route,
        tokens=tokens,
        channels=channels,
        experts=experts,
        top_k=2,
        multiplier=47274,
        shift=32,
    )
    x = rng.integers(-(1 << 15), 1 << 15, (tokens, channels)).astype(np.int16)
    scoring = tokens * experts // 4 * channels // (build.input_lanes // 2)
    loading = experts * channels // build.input_lanes
    return _program(build, command, {"normalised": x}), scoring + loading + 150


def _look_route(coverage: Coverage, program: Program, told: Mapping[str, Int]) -> None:
    (command,) = program.commands[:1]
    assert isinstance(command, Route)
    build, logits, chosen, scores = program.build, told["logits"], told["chosen"], told["scores"]
    counts = np.bincount(chosen.reshape(-1), minlength=command.experts)
    coverage.hit("one token", command.tokens == 1)
    coverage.hit("one expert", command.experts == 1)
    coverage.hit("all experts chosen", 1 < command.top_k == command.experts)
    coverage.hit("as many experts as the build holds", command.experts == build.max_experts)
    coverage.hit("as many tokens as the build holds", command.tokens == build.max_tokens)
    coverage.hit("widest", command.channels == build.max_norm_channels)
    ordered = np.sort(logits, axis=1)
    coverage.hit("equal logits", int((ordered[:, 1:] == ordered[:, :-1]).sum()))
    coverage.hit("empty queue", int((counts == 0).sum()))
    coverage.hit(
        "every token in one queue", command.top_k < command.experts and command.tokens in counts
    )
    coverage.hit("queue of whole blocks", int(((counts > 0) & (counts % 16 == 0)).sum()))
    powers = np.abs(logits) * command.multiplier >> command.shift
    coverage.hit("power saturated", int((powers >> 31 > 0).sum()))
    coverage.hit("score saturated", int((scores == 65535).sum()))
    coverage.hit("score pruned", int((scores == 0).sum()) if command.prune else 0)
    equal = (logits == logits[:, :1]).all() and command.prune == round(2**16 / command.experts)
    coverage.hit("score at the limit of pruning", equal)
    _spaces(coverage, program)


# Resize.


def _columns(build: Build, channels: int) -> int:
    """Of a strip: a row buffer holds four pixels of the most channels."""
    words = channels // build.input_lanes
    return 4 * build.max_channels // build.input_lanes >> (words - 1).bit_length()


def _resizes(build: Build) -> Iterator[Program]:
    rng = np.random.default_rng(10)
    least, most, side = build.channel_multiple, build.max_channels, build.max_side
    for height, width, channels in (
        (1, 1, least),
        (3, 1, 5 * least),
        (1, 5, most),
        (2, 7, most),
        (2, 8, most - least),
        (side, 2, least),
        (2, side, 4 * least),
        (2, 50, 5 * least),
        (4, 13, 8 * least),
    ):
        x = rng.integers(-(1 << 15), 1 << 15, (height, width, channels)).astype(np.int16)
        x[:, :2] = rng.choice([-(1 << 15), (1 << 15) - 1], x[:, :2, :1].shape)
        command = _without_addresses(Resize, height=height, width=width, channels=channels)
        yield _program(build, command, {"x": x})


def _fast_resize(build: Build) -> tuple[Program, int]:
    """Two cycles a word of the result, one a word of the map, beside a row's and strip's start."""
    height, width, channels = 12, 20, 2 * build.channel_multiple
    command = _without_addresses(Resize, height=height, width=width, channels=channels)
    pixel = channels // build.input_lanes
    limit = (8 + 1) * height * width * pixel + 6 * height + 60
    return _program(build, command, {}), limit


def _look_resize(coverage: Coverage, program: Program, told: Mapping[str, Int]) -> None:
    (command,) = program.commands[:1]
    assert isinstance(command, Resize)
    build, y = program.build, told["y"]
    height, width, channels = command.height, command.width, command.channels
    strip = _columns(build, channels)
    words = channels // build.input_lanes
    coverage.hit("one pixel", height == width == 1)
    coverage.hit("one row", height == 1 and width > 1)
    coverage.hit("one column", width == 1 and height > 1)
    coverage.hit("one strip", 1 < width <= strip)
    coverage.hit("many strips", width > 2 * strip)
    coverage.hit("last strip of two columns", width > strip and width % (strip - 1) == 2)
    coverage.hit("most channels", channels == build.max_channels)
    coverage.hit("channels no power of two", words & (words - 1) != 0)
    coverage.hit("as wide as the build holds", width == build.max_side)
    coverage.hit("as high as the build holds", height == build.max_side)
    coverage.hit("least value", int((y == -(1 << 15)).sum()))
    coverage.hit("greatest value", int((y == (1 << 15) - 1).sum()))
    if min(height, width) > 1:
        space, place = program.memory, command.x
        if command.x >= SCRATCH:
            space, place = program.scratch, command.x - SCRATCH
        x = space[place : place + 2 * height * width * channels].view("<i2").astype(np.int64)
        x = x.reshape(height, width, channels)
        # of the results between the first four pixels that nearest to the first
        sixteenths = 9 * x[0, 0] + 3 * x[0, 1] + 3 * x[1, 0] + x[1, 1]
        coverage.hit("tie", int((sixteenths % 16 == 8).sum()))
    _spaces(coverage, program)
