"""The C++ arithmetic and units, bit for bit what `fixed_point`, `descriptor` and `golden` say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gearshift_hls import fixed_point as fp
from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.descriptor import (
    COMMANDS,
    WORDS,
    Attention,
    Norm,
    Resize,
    Route,
    Status,
    check,
    decode,
)
from gearshift_hls.records import HEAD

from ..contract.one_command import OneCommand
from ..contract.random_programs import KINDS, make_hostile, make_program
from .compiled_units import COMPILER, Units

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here")

BUILDS = [SMALL_BUILD, ZCU104.build]


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Units:
    pytest.importorskip("hls4ml", reason="no arbitrary-precision headers here")
    return Units(tmp_path_factory.mktemp("units"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def integers(rng: np.random.Generator, bits: int, count: int = 20_000) -> fp.Int:
    """Of every size up to `bits` bits, both signs, powers of two and their neighbours."""
    powers = 1 << np.arange(bits, dtype=np.int64)
    sizes = np.exp2(rng.uniform(0, bits, count)).astype(np.int64)
    near = np.concatenate([powers - 1, powers, powers + 1, [0]])
    near = near[near < 1 << bits]
    return np.concatenate([sizes, -sizes, near, -near])


def test_shift_right_rounds_every_tie_alike(units: Units, rng: np.random.Generator) -> None:
    values = integers(rng, 61)
    shifts = rng.integers(0, 64, len(values))
    ties = (2 * np.arange(-50, 50)[:, None] + 1) << np.arange(0, 50)
    values = np.concatenate([values, ties.reshape(-1)])
    shifts = np.concatenate([shifts, np.broadcast_to(np.arange(1, 51), ties.shape).reshape(-1)])
    assert (units.each("shift_right", values, shifts) == fp.shift_right(values, shifts)).all()


def test_saturation(units: Units, rng: np.random.Generator) -> None:
    values = integers(rng, 61)
    wanted = [fp.saturate(values, bits) for bits in (8, 16, 27, 32)]
    wanted += [fp.saturate(values, bits, unsigned=True) for bits in (8, 16)]
    assert (units.each("saturate", values, items=6) == np.stack(wanted, axis=1)).all()


def test_requantise(units: Units, rng: np.random.Generator) -> None:
    total, bias = integers(rng, 31), integers(rng, 31)
    rng.shuffle(bias)
    total[:4], bias[:4] = (
        [-(1 << 31), -(1 << 31), (1 << 31) - 1, 0],
        [-(1 << 31), 0, (1 << 31) - 1, 0],
    )
    multiplier = rng.integers(0, 1 << 16, len(total))
    multiplier[:4] = 65535
    shift = rng.integers(0, 256, len(total))
    found = units.each("requantise", total, bias, multiplier, shift)
    assert (found == fp.requantise(total, bias, multiplier, shift)).all()


def test_gelu_of_every_value(units: Units) -> None:
    values = np.arange(-(1 << 15), 1 << 15)
    assert (units.each("gelu", values) == fp.gelu(values)).all()


def test_power(units: Units, rng: np.random.Generator) -> None:
    below = np.concatenate([np.arange(40 << 10), np.abs(integers(rng, 33))])
    assert (units.each("power", below) == fp.power(below)).all()


def test_reciprocal_root(units: Units, rng: np.random.Generator) -> None:
    total = np.concatenate([np.arange(1, 1 << 14), np.abs(integers(rng, 62, 100_000)) | 1])
    root, half = units.each("reciprocal_root", total, outputs=2)
    wanted_root, wanted_half = fp.reciprocal_root(total)
    assert (root == wanted_root).all()
    assert (half == wanted_half).all()


# Descriptors.


def statuses(build: Build, words: np.ndarray, memory_bytes: int, write_base: int) -> list[int]:
    """What Python says."""
    commands = [decode(each.tobytes()) for each in words]
    return [
        int(
            Status.BAD_OPCODE
            if command is None
            else check(command, build, memory_bytes, write_base)
        )
        for command in commands
    ]


@pytest.mark.parametrize("build", BUILDS)
def test_random_words_are_judged_alike(
    units: Units, rng: np.random.Generator, build: Build
) -> None:
    words = np.exp2(rng.uniform(0, 32, (3000, WORDS))).astype(np.uint32)
    words[:, 0] = rng.integers(0, len(COMMANDS) + 2, len(words))
    words[:50, 0] = rng.integers(0, 1 << 32, 50)
    for memory_bytes, write_base in [(1 << 20, 1 << 19), (1 << 31, 1 << 31), (0, 0), (100, 70)]:
        found = units.check(build, words, memory_bytes, write_base)
        assert found.tolist() == statuses(build, words, memory_bytes, write_base)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", KINDS)
def test_legal_and_nearly_legal_descriptors_are_judged_alike(
    units: Units, build: Build, kind: Any
) -> None:
    found_statuses = set()
    for seed in range(30):
        program = make_program(build, [kind], seed)
        for hostile_seed in range(15):
            hostile = make_hostile(program, hostile_seed) if hostile_seed else program
            words = hostile.memory[program.address :][:128].view("<u4").reshape(1, WORDS)
            limits = (len(program.memory), program.write_base)
            found = units.check(build, words, *limits).tolist()
            assert found == statuses(build, words, *limits)
            found_statuses.update(found)
    assert {Status.DONE, Status.BAD_SIZE, Status.BAD_ADDRESS} <= found_statuses


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_limit_of_a_field_is_judged_alike(units: Units, build: Build, kind: Any) -> None:
    """Around 0, 1, the limit, a buffer's limit and 2^32, one field after the other."""
    program = make_program(build, [kind], 1)
    words = program.memory[program.address :][:128].view("<u4")
    edges = [0, 1, 1 << 26, 1 << 16, 62, 255, 1 << 20, 1 << 31, (1 << 32) - 1]
    edges += [int(value) for value in vars(build).values()]
    cases = []
    for word in range(1, 15):
        for edge in edges:
            for step in (-build.channel_multiple, -1, 0, 1, build.channel_multiple):
                case = words.copy()
                case[word] = np.uint32((edge + step) & 0xFFFFFFFF)
                cases.append(case)
    batch = np.stack(cases)
    limits = (len(program.memory), program.write_base)
    assert units.check(build, batch, *limits).tolist() == statuses(build, batch, *limits)


