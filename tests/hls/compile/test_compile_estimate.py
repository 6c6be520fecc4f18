"""The cost model: figures by hand, and what must hold for any command."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gearshift_hls.build import Build
from gearshift_hls.compile.estimate import (
    CostModel,
    estimate,
    estimate_program,
    expected_tokens,
)
from gearshift_hls.descriptor import (
    SCRATCH,
    Attention,
    Convolution,
    End,
    Experts,
    Format,
    Linear,
    Norm,
    Resize,
    Route,
)

from ..quantise.quantised_models import SMALL_BOARD

# Eight by eight lanes, two ports, 100 MHz: memory gives 80 bytes a cycle, more than the ports take.
FAST = replace(SMALL_BOARD, memory_bytes_per_second=8e9)
MODEL = CostModel(
    memory_efficiency=1.0,
    read_latency=7,
    bursts=4,
    weight_share=1.0,
    swap_cycles=1,
    least_tile_cycles=2,
    product_cycles=100,
    sums_cycles=10,
    weight_cycles=3,
)
LINEAR = Linear(
    rows=20, inputs=16, outputs=32, x_unsigned=0, format=Format.INT8, gelu=0, gelu_multiplier=0,
    gelu_shift=0, zero=0, x=SCRATCH, weights=0, residual=0, y=SCRATCH,
)  # fmt: skip


def test_a_product_by_hand() -> None:
    found = estimate(LINEAR, FAST, model=MODEL)
    causes = found.cycles_by_cause
    # 2 x 4 tiles of 20 rows.
    assert causes["array"] == 160
    # The first two lines of all rows, as they come from on-chip memory, which takes longer than the
    # first weights' 7 + 3 cycles; and the last tile's results, a row a cycle.
    assert causes["activations"] == 20 + 20
    assert causes["latency"] == 100
    assert causes["weights"] == causes["unit"] == causes["memory"] == 0
    assert found.weight_bytes == 32 * (16 + 8)
    assert found.external_bytes == found.weight_bytes
    assert found.scratch_bytes == 20 * 16 + 20 * 32
    assert found.bound == "array"


def test_few_rows_wait_for_weights() -> None:
    one = estimate(replace(LINEAR, rows=1), FAST, model=MODEL).cycles_by_cause
    # A tile: 2 beats of 4 rows of 8 weights a port and a cycle more; 4 x 8 bytes of parameters a
    # tile of outputs are 2 beats.
    assert one["array"] == 8
    assert one["weights"] == 8 * 3 + 4 * 2 - 8
    slow = replace(FAST, memory_bytes_per_second=4e8)  # 4 bytes a cycle
    starved = estimate(replace(LINEAR, rows=1), slow, model=MODEL).cycles_by_cause
    assert starved["weights"] == 32 * (16 + 8) / 4 - 8


def test_the_queues_hold_weights_for_later() -> None:
    """An expert of many tokens lets memory run ahead; the next one, of one token, then waits for
    what the queues did not hold."""
    slow = replace(FAST, memory_bytes_per_second=4e8)
    experts = Experts(60, 16, 16, 2, 0, 0, 0, SCRATCH, SCRATCH + 4096, 0, SCRATCH + 8192)
    nbytes = 2 * 16 * (16 + 8)  # of both products: 192 cycles
    many = estimate(experts, slow, [60, 0], MODEL).cycles_by_cause["weights"]
    assert many == 0
    # The first expert takes 8 tiles x 60 cycles, in which memory gives 480 - 192 cycles' more.
    enough = estimate(experts, slow, [60, 1], MODEL).cycles_by_cause["weights"]
    assert enough == 2 * (4 * 3 + 2 * 2) - 8
    empty = estimate(experts, slow, [60, 1], replace(MODEL, queue_beats=0)).cycles_by_cause
    assert empty["weights"] == pytest.approx(nbytes / 4 - 8)


def test_results_that_leave_more_slowly_than_the_array_makes_them() -> None:
    residual = replace(LINEAR, format=Format.RESIDUAL, residual=SCRATCH)
    found = estimate(replace(residual, inputs=32), FAST, model=MODEL)
    # 8 int32 are two words: the last tile's 20 rows leave in 40 cycles; the others' 40 are hidden
    # behind the 80 that a tile of results takes.
    assert found.cycles_by_cause["activations"] == 20 + 2 * 20
    assert found.scratch_bytes == 20 * 32 + 2 * 4 * 20 * 32
    outside = replace(residual, residual=1 << 20, y=1 << 20)
    waiting = estimate(outside, FAST, model=MODEL)
    # 4 bursts of 2 beats in 7 + 2 + 2 cycles: 55 a tile of results, where the array takes 40.
    assert waiting.cycles_by_cause["activations"] == 20 + 4 * (11 / 4 * 20) - 3 * 40
    assert waiting.cycles_by_cause["latency"] == 100 + 7 + 7, "the first residual, the last result"
    assert waiting.external_bytes == 32 * (16 + 8) + 2 * 4 * 20 * 32


def test_rows_beyond_a_pass_stream_the_weights_again() -> None:
    build = SMALL_BOARD.build
    full = estimate(replace(LINEAR, rows=build.max_tokens), FAST, model=MODEL)
    more = estimate(replace(LINEAR, rows=build.max_tokens + 1), FAST, model=MODEL)
    assert more.weight_bytes == 2 * full.weight_bytes
    half = build.input_bytes // 2
    wide = replace(LINEAR, inputs=256, rows=half // 256 + 1)
    assert estimate(wide, FAST, model=MODEL).weight_bytes == 2 * 32 * (256 + 8)


def test_only_used_experts_are_streamed() -> None:
    build = SMALL_BOARD.build
    experts = Experts(12, 32, 48, 4, 0, 0, 0, SCRATCH, SCRATCH + 4096, 0, SCRATCH + 8192)
    one = build.weight_ports * build.expert_bytes(32, 48)
    for tokens, used in (([12, 12, 0, 0], 2), ([6, 6, 6, 6], 4), ([12, 0, 0, 0], 1), ([0] * 4, 0)):
        found = estimate(experts, FAST, tokens, MODEL)
        assert found.weight_bytes == used * one
        macs = 2 * sum(tokens) * 32 * 48
        assert found.cycles_by_cause["array"] == macs / 64


def test_choices_are_spread_as_the_card_says() -> None:
    route = Route(12, 32, 4, 2, 0, 0, 0, 0, 0, 0, SCRATCH)
    assert expected_tokens(route) == [6, 6, 6, 6]
    assert expected_tokens(route, [0.5, 0.25, 0.25, 0.0]) == [12, 6, 6, 0]
    assert expected_tokens(route, [1.0, 0, 0, 0])[0] == 12, "no queue is longer than the sequence"
    experts = Experts(12, 32, 48, 4, 0, 0, 0, SCRATCH, SCRATCH, 0, SCRATCH)
    program = [route, experts, route, experts, End()]
    shares = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]
    first, second = (estimate_program(program, FAST, shares, MODEL)[i] for i in (1, 3))
    assert second.weight_bytes == 2 * first.weight_bytes
    assert estimate_program(program, FAST, None, MODEL)[1].weight_bytes == 4 * first.weight_bytes


@pytest.mark.parametrize("address", [SCRATCH, 1 << 22])
@pytest.mark.parametrize("rate", [1e7, 1e9, 1e12])
def test_no_command_beats_its_bounds(address: int, rate: float) -> None:
    """The array's multipliers, and external memory at its rate."""
    board = replace(SMALL_BOARD, memory_bytes_per_second=rate)
    random = np.random.default_rng(5)
    for _ in range(200):
        t, c, d, h = (int(random.integers(1, n)) for n in (60, 5, 3, 5))
        inputs, outputs = 16 * c, 16 * d
        kind, macs = {
            0: (Linear(t, inputs, outputs, 0, 0, 0, 0, 0, 0, address, 0, 0, address),
                t * inputs * outputs),
            1: (Attention(t, h, outputs, address, 0, address), 2 * t * t * h * outputs),
            2: (Convolution(2 * h, 2 * d, inputs, outputs, int(t % 2), 1, address, 0, address),
                4 * h * d * 9 * inputs * outputs),
            3: (Norm(t, inputs, inputs, 1, 1, 1, 0, address, 0, address, address), 0),
            4: (Resize(h, d, inputs, address, address), 0),
            5: (Route(t, inputs, 5, 2, 0, 0, 0, address, 0, 0, address), 0),
        }[int(random.integers(6))]  # fmt: skip
        found = estimate(kind, board)
        assert found.cycles_by_cause["array"] >= macs / 64
        assert all(cycles >= 0 for cycles in found.cycles_by_cause.values()), kind
        at_rate = found.external_bytes * 1e8 / (rate * CostModel.memory_efficiency)
        assert found.cycles >= at_rate * (1 - 1e-12)
        if address == SCRATCH:
            assert found.external_bytes == found.weight_bytes


def test_everything_that_a_command_must_touch_is_counted() -> None:
    """With one pass, bytes are those of the contract's regions; but for queues, which are written
    and read as far as they are filled, and borders of maps, which are read again."""
    build = Build()
    board = replace(SMALL_BOARD, build=build)
    memory = 1 << 24
    for command in (
        Linear(100, 64, 96, 0, 1, 0, 0, 0, 0, memory, 0, 0, memory),
        Linear(100, 64, 96, 0, 3, 0, 0, 0, 0, memory, 0, memory, memory),
        Norm(100, 64, 60, 1, 1, 1, 0, memory, 0, memory, 0),
        Norm(100, 64, 60, 1, 1, 1, 0, memory, 0, memory, memory),
        Attention(100, 3, 64, memory, 0, memory),
        Convolution(20, 20, 64, 32, 0, 1, memory, 0, memory),
        Resize(20, 30, 32, memory, memory),
    ):
        regions = command.regions(build)
        constants = sum(one.nbytes for one in regions if one.access == "constant")
        found = estimate(command, board)
        assert found.weight_bytes == constants, command
        assert found.external_bytes == sum(one.nbytes for one in regions), command
