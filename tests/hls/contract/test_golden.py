"""The golden model's norm, attention and endings; tolerances follow from its roundings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift_hls import golden
from gearshift_hls.build import SMALL_BUILD as SMALL
from gearshift_hls.descriptor import (
    Attention,
    Norm,
    Resize,
    Status,
)
from gearshift_hls.records import HEAD, NORM
from gearshift_kernels import oracle

from .one_command import (
    POWER_ERROR,
    ROOT_ERROR,
    Generator,
    OneCommand,
    int8,
    records,
)
from .random_programs import KINDS, make_program


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(11)


# Norm.


@pytest.mark.parametrize(
    ("rows", "channels", "true", "spread"),
    [(5, 128, 128, 3.0), (7, 32, 17, 100.0), (1, 16, 2, 1.0), (4, 64, 64, 0.01), (3, 16, 16, 0.0)],
)
def test_norm(rng: Generator, rows: int, channels: int, true: int, spread: float) -> None:
    x = np.zeros((rows, channels), "<i4")
    x[:, :true] = np.rint(rng.normal(spread / 2, spread, (rows, true)) * 2**16)
    gain, offset = (
        rng.integers(-30000, 30000, channels),
        rng.integers(-(1 << 20), 1 << 20, channels),
    )
    epsilon, shift = 1e-6, 18
    command = Norm(
        rows=rows,
        channels=channels,
        true_channels=true,
        reciprocal=round(2**26 / true),
        root=round(2**11 * math.sqrt(true)),
        epsilon=round(2**32 * epsilon * true),
        shift=shift,
        x=0,
        parameters=0,
        y=0,
        normalised=1,
    )
    arrays = {"x": x, "parameters": records(NORM, offset=offset, gain=gain)}
    done = OneCommand(SMALL, command, arrays).run()

    value = x[:, :true] / 2**16
    mean = value.mean(axis=1, keepdims=True)
    spreads = np.sqrt(value.var(axis=1, keepdims=True) + command.epsilon / 2**32 / true)
    wanted = (value - mean) / spreads
    # The reciprocal of the count, the rounded mean; then root, its table, and the final rounding.
    off_centre = (np.abs(mean) * true / 2**27 + 2**-17) / spreads
    share = ROOT_ERROR + 0.5 / command.root + 2**-16 + off_centre**2
    tolerance = np.abs(wanted) * share + off_centre * (1 + share) + 2**-11
    normalised = done.result("normalised", "<i2", rows, channels)
    assert (np.abs(normalised[:, :true] / 2**10 - wanted) <= tolerance).all()
    assert (normalised[:, true:] == 0).all()

    exact = (normalised * gain + offset) / 2**shift
    y = done.result("y", "i1", rows, channels)
    assert (np.abs(y - np.clip(exact, -128, 127))[:, :true] <= 0.5).all()
    assert (y[:, true:] == 0).all()


def test_norm_of_the_largest_values_does_not_overflow() -> None:
    """Half of the channels at either end of int32, and a mean that is wrong on purpose."""
    x = np.full((2, 128), -(1 << 31), "<i4")
    x[:, ::2] = (1 << 31) - 1
    x[1] = (1 << 31) - 1
    gain = np.full(128, 1 << 10)
    for reciprocal in (1 << 19, 1 << 26):
        command = Norm(2, 128, 128, reciprocal, 1 << 16, 1, 20, 0, 0, 0, 1)
        arrays = {"x": x, "parameters": records(NORM, gain=gain)}
        done = OneCommand(SMALL, command, arrays).run()
        normalised = done.result("normalised", "<i2", 2, 128)
        if reciprocal == 1 << 19:
            root = command.root / 2**11 / math.sqrt(128)
            assert np.abs(normalised[0, ::2] / 2**10 - root).max() < 2e-3 * root
            assert np.abs(normalised[0, 1::2] / 2**10 + root).max() < 2e-3 * root
            assert (normalised[1] == 0).all()
        else:  # the sum is taken for the mean: deviations of -2^26, saturated
            root = command.root / 2**11 / math.sqrt(128)
            assert np.abs(normalised[1] / 2**10 + root).max() < 2e-3 * root


# Attention.


@pytest.mark.parametrize(("tokens", "heads"), [(1, 1), (7, 2), (8, 1), (29, 3), (128, 2)])
@pytest.mark.parametrize("sharpness", [0.5, 3.0, 20.0])
def test_attention(rng: Generator, tokens: int, heads: int, sharpness: float) -> None:
    """`sharpness`: the standard deviation of a score to base 2."""
    head_dim = 32
    x = int8(rng, tokens, 3, heads, head_dim)
    score_shift = 16
    deviation = 128**2 / 3 * math.sqrt(head_dim)
    multiplier = round(sharpness * 2**10 / deviation * 2**score_shift)
    output_multiplier, output_shift = 1 << 15, 25
    head = records(
        HEAD,
        score_multiplier=np.full(heads, multiplier),
        score_shift=score_shift,
        output_multiplier=output_multiplier,
        output_shift=output_shift,
    )
    command = Attention(tokens, heads, head_dim, 0, 0, 0)
    done = OneCommand(SMALL, command, {"x": x, "parameters": head}).run()
    y = done.result("y", "i1", tokens, heads, head_dim)
    queries, keys, values = x.astype(np.float64).transpose(1, 2, 0, 3)
    scores = queries @ keys.transpose(0, 2, 1) * multiplier / 2**score_shift / 2**10
    weights = oracle.softmax(scores * math.log(2))
    mean = weights @ values
    # A weight is 1/256 of a power of two that is at most twice the largest term: wrong by one unit
    # at most where it is 255, else by half, and by its share of the rounded score and power; sum
    # and total are rounded by half at every block.
    powers = np.exp2(scores - np.ceil(scores.max(axis=2, keepdims=True))) * 256
    wrong = 1 + powers * math.log(2) / 2**11 + 256 * POWER_ERROR
    blocks = -(-tokens // SMALL.output_lanes)
    distance = np.abs(values[:, None] - mean[:, :, None])
    off = (wrong[..., None] * distance).sum(axis=2) + blocks / 2 * (1 + np.abs(mean))
    total = (powers - wrong).sum(axis=2, keepdims=True) - blocks / 2
    usable = total > 100
    scale = 2**10 * output_multiplier / 2**output_shift
    tolerance = (off / np.maximum(total, 1) + 2**-10) * scale + 0.5
    error = np.abs(y.transpose(1, 0, 2) - mean * scale)
    assert (error <= tolerance)[np.broadcast_to(usable, error.shape)].all()
    assert usable.mean() > 0.3
    # Roundings of both signs even out.
    assert np.sqrt((error**2).mean()) < 1.5


def test_attention_to_one_key_is_its_value(rng: Generator) -> None:
    """Whichever block it lies in: one score far above all others."""
    for place in range(20):
        x = np.zeros((20, 3, 1, 16), np.int8)
        x[:, 0] = 127
        x[place, 1] = 127
        x[:, 2] = int8(rng, 20, 1, 16)
        head = records(HEAD, score_multiplier=[40000], score_shift=14, output_multiplier=1 << 15,
                       output_shift=25)  # fmt: skip
        command = Attention(20, 1, 16, 0, 0, 0)
        done = OneCommand(SMALL, command, {"x": x, "parameters": head}).run()
        y = done.result("y", "i1", 20, 16)
        assert (y == x[place, 2, 0]).all()


# Programs.


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_touches_only_its_regions(rng: Generator, kind: Any) -> None:
    """Other bytes around them: the same results, and the other bytes stay."""
    for seed in range(8):
        program = make_program(SMALL, [kind], seed)
        (command, _) = program.commands
        touched, written = (np.zeros(len(program.memory), bool) for _ in range(2))
        on_chip, written_on_chip = (np.zeros(SMALL.scratch_bytes, bool) for _ in range(2))
        touched[:256] = True
        for region in command.regions(SMALL):
            inside = region.address < 1 << 31
            masks = (touched, written) if inside else (on_chip, written_on_chip)
            place = slice(region.address % (1 << 31), region.address % (1 << 31) + region.nbytes)
            masks[0][place] = True
            masks[1][place] |= region.access == "write"
        other = replace(program, memory=program.memory.copy(), scratch=program.scratch.copy())
        other.memory[~touched] = rng.integers(0, 256, int((~touched).sum()), np.uint8)
        other.scratch[~on_chip] = rng.integers(0, 256, int((~on_chip).sum()), np.uint8)
        before = other.memory.copy(), other.scratch.copy()
        for each in (program, other):
            golden.run(SMALL, each.memory, each.write_base, each.address, each.scratch)
        assert (program.memory[touched] == other.memory[touched]).all()
        assert (program.scratch[on_chip] == other.scratch[on_chip]).all()
        assert (other.memory[~written] == before[0][~written]).all()
        assert (other.scratch[~written_on_chip] == before[1][~written_on_chip]).all()


def test_endings() -> None:
    program = make_program(SMALL, [Resize, Norm], 3)

    def end(memory: NDArray[np.uint8], base: int, address: int) -> golden.Ending:
        return golden.run(SMALL, memory.copy(), base, address, program.scratch.copy())

    memory, base = program.memory, program.write_base
    assert end(memory, base, 0) == golden.Ending(Status.DONE, 2)
    assert end(memory, base, 128) == golden.Ending(Status.DONE, 1)
    assert end(memory, base, 256) == golden.Ending(Status.DONE, 0)
    assert end(memory, base, 32) == golden.Ending(Status.BAD_PROGRAM, 0)
    assert end(memory, base, base) == golden.Ending(Status.BAD_PROGRAM, 0)
    assert end(memory, len(memory) + 1, 0) == golden.Ending(Status.BAD_PROGRAM, 0)
    assert end(memory, 200, 128) == golden.Ending(Status.BAD_PROGRAM, 0)
    illegal = memory.copy()
    illegal[256] = 200
    assert end(illegal, base, 0) == golden.Ending(Status.BAD_OPCODE, 2)
    illegal[128 + 4 : 128 + 8] = 0
    assert end(illegal, base, 0) == golden.Ending(Status.BAD_SIZE, 1)
