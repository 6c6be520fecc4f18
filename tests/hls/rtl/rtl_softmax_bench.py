"""Drives softmax.sv head by head as the attention does, against golden.py's `_attend`.

The bench keeps the weighted sums that the accumulators keep, out of the weights and shifts that the
RTL gives; the results of the final division must be golden's.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from gearshift_hls import fixed_point as fp
from gearshift_hls import golden
from gearshift_hls.board import ZCU104
from gearshift_hls.build import RTL_BUILD
from gearshift_hls.fixed_point import Int

from .rtl_streams import Coverage, Stalls, any_stalls, no_stalls, start, within

WIDE = os.environ.get("BUILD") == "wide"
"""The ZCU104's build."""
BUILD = ZCU104.build if WIDE else RTL_BUILD
LANES = BUILD.output_lanes
IDLE = {"block_valid": 0, "final_valid": 0, "result_ready": 0}

CORNERS = Coverage(
    "one token",
    "one key in the last block",
    "as many tokens as the build holds",
    "widest head",
    "maximum rises",
    "fall 31",
    "score saturated",
    "weight 255",
    "weight 0",
    "all scores equal",
    "smallest total",
    "result saturated",
    "result tie",
    "head divided while the next is scored",
)


@dataclass
class Head:
    """A head's operands (T, head_dim), its parameters, and what golden finds."""

    queries: Int
    keys: Int
    values: Int
    parameters: dict[str, int]
    bank: int

    def __post_init__(self) -> None:
        self.told: dict[str, list[Int]] = {"scores": [], "weights": []}
        self.build = BUILD
        self.y = golden._attend(self, self.queries, self.keys, self.values, self.parameters)  # type: ignore[arg-type]

    def tell(self, name: str, values: Int) -> None:
        self.told[name].append(values)

    def row(self, token: int) -> int:
        return self.bank * BUILD.max_tokens + token


KINDS = ("equal keys", "rising", "saturated", "smallest weights", "ties", "any")


