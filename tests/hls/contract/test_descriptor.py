"""Descriptors: their words, what each touches, and what makes one legal."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift_hls.build import SMALL_BUILD as SMALL
from gearshift_hls.descriptor import (
    COMMANDS,
    SCRATCH,
    Attention,
    Command,
    Convolution,
    End,
    Experts,
    Linear,
    Norm,
    Region,
    Resize,
    Route,
    Status,
    check,
    decode,
    encode,
    queue_bytes,
    queue_offset,
)

BASE, END = 0x40000, 0x80000
"""Where constant memory and memory end."""

LINEAR = Linear(
    rows=10,
    inputs=32,
    outputs=48,
    x_unsigned=0,
    format=3,
    gelu=0,
    gelu_multiplier=1,
    gelu_shift=2,
    zero=3,
    x=BASE,
    weights=0x1000,
    residual=BASE + 0x1000,
    y=BASE + 0x2000,
)
NORM = Norm(10, 32, 30, 1, 1, 1, 4, BASE, 0x1000, BASE + 0x1000, BASE + 0x2000)
ATTENTION = Attention(10, 2, 16, BASE, 0x1000, BASE + 0x1000)
ROUTE = Route(10, 32, 5, 2, 1, 1, 0, BASE, 0x1000, 0x2000, BASE + 0x1000)
EXPERTS = Experts(10, 32, 48, 5, 1, 1, 0, BASE, BASE + 0x1000, 0x1000, BASE + 0x2000)
CONVOLUTION = Convolution(6, 8, 16, 32, 1, 0, BASE, 0x1000, BASE + 0x1000)
RESIZE = Resize(6, 8, 16, BASE, BASE + 0x2000)
LEGAL: list[Command] = [End(), NORM, LINEAR, ATTENTION, ROUTE, EXPERTS, CONVOLUTION, RESIZE]


def status(command: Command, memory_bytes: int = END, write_base: int = BASE) -> Status:
    return check(command, SMALL, memory_bytes, write_base)


# Words.


def test_opcodes_are_places_in_the_list() -> None:
    assert [command.opcode for command in COMMANDS] == list(range(len(COMMANDS)))
    assert [type(command) for command in LEGAL] == list(COMMANDS)


@given(words=st.lists(st.integers(0, 0xFFFFFFFF), min_size=32, max_size=32))
def test_a_descriptor_survives_the_round_trip(words: list[int]) -> None:
    words[0] %= len(COMMANDS)
    command = decode(np.array(words, "<u4").tobytes())
    assert command is not None
    used = 1 + len(fields(command))
    encoded = np.frombuffer(encode(command), "<u4").tolist()
    assert encoded == words[:used] + [0] * (32 - used)
    assert decode(encode(command)) == command


def test_words_are_little_endian_in_the_order_of_the_fields() -> None:
    data = encode(Resize(height=0x01020304, width=5, channels=6, x=7, y=8))
    assert len(data) == 128
    assert data[:12] == bytes([7, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0])


def test_an_unknown_opcode_is_no_command() -> None:
    assert decode(np.full(32, len(COMMANDS), "<u4").tobytes()) is None


# Regions, by hand.


@pytest.mark.parametrize(
    ("command", "sizes"),
    [
        (NORM, {"x": 1280, "parameters": 256, "y": 320, "normalised": 640}),
        (replace(NORM, normalised=0), {"x": 1280, "parameters": 256, "y": 320}),
        (LINEAR, {"x": 320, "weights": 1920, "y": 1920, "residual": 1920}),
        (replace(LINEAR, format=2), {"x": 320, "weights": 1920, "y": 960}),
        (replace(LINEAR, format=1), {"x": 320, "weights": 1920, "y": 480}),
        (ATTENTION, {"x": 960, "parameters": 16, "y": 320}),
        (ROUTE, {"normalised": 640, "weights": 320, "biases": 20, "queues": 384}),
        (EXPERTS, {"x": 320, "queues": 384, "weights": 5 * 3712, "y": 1280}),
        (CONVOLUTION, {"x": 192, "weights": 4864, "y": 1536}),
        (replace(CONVOLUTION, upsample=0), {"x": 768, "weights": 4864, "y": 1536}),
        (RESIZE, {"x": 1536, "y": 6144}),
        (End(), {}),
    ],
)
def test_sizes_of_regions(command: Command, sizes: dict[str, int]) -> None:
    regions = command.regions(SMALL)
    assert {region.field: region.nbytes for region in regions} == sizes
    assert all(region.address == getattr(command, region.field) for region in regions)


def test_places_of_queues() -> None:
    """Five counts take 64 bytes, ten entries 64, seventeen 128."""
    assert [queue_offset(expert, 5, 10) for expert in range(3)] == [64, 128, 192]
    assert [queue_offset(expert, 17, 17) for expert in range(3)] == [128, 256, 384]
    assert queue_bytes(5, 10) == 384


# Legal and illegal.


@pytest.mark.parametrize("command", LEGAL)
def test_these_are_legal(command: Command) -> None:
    assert status(command) == Status.DONE


@pytest.mark.parametrize(
    ("command", "field"),
    [(each, field) for each in LEGAL for field in fields(each)],
    ids=lambda each: getattr(each, "name", type(each).__name__),
)
def test_the_limits_of_every_field(command: Command, field: Any) -> None:
    """Outside of them BAD_SIZE; inside, nothing complains of the field itself."""
    limits = field.metadata
    most = getattr(SMALL, limits["most"]) if isinstance(limits["most"], str) else limits["most"]
    outside = [each for each in (limits["least"] - 1, most + 1) if 0 <= each <= 0xFFFFFFFF]
    if limits["lanes"]:
        outside += [most - 1, most - 8, 8]
    for value in outside:
        assert status(replace(command, **{field.name: value})) == Status.BAD_SIZE


SIZES: dict[str, tuple[Command, Status]] = {
    "more true channels than channels": (replace(NORM, true_channels=33), Status.BAD_SIZE),
    "gelu into int16": (replace(LINEAR, gelu=1, format=2), Status.BAD_SIZE),
    "gelu into residual": (replace(LINEAR, gelu=1), Status.BAD_SIZE),
    "gelu into uint8": (replace(LINEAR, gelu=1, format=1), Status.DONE),
    "keys that fill the buffer": (
        replace(ATTENTION, tokens=128, head_dim=32, heads=1, y=BASE + 0x4000),
        Status.DONE,
    ),
    "more experts of a token than experts": (replace(ROUTE, experts=1), Status.BAD_SIZE),
    "tokens that fill the buffer": (
        replace(EXPERTS, tokens=32, channels=256, hidden=16, queues=BASE + 0x2000, y=BASE + 0x4000),
        Status.DONE,
    ),
    "tokens that do not": (
        replace(EXPERTS, tokens=33, channels=256, hidden=16),
        Status.BAD_SIZE,
    ),
    "hidden values that do not": (
        replace(EXPERTS, tokens=17, channels=16, hidden=256),
        Status.BAD_SIZE,
    ),
    "three rows that fill the buffer": (
        replace(CONVOLUTION, width=10, inputs=256, outputs=16, y=BASE + 0x4000),
        Status.DONE,
    ),
    "three rows that do not": (
        replace(CONVOLUTION, width=12, inputs=256, outputs=16),
        Status.BAD_SIZE,
    ),
    "odd height enlarged": (replace(CONVOLUTION, height=5), Status.BAD_SIZE),
    "odd width enlarged": (replace(CONVOLUTION, width=5), Status.BAD_SIZE),
    "odd height": (replace(CONVOLUTION, height=5, upsample=0), Status.DONE),
    "two rows that fill the buffer": (
        replace(RESIZE, width=8, channels=256, y=BASE + 0x8000),
        Status.DONE,
    ),
    "two rows that do not": (replace(RESIZE, width=9, channels=256), Status.BAD_SIZE),
}


@pytest.mark.parametrize(("command", "wanted"), SIZES.values(), ids=SIZES)
def test_what_buffers_hold(command: Command, wanted: Status) -> None:
    assert status(command) == wanted


REGIONS = [(command, region) for command in LEGAL for region in command.regions(SMALL)]


@pytest.mark.parametrize(
    ("command", "region"), REGIONS, ids=[f"{type(c).__name__}-{r.field}" for c, r in REGIONS]
)
def test_where_a_region_may_lie(command: Command, region: Region) -> None:
    """At both ends of each of the three memories, and one step behind them."""
    size = -(-region.nbytes // 64) * 64
    constant, writes = region.access == "constant", region.access == "write"
    allowed = {
        BASE - size: not writes,
        END - size: not constant,
        END - size + 64: False,
        SCRATCH: not constant,
        SCRATCH - 64: False,
        SCRATCH + SMALL.scratch_bytes - size: not constant,
        SCRATCH + SMALL.scratch_bytes - size + 64: False,
        0xFFFFFFC0: False,
        region.address + 32: False,
        region.address + 1: False,
    }
    for address, legal in allowed.items():
        moved = replace(command, **{region.field: address})
        wanted = Status.DONE if legal else Status.BAD_ADDRESS
        assert status(moved) == wanted, hex(address)
    straddling = replace(command, **{region.field: BASE - 64})
    if region.nbytes > 64:
        assert status(straddling) == (
            Status.DONE if region.access == "read" else Status.BAD_ADDRESS
        )


def test_memory_that_reaches_on_chip_memory() -> None:
    """They are different memories: no region lies in both."""
    command = replace(RESIZE, x=SCRATCH - 64, y=SCRATCH)
    assert status(command, memory_bytes=SCRATCH) == Status.BAD_ADDRESS
    assert status(replace(command, x=SCRATCH - 1536), memory_bytes=SCRATCH) == Status.DONE


def test_a_region_ends_where_memory_does_even_between_words() -> None:
    assert status(RESIZE, memory_bytes=RESIZE.y + 6144) == Status.DONE
    assert status(RESIZE, memory_bytes=RESIZE.y + 6143) == Status.BAD_ADDRESS


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (replace(RESIZE, y=RESIZE.x + 1536), Status.DONE),
        (replace(RESIZE, y=RESIZE.x + 1536 - 64), Status.BAD_ADDRESS),
        (replace(RESIZE, x=RESIZE.y + 6144 - 64), Status.BAD_ADDRESS),
        (replace(RESIZE, x=RESIZE.y + 64), Status.BAD_ADDRESS),
        (replace(RESIZE, y=RESIZE.x), Status.BAD_ADDRESS),
        (replace(NORM, normalised=NORM.y), Status.BAD_ADDRESS),
        (replace(NORM, normalised=NORM.y + 320), Status.DONE),
        (replace(LINEAR, residual=LINEAR.y), Status.DONE),
        (replace(LINEAR, residual=LINEAR.y + 64), Status.BAD_ADDRESS),
        (replace(LINEAR, x=LINEAR.y, residual=LINEAR.y), Status.BAD_ADDRESS),
        (replace(LINEAR, x=LINEAR.residual), Status.DONE),
        (replace(EXPERTS, y=EXPERTS.x), Status.BAD_ADDRESS),
        (replace(EXPERTS, x=EXPERTS.queues), Status.DONE),
    ],
)
def test_nothing_is_written_while_it_is_read(command: Command, wanted: Status) -> None:
    assert status(command) == wanted


def test_sizes_are_judged_before_addresses() -> None:
    assert status(replace(RESIZE, x=1, height=0)) == Status.BAD_SIZE


def test_a_field_that_a_command_does_not_use_may_hold_anything_legal() -> None:
    assert status(replace(LINEAR, format=0, residual=1)) == Status.DONE
    assert status(replace(NORM, normalised=0)) == Status.DONE
