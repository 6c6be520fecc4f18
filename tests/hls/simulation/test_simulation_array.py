"""The commands of the array in C simulation: bit-equal to the golden model at every limit."""

from __future__ import annotations

from shutil import which
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.descriptor import (
    Experts,
    Format,
    Status,
)
from gearshift_hls.golden import Ending
from gearshift_hls.simulation import Simulation

from .array_cases import (
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
from .array_programs import ProgramMaker, check_equal

pytestmark = pytest.mark.skipif(which("g++") is None, reason="no C++ compiler here")

DONE = Ending(Status.DONE, 1)
SEEDS = st.integers(0, 2**32)


def widths(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, most // 16).map(lambda count: 16 * count)


def examples(count: int) -> Any:
    return settings(max_examples=count, deadline=None, derandomize=True)


@examples(100)
@given(
    rows=st.integers(1, 140),
    inputs=widths(256),
    outputs=widths(128),
    kind=st.sampled_from([*Format, "gelu to int8", "gelu to uint8"]),
    flags=st.tuples(st.booleans(), st.booleans()),
    scratch=st.sampled_from([(), ("x",), ("y",), ("residual",), ("x", "y")]),
    seed=SEEDS,
)
def test_linear(
    small: Simulation,
    rows: int,
    inputs: int,
    outputs: int,
    kind: Format | str,
    flags: tuple[bool, bool],
    scratch: tuple[str, ...],
    seed: int,
) -> None:
    gelu = isinstance(kind, str)
    wanted = Format.UINT8 if kind == "gelu to uint8" else Format.INT8 if gelu else Format(kind)
    rows = min(rows, SMALL_BUILD.scratch_bytes // max(inputs, 4 * outputs)) if scratch else rows
    if len(scratch) == 2:
        rows = max(1, SMALL_BUILD.scratch_bytes // (inputs + 4 * outputs) - 2)
    program = linear(
        ProgramMaker(SMALL_BUILD, seed), rows, inputs, outputs, wanted, gelu, *flags, scratch
    )
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("kind", Format)
@pytest.mark.parametrize("x_unsigned", [False, True])
def test_linear_saturates(small: Simulation, kind: Format, x_unsigned: bool) -> None:
    program = saturating_linear(ProgramMaker(SMALL_BUILD, kind), kind, x_unsigned)
    assert check_equal(small, program) == DONE


def test_linear_gelu_takes_every_value(small: Simulation) -> None:
    assert check_equal(small, gelu_of_every_value(ProgramMaker(SMALL_BUILD, 0))) == DONE


def test_linear_adds_in_place(small: Simulation) -> None:
    assert check_equal(small, linear_in_place(ProgramMaker(SMALL_BUILD, 1))) == DONE


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [
        (1, 16, 16),
        (1, 256, 256),
        (32, 256, 16),  # one block: the input buffer is full
        (33, 256, 16),
        (128, 64, 32),  # both the buffer and the partial sums are full
        (129, 16, 16),
        (1000, 16, 16),
    ],
)
def test_linear_at_the_limits(small: Simulation, rows: int, inputs: int, outputs: int) -> None:
    program = linear(ProgramMaker(SMALL_BUILD, rows), rows, inputs, outputs, Format.INT16)
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "kind"),
    [
        (1, 32, 32, Format.INT8),
        (5, 4096, 64, Format.INT16),
        (130, 4096, 32, Format.RESIDUAL),  # two blocks of rows
        (19, 64, 4096, Format.UINT8),
        (2050, 32, 32, Format.INT8),
    ],
)
def test_linear_of_the_board(
    board: Simulation, rows: int, inputs: int, outputs: int, kind: Format
) -> None:
    program = linear(ProgramMaker(ZCU104.build, rows), rows, inputs, outputs, kind)
    assert check_equal(board, program) == DONE


@examples(60)
@given(
    data=st.data(),
    channels=widths(128),
    hidden=widths(256),
    count=st.integers(1, 8),
    extreme=st.booleans(),
    scratch=st.sampled_from([(), ("y",), ("x", "queues")]),
    seed=SEEDS,
)
def test_experts(
    small: Simulation,
    data: st.DataObject,
    channels: int,
    hidden: int,
    count: int,
    extreme: bool,
    scratch: tuple[str, ...],
    seed: int,
) -> None:
    most = min(128, 8192 // channels, 4096 // hidden)
    if "y" in scratch:
        most = min(most, SMALL_BUILD.scratch_bytes // (4 * channels))
    if "x" in scratch:
        most = min(most, (SMALL_BUILD.scratch_bytes - 2048) // (channels + 4 * count))
    tokens = data.draw(st.integers(1, most))
    subset = st.sets(st.integers(0, tokens - 1), max_size=tokens).map(sorted)
    lists = data.draw(st.lists(subset, min_size=count, max_size=count).filter(any))
    program = experts(
        ProgramMaker(SMALL_BUILD, seed), tokens, channels, hidden, lists, extreme, scratch
    )
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("lists", QUEUES)
def test_expert_queues(small: Simulation, lists: list[list[int]]) -> None:
    program = experts(ProgramMaker(SMALL_BUILD, 3), 20, 32, 48, lists)
    assert check_equal(small, program) == DONE


def test_no_expert_has_a_token(small: Simulation) -> None:
    program = experts(ProgramMaker(SMALL_BUILD, 3), 20, 32, 48, [[], [], []])
    before = program.memory.copy()
    assert small.run(program.memory, program.write_base, 0, program.scratch) == DONE
    np.testing.assert_array_equal(program.memory, before)


@pytest.mark.parametrize("channels", [16, 128])
def test_experts_at_the_limits(small: Simulation, channels: int) -> None:
    """As many tokens as fit, on the last of eight experts, with the hidden buffer full."""
    tokens = min(128, 8192 // channels)
    hidden = 4096 // tokens
    lists: list[list[int]] = [[] for _ in range(7)]
    program = experts(
        ProgramMaker(SMALL_BUILD, 5), tokens, channels, hidden, [*lists, list(range(tokens))]
    )
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("scratch", [(), ("queues",)])
@pytest.mark.parametrize(("place", "value"), BAD_QUEUES)
def test_bad_queues(
    small: Simulation, scratch: tuple[str, ...], place: int | str, value: int
) -> None:
    program = bad_queue(ProgramMaker(SMALL_BUILD, 4), place, value, scratch)
    command = program.commands[0]
    assert isinstance(command, Experts)
    before = program.memory.copy()
    ending = small.run(program.memory, program.write_base, 0, program.scratch)
    assert ending == Ending(Status.BAD_QUEUE, 0)
    outside = np.ones(len(before), bool)
    outside[command.y : command.y + 4 * 20 * 32] = False
    np.testing.assert_array_equal(program.memory[outside], before[outside])


def test_experts_of_the_board(board: Simulation) -> None:
    lists = [[0, 5, 6], [], list(range(129)), [128]]
    program = experts(ProgramMaker(ZCU104.build, 6), 129, 192, 96, lists)
    assert check_equal(board, program) == DONE


@examples(60)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 24),
    inputs=widths(96),
    outputs=widths(48),
    upsample=st.booleans(),
    x_unsigned=st.booleans(),
    scratch=st.sampled_from([(), ("y",), ("x",)]),
    seed=SEEDS,
)
def test_convolution(
    small: Simulation,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    upsample: bool,
    x_unsigned: bool,
    scratch: tuple[str, ...],
    seed: int,
) -> None:
    width = min(width, 8192 // (3 * inputs))
    if upsample:
        height, width = 2 * -(-height // 2), max(2, width // 2 * 2)
    height = min(height, 16384 // (width * max(inputs, outputs)))
    if upsample:
        height -= height % 2
    program = convolution(
        ProgramMaker(SMALL_BUILD, seed),
        height,
        width,
        inputs,
        outputs,
        upsample,
        x_unsigned,
        scratch,
    )
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("x_unsigned", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "inputs", "outputs", "upsample"),
    [
        (1, 1, 16, 16, False),
        (2, 2, 16, 16, True),  # one pixel, enlarged
        (1, 64, 16, 16, False),
        (64, 1, 16, 16, False),
        (7, 10, 256, 16, False),  # the buffer holds three rows: one output row a pass
        (6, 10, 256, 16, True),
        (5, 64, 32, 16, False),  # two output rows a pass
        (64, 64, 16, 16, True),
        (3, 2, 16, 256, False),
    ],
)
def test_convolution_at_the_limits(
    small: Simulation,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    upsample: bool,
    x_unsigned: bool,
) -> None:
    maker = ProgramMaker(SMALL_BUILD, height)
    program = convolution(maker, height, width, inputs, outputs, upsample, x_unsigned)
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("upsample", [False, True])
def test_convolution_of_the_board(board: Simulation, upsample: bool) -> None:
    program = convolution(ProgramMaker(ZCU104.build, 2), 18, 130, 32, 64, upsample)
    assert check_equal(board, program) == DONE


@examples(60)
@given(
    tokens=st.integers(1, 128),
    heads=st.integers(1, 8),
    head_dim=widths(32),
    scratch=st.sampled_from([(), ("y",), ("x",)]),
    seed=SEEDS,
)
def test_attention(
    small: Simulation, tokens: int, heads: int, head_dim: int, scratch: tuple[str, ...], seed: int
) -> None:
    if scratch:
        tokens = min(tokens, SMALL_BUILD.scratch_bytes // (3 * heads * head_dim))
    program = attention(ProgramMaker(SMALL_BUILD, seed), tokens, heads, head_dim, scratch)
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 42, 43, 127, 128])
@pytest.mark.parametrize("head_dim", [16, 32])
def test_attention_at_the_limits(small: Simulation, tokens: int, head_dim: int) -> None:
    """Around a block of keys, and around the queries that the partial sums hold."""
    program = attention(ProgramMaker(SMALL_BUILD, tokens), tokens, 8, head_dim)
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize("shift", [0, 62, 63, 255])
@pytest.mark.parametrize("multiplier", [0, 65535])
def test_attention_with_extreme_scores(small: Simulation, shift: int, multiplier: int) -> None:
    program = extreme_attention(ProgramMaker(SMALL_BUILD, shift), 21, multiplier, shift)
    assert check_equal(small, program) == DONE


@pytest.mark.parametrize(("tokens", "head_dim"), [(1, 32), (129, 64), (410, 128)])
def test_attention_of_the_board(board: Simulation, tokens: int, head_dim: int) -> None:
    program = attention(ProgramMaker(ZCU104.build, tokens), tokens, 3, head_dim)
    assert check_equal(board, program) == DONE


@pytest.mark.slow
def test_the_largest_of_the_board(board: Simulation) -> None:
    """Every buffer of the board's build full at once."""
    maker = ProgramMaker(ZCU104.build, 9)
    queue = list(range(2048))
    for program in (
        attention(maker, 2048, 1, 128),
        experts(maker, 2048, 256, 256, [queue[::7], queue, queue[5::11]]),
        experts(maker, 128, 4096, 4096, [[0, 127], list(range(128))]),
        convolution(maker, 6, 1024, 160, 32),
        convolution(maker, 64, 1024, 32, 32, upsample=True, x_unsigned=True),
        linear(maker, 300, 4096, 4096, Format.RESIDUAL, x_unsigned=True),
        linear(maker, 100_000, 32, 32, Format.INT16),
    ):
        assert check_equal(board, program) == DONE


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_every_command_in_more_sizes(small: Simulation, seed: int) -> None:
    maker = ProgramMaker(SMALL_BUILD, 1000 + seed)

    def draw(most: int, step: int = 1) -> int:
        return step * int(maker.random.integers(1, most // step + 1))

    for _ in range(20):
        kind = Format(int(maker.random.integers(4)))
        extreme = seed % 2 == 0
        program = linear(maker, draw(300), draw(256, 16), draw(256, 16), kind, extreme=extreme)
        assert check_equal(small, program) == DONE
        program = attention(maker, draw(128), draw(8), draw(32, 16))
        assert check_equal(small, program) == DONE
        tokens = draw(64)
        lists = [list(range(draw(tokens))) for _ in range(draw(8))]
        program = experts(maker, tokens, draw(128, 16), draw(64, 16), lists, extreme)
        assert check_equal(small, program) == DONE
        program = convolution(maker, draw(20), draw(20), draw(128, 16), draw(64, 16))
        assert check_equal(small, program) == DONE