def head_of(tokens: int, head_dim: int, bank: int, kind: str) -> Head:
    """A head of one of the kinds above."""
    queries, keys, values = (
        np.array([random.randint(-128, 127) for _ in range(tokens * head_dim)]).reshape(tokens, -1)
        for _ in range(3)
    )
    parameters = {
        "score_multiplier": random.choice([1, 0xFFFF, random.getrandbits(16)]),
        "score_shift": random.choice([0, 4, 8, 12, 16, 20, 24, random.randrange(64)]),
        "output_multiplier": random.getrandbits(16),
        "output_shift": random.choice([10, 18, 24, 26, 27, 63]),
    }
    if kind == "equal keys":
        keys[:] = keys[0]
    if kind == "rising":
        keys = np.abs(keys * np.arange(1, tokens + 1)[:, None] // tokens)
        queries = np.abs(queries)
        parameters |= {"score_multiplier": 1 << 10, "score_shift": random.choice([8, 10, 12])}
    if kind == "saturated":
        queries[:], keys[:], values[:] = -128, 127, random.choice([-128, 127])
        keys[-1] = -128
        parameters |= {"score_multiplier": 0xFFFF, "score_shift": random.choice([0, 1])}
    if kind == "smallest weights":  # scores of 1 / 1024: the power above them is twice as large
        keys[:], queries[:] = 0, 0
        keys[:, 0], queries[:, 0] = 1, 1
        parameters |= {"score_multiplier": 1, "score_shift": 0}
    if kind == "ties":
        parameters |= {"output_multiplier": 1, "output_shift": 11}  # halves of the values
    return Head(queries, keys, values, parameters, bank)


async def score(dut: Any, head: Head, stalls: Stalls) -> Int:
    """Stream all blocks of the head; returns the weighted sums (T, head_dim)."""
    tokens = len(head.keys)
    weighted = np.zeros_like(head.values)
    expected: deque[tuple[int, int]] = deque()
    collector = cocotb.start_soon(_collect(dut, head, weighted, expected))
    dut.block_multiplier.value = head.parameters["score_multiplier"]
    dut.block_shift.value = head.parameters["score_shift"]
    for start_key in range(0, tokens, LANES):
        keys = head.keys[start_key : start_key + LANES]
        dots = head.queries @ keys.T
        CORNERS.hit("one key in the last block", len(keys) == 1 and tokens > 1)
        for token in range(tokens):
            while next(stalls):
                dut.block_valid.value = 0
                await RisingEdge(dut.clock)
            dut.block_valid.value = 1
            dut.block_row.value = head.row(token)
            dut.block_first.value = start_key == 0
            dut.block_last.value = start_key + LANES >= tokens
            dut.block_keys.value = (1 << len(keys)) - 1
            sums = [*dots[token].tolist(), *(random.getrandbits(32) for _ in range(LANES))][:LANES]
            dut.block_sums.value = _pack(sums, 32)
            expected.append((start_key, token))
            await RisingEdge(dut.clock)
    dut.block_valid.value = 0
    await within(200, collector)
    return weighted


async def _collect(dut: Any, head: Head, weighted: Int, expected: deque[tuple[int, int]]) -> None:
    """Check the weights as they leave and add them to the weighted sums."""
    tokens = len(head.keys)
    for _ in range(tokens * len(range(0, tokens, LANES))):
        await FallingEdge(dut.clock)
        while not dut.weights_valid.value:
            await FallingEdge(dut.clock)
        start_key, token = expected.popleft()
        assert int(dut.weights_row.value) == head.row(token)
        values = head.values[start_key : start_key + LANES]
        got = _unpack(int(dut.weights.value), 8, LANES, signed=False)
        wanted = head.told["weights"][start_key // LANES][token]
        assert got[: len(values)].tolist() == wanted.tolist(), (start_key, token)
        assert not got[len(values) :].any()
        fall = int(dut.weights_fall.value)
        assert start_key or fall == 0
        weighted[token] = fp.shift_right(weighted[token], fall) + wanted @ values
        CORNERS.hit("maximum rises", 0 < fall < 31)
        CORNERS.hit("fall 31", fall == 31)
        CORNERS.hit("weight 255", 255 in wanted)
        CORNERS.hit("weight 0", 0 in wanted)


async def divide(dut: Any, head: Head, weighted: Int, stalls: Stalls, takes: Stalls) -> None:
    """Every row in tiles of LANES channels -> int8 results, which must be golden's."""
    tiles = range(0, weighted.shape[1], LANES)
    order = [(token, tile) for token in range(len(weighted)) for tile in tiles]
    taker = cocotb.start_soon(_take(dut, head, order, takes))
    for token, tile in order:
        while next(stalls):
            await RisingEdge(dut.clock)
        dut.final_valid.value = 1
        dut.final_row.value = head.row(token)
        dut.final_sums.value = _pack(weighted[token, tile : tile + LANES].tolist(), 32)
        dut.final_multiplier.value = head.parameters["output_multiplier"]
        dut.final_shift.value = head.parameters["output_shift"]
        await FallingEdge(dut.clock)
        while not dut.final_ready.value:
            await FallingEdge(dut.clock)
        await RisingEdge(dut.clock)
        dut.final_valid.value = 0
    await taker


async def _take(dut: Any, head: Head, order: list[tuple[int, int]], stalls: Iterator[bool]) -> None:
    for token, tile in order:
        offered = None
        while True:
            ready = not next(stalls)
            dut.result_ready.value = ready
            await FallingEdge(dut.clock)
            if dut.result_valid.value:
                got = int(dut.result.value)
                assert offered in (None, got), "changed what it offered"
                offered = got
            else:
                assert offered is None, "withdrew what it offered"
            await RisingEdge(dut.clock)
            if offered is not None and ready:
                break
        wanted = head.y[token, tile : tile + LANES]
        assert _unpack(offered, 8, LANES).tolist() == wanted.tolist(), (token, tile)
        CORNERS.hit("result saturated", int((np.abs(2 * wanted + 1) == 255).sum()))
    dut.result_ready.value = 0


async def settle(dut: Any) -> None:
    await FallingEdge(dut.clock)
    cycles = 0
    while not dut.settled.value:
        cycles += 1
        await FallingEdge(dut.clock)
    assert cycles < 100
    await RisingEdge(dut.clock)


def _pack(values: list[int], bits: int) -> int:
    mask = (1 << bits) - 1
    return sum((value & mask) << bits * place for place, value in enumerate(values))


def _unpack(packed: int, bits: int, count: int, signed: bool = True) -> Int:
    values = np.array([packed >> bits * place & (1 << bits) - 1 for place in range(count)])
    return np.where(values >> bits - 1 & signed, values - (1 << bits), values)


def _corners(head: Head, weighted: Int) -> None:
    tokens, head_dim = head.values.shape
    scores = np.concatenate(head.told["scores"], axis=1)
    CORNERS.hit("one token", tokens == 1)
    CORNERS.hit("as many tokens as the build holds", tokens == BUILD.max_tokens)
    CORNERS.hit("widest head", head_dim == BUILD.max_head_dim)
    CORNERS.hit("score saturated", int(np.isin(scores, [-(1 << 31), (1 << 31) - 1]).sum()))
    CORNERS.hit("all scores equal", tokens > LANES and (scores == scores[:, :1]).all())
    if tokens == 1:
        total = head.told["weights"][0]
        CORNERS.hit("smallest total", int((total == 128).sum()))
        mean = fp.shift_right(weighted * (((1 << 32) + total // 2) // total), 22)
        product, shift = (
            mean * head.parameters["output_multiplier"],
            head.parameters["output_shift"],
        )
        CORNERS.hit("result tie", int((product & (1 << shift) - 1 == 1 << shift - 1).sum()))


@cocotb.test()
async def heads(dut: Any) -> None:
    """One head after the other, each scored while the one before is divided."""
    await start(dut, **IDLE)
    sizes = [1] * 12 + [2, LANES, LANES + 1, 2 * LANES + 1, 53, 40, 37, 90, BUILD.max_tokens]
    sizes += [LANES + 1, 33, 49, 25, 64]
    if WIDE:
        sizes = [1, 7, 2 * LANES + 1, 3 * LANES, 50, 75]
    dividing = None
    for number, tokens in enumerate(sizes):
        head_dim = random.choice([LANES, 2 * LANES, BUILD.max_head_dim])
        head = head_of(tokens, head_dim, number % 2, KINDS[number % len(KINDS)])
        weighted = await score(dut, head, any_stalls())
        if dividing:
            CORNERS.hit("head divided while the next is scored", not dividing.done())
            await dividing
        await settle(dut)
        dividing = cocotb.start_soon(divide(dut, head, weighted, any_stalls(), any_stalls()))
        _corners(head, weighted)
    await dividing
    if not WIDE:
        CORNERS.require(dut._log.info)


def _sensitive() -> tuple[int, dict[str, int]]:
    """A number of equal keys, and an output scale, for which the test below holds.

    All weights are then 255, and with values of 127 the weighted mean is 127.
    """
    multipliers = np.arange(1, 1 << 16)
    for tokens in range(128, 3, -1):
        total = 255 * tokens
        if (1 << 32) % total * 4 // total != 2:  # the reciprocal is rounded up, by less than a half
            continue
        inverse = ((1 << 32) + total // 2) // total
        mean, less = ((127 * total * each + (1 << 21)) >> 22 for each in (inverse, inverse - 1))
        for shift in range(26, 34):
            y = fp.shift_right(mean * multipliers, shift)
            differs = (y != fp.shift_right(less * multipliers, shift)) & (y < 127)
            if differs.any():
                multiplier = int(multipliers[differs.argmax()])
                return tokens, {"output_multiplier": multiplier, "output_shift": shift}
    raise AssertionError("no such number of keys")


@cocotb.test()
async def reciprocal_is_rounded(dut: Any) -> None:
    """A result that would be another one if the reciprocal of the total were one less."""
    await start(dut, **IDLE)
    tokens, parameters = _sensitive()
    head = head_of(tokens, LANES, 0, "any")
    keys, values = np.zeros_like(head.keys), np.full_like(head.values, 127)
    head = Head(head.queries, keys, values, head.parameters | parameters, 0)
    weighted = await score(dut, head, any_stalls())
    await settle(dut)
    await divide(dut, head, weighted, any_stalls(), any_stalls())


@cocotb.test()
async def full_speed(dut: Any) -> None:
    """A row a cycle goes in, four cycles a row of results come out, without a gap."""
    await start(dut, **IDLE)
    head = head_of(3 * LANES, LANES, 0, "any")
    weighted = await score(dut, head, no_stalls())
    await settle(dut)
    rows = len(weighted)
    await within(4 * rows + 30, divide(dut, head, weighted, no_stalls(), no_stalls()))


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """Blocks and divisions that were under way leave nothing behind."""
    await start(dut, **IDLE)
    dut.block_valid.value = 1
    dut.block_first.value = 1
    dut.final_valid.value = 1
    for _ in range(10):
        await RisingEdge(dut.clock)
    await start(dut, **IDLE)
    for _ in range(100):
        await FallingEdge(dut.clock)
        assert dut.settled.value
        assert not dut.weights_valid.value
        assert not dut.result_valid.value
