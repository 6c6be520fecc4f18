"""The RTL's pipelines of arithmetic against `fixed_point` and plain integers of Python."""

from __future__ import annotations

import random
from math import isqrt
from typing import Any

import cocotb
import numpy as np

from gearshift_hls import fixed_point as fp

from .rtl_streams import Coverage, through

RANDOM = 3000


@cocotb.test()
async def powers(dut: Any) -> None:
    below = [*range(19 << 10), *(random.getrandbits(33) for _ in range(RANDOM)), (1 << 33) - 1]
    got = await through(dut, 5, {"below": below}, lambda: (int(dut.term.value),))
    assert got == [(int(term),) for term in fp.power(np.array(below, np.int64))]


@cocotb.test()
async def reciprocal_roots(dut: Any) -> None:
    totals = [1, 2, 3, (1 << 62) - 1, *(1 << bit for bit in range(62))]
    totals += [(1 << bit) - 1 for bit in range(1, 62)]
    totals += [random.getrandbits(random.randint(1, 62)) | 1 for _ in range(RANDOM)]
    got = await through(
        dut, 6, {"total": totals}, lambda: (int(dut.root.value), int(dut.half.value))
    )
    root, half = fp.reciprocal_root(np.array(totals, np.int64))
    assert got == [(int(one), int(two)) for one, two in zip(root, half, strict=True)]
    for total, (one, two) in zip(totals, got, strict=True):
        # root^2 x total is 2^(34 + 2 half), within the straight lines' error
        exact = isqrt((1 << 34 + 2 * two) // total)
        assert abs(one - exact) <= 8, total


@cocotb.test()
async def quotients(dut: Any) -> None:
    divisors = [
        128,
        129,
        (1 << 20) - 1,
        *(random.randint(128, (1 << 20) - 1) for _ in range(RANDOM)),
    ]
    numerators = [(1 << 32) + divisor // 2 for divisor in divisors]
    for divisor in divisors[: RANDOM // 2]:
        quotient = random.getrandbits(12)
        divisors.append(divisor)
        numerators.append(quotient * divisor + random.choice([0, divisor - 1]))
    got = await through(
        dut, 26, {"numerator": numerators, "divisor": divisors}, lambda: (int(dut.quotient.value),)
    )
    assert got == [(top // bottom,) for top, bottom in zip(numerators, divisors, strict=True)]


@cocotb.test()
async def products(dut: Any) -> None:
    def signed(bits: int) -> int:
        edge = 1 << bits - 1
        return random.choice([-edge, edge - 1, -1, 0, 1, random.randrange(-edge, edge)])

    a = [signed(random.choice([19, 37])) for _ in range(RANDOM)]
    b = [signed(random.choice([17, 18, 28])) for _ in range(RANDOM)]
    outputs = (dut.both_cut, dut.b_cut, dut.a_cut, dut.none_cut)
    got = await through(
        dut,
        4,
        {"a": a, "b": b},
        lambda: tuple(output.value.to_signed() for output in outputs),
    )
    assert got == [
        (x * y, _low(x, 19) * y, x * _low(y, 17), _low(x, 19) * _low(y, 18))
        for x, y in zip(a, b, strict=True)
    ]


def _low(value: int, bits: int) -> int:
    """The low bits as a signed number."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@cocotb.test()
async def shifts(dut: Any) -> None:
    coverage = Coverage("tie above 0", "tie below 0", "saturated", "shift 0", "all shifted out")
    values, shifts = [], []
    for _ in range(2 * RANDOM):
        shift = random.randrange(64)
        value = random.getrandbits(random.randint(1, 39)) * random.choice([-1, 1])
        if random.random() < 0.5 and 0 < shift < 39:  # exactly between two integers
            value = (2 * (value >> shift) + 1) << shift - 1
            if not -(1 << 39) <= value < 1 << 39:
                continue
            coverage.hit("tie above 0" if value > 0 else "tie below 0")
        values.append(value)
        shifts.append(shift)
    values += [-(1 << 39)] * 64 + [(1 << 39) - 1] * 64
    shifts += [*range(64), *range(64)]
    got = await through(
        dut,
        4,
        {"value": values, "shift": shifts},
        lambda: (dut.wide.value.to_signed(), dut.narrow.value.to_signed()),
    )
    exact = fp.shift_right(np.array(values), np.array(shifts))
    wide, narrow = fp.saturate(exact, 32), fp.saturate(exact, 8)
    assert got == [(int(one), int(two)) for one, two in zip(wide, narrow, strict=True)]
    coverage.hit("saturated", int((narrow != exact).sum()))
    coverage.hit("shift 0", shifts.count(0))
    coverage.hit("all shifted out", sum(shift > 40 for shift in shifts))
    coverage.require(dut._log.info)