# Units.


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("kind", [Norm, Route, Resize])
def test_a_unit_changes_memory_as_the_golden_model_does(
    units: Units, build: Build, kind: Any
) -> None:
    for seed in range(40):
        program = make_program(build, [kind], seed)
        memory, scratch = program.memory.copy(), program.scratch.copy()
        units.run(build, program.commands[0], memory, scratch)
        golden.run(build, program.memory, program.write_base, program.address, program.scratch)
        assert (memory == program.memory).all(), (seed, program.commands)
        assert (scratch == program.scratch).all(), (seed, program.commands)


@pytest.mark.parametrize("build", BUILDS)
def test_the_softmax_of_one_head(units: Units, rng: np.random.Generator, build: Build) -> None:
    """Ragged blocks of keys, one key, rising and falling scores, scores that saturate."""
    for tokens in (1, build.output_lanes - 1, build.output_lanes, 2 * build.output_lanes + 5, 70):
        for multiplier, shift in ((40000, 14), (65535, 0), (0, 5), (30000, 63), (60000, 20)):
            x = rng.integers(-128, 128, (3, tokens, 32)).astype(np.int8)
            if multiplier == 60000:
                x[1] = np.sort(x[1], axis=0)
            head = np.array([(multiplier, shift, 0, 50000, 25, 0)], HEAD)
            arrays = {"x": x.transpose(1, 0, 2), "parameters": head}
            done = OneCommand(build, Attention(tokens, 1, 32, 0, 0, 0), arrays).run()
            wanted = done.result("y", "i1", tokens, 32)
            found = units.attention(build, x, [multiplier, shift, 50000, 25])
            assert (found == wanted).all(), (tokens, multiplier, shift)
