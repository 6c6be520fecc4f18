"""cocotb bench of `dot_product_pair`: both lanes' sums against plain integers, with the greatest
magnitudes that inputs and weights have."""

from __future__ import annotations

import os
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from .rtl_streams import PERIOD_NS

INPUTS = int(os.environ["INPUTS"])
LATENCY = 6 + int(np.log2(INPUTS // 4))
ROWS = 60
SUM_BITS = 17 + int(np.log2(INPUTS))


def rows(rng: np.random.Generator) -> np.ndarray:
    """(ROWS, INPUTS) in -128 .. 255: anything, then ends of the range."""
    anything = rng.integers(-128, 256, (ROWS, INPUTS))
    ends = rng.choice([-128, 127, 255], (ROWS, INPUTS))
    same = np.broadcast_to(rng.choice([-128, 255], (ROWS, 1)), (ROWS, INPUTS))
    return np.concatenate([anything, ends, same])


def packed(values: np.ndarray, bits: int) -> int:
    """Element n in bits n x `bits` and up."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << bits * place for place, value in enumerate(values))


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


@cocotb.test()
async def both_lanes(dut: Any) -> None:
    rng = np.random.default_rng(int(os.environ["COCOTB_RANDOM_SEED"]))
    cocotb.start_soon(Clock(dut.clock, PERIOD_NS, unit="ns").start())
    for turn in range(12):
        weights = rng.integers(-128, 128, (2, INPUTS))
        if turn % 3:
            weights = rng.choice([-128, -1, 127], (2, INPUTS))
        if turn % 3 == 2:
            weights[:] = rng.choice([-128, 127], (2, 1))
        await load(dut, weights, rng)
        given = rows(rng)
        found = await stream(dut, given)
        np.testing.assert_array_equal(found, given @ weights.T)


async def load(dut: Any, weights: np.ndarray, rng: np.random.Generator) -> None:
    """The shadow weights, one of the lanes at a time, some inputs at a time."""
    dut.swap.value = 0
    for lane in rng.permutation(2):
        part = rng.integers(0, 2, INPUTS).astype(bool)
        for chosen in (part, ~part):
            enables = np.zeros((2, INPUTS), int)
            enables[lane] = chosen
            dut.load.value = packed(enables.reshape(-1), 1)
            shown = np.where(enables, weights, rng.integers(-128, 128, (2, INPUTS)))
            dut.weights.value = packed(shown.reshape(-1), 8)
            await RisingEdge(dut.clock)
    dut.load.value = 0


async def stream(dut: Any, given: np.ndarray) -> np.ndarray:
    """Rows behind each other, the weights swapped in with the first; the sums, (rows, 2)."""
    count, places = len(given), np.arange(INPUTS) % 4
    found = []
    for now in range(count + LATENCY):
        late = now - places
        there = given[late.clip(0, count - 1), range(INPUTS)]
        shown = np.where((late >= 0) & (late < count), there, 0)
        dut.inputs.value = packed(shown, 9)
        dut.swap.value = 1 << now if now < 4 else 0
        await RisingEdge(dut.clock)
        if now >= LATENCY:
            sums = int(dut.sums.value)
            mask = (1 << SUM_BITS) - 1
            found.append([signed(sums >> SUM_BITS * lane & mask, SUM_BITS) for lane in range(2)])
    return np.array(found)
