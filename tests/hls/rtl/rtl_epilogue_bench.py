"""GELU and requantisation of the product unit against `fixed_point`: every value, every tie."""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from gearshift_hls import fixed_point as fp

from .rtl_streams import Coverage, through

SATURATED = (1 << 32) - 1
"""What 33 bits hold at most."""


@cocotb.test()
async def gelu_of_every_value(dut: Any) -> None:
    values = np.arange(-(1 << 15), 1 << 15)
    got = await through(dut, 5, {"value": values.tolist()}, lambda: dut.activated.value.to_signed())
    assert got == fp.gelu(values).tolist()


@cocotb.test()
async def requantisation(dut: Any) -> None:
    coverage = Coverage("saturated", "no shift", "all shifted out", "multiplier 0")
    ties = Coverage(*(f"{sign} by {shift}" for sign in "+-" for shift in range(1, 48)))
    biased, multipliers, shifts = [], [], []
    for _ in range(8000):
        biased.append(random.getrandbits(random.randint(1, 32)) * random.choice([-1, 1]))
        multipliers.append(random.choice([0, 1, 65535, random.getrandbits(16)]))
        shifts.append(random.choice([0, 63, random.randrange(64)]))
    for shift in range(1, 48):
        # odd x 2^low times 2^(shift - 1 - low) lies exactly between two integers
        for _ in range(20):
            low = random.randint(max(0, shift - 16), min(shift - 1, 31))
            odd = random.getrandbits(32 - low) | 1
            sign = random.choice([1, -1])
            biased.append(sign * (odd << low))
            multipliers.append(1 << shift - 1 - low)
            shifts.append(shift)
    exact = fp.shift_right(
        np.array(biased, np.int64) * np.array(multipliers, np.int64), np.array(shifts)
    )
    wanted = np.clip(exact, -SATURATED - 1, SATURATED).tolist()
    inputs = {"biased": biased, "multiplier": multipliers, "shift": shifts}
    got = await through(dut, 8, inputs, lambda: dut.scaled.value.to_signed())
    for value, multiplier, shift, right, answer in zip(
        biased, multipliers, shifts, exact.tolist(), got, strict=True
    ):
        coverage.hit("saturated", abs(right) > SATURATED + 1)
        coverage.hit("no shift", shift == 0)
        coverage.hit("all shifted out", shift == 63 and value != 0)
        coverage.hit("multiplier 0", multiplier == 0)
        product = value * multiplier
        if 0 < shift < 48 and product % (1 << shift) == 1 << shift - 1:
            ties.hit(f"{'+' if product > 0 else '-'} by {shift}")
        assert abs(answer) <= SATURATED + 1
    coverage.require(dut._log.info)
    ties.require(dut._log.info)
    assert got == wanted
