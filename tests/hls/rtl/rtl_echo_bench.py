"""Drives `rtl_echo.sv`, to try the parts of `rtl_streams`."""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb

from .rtl_streams import Coverage, Sink, Source, any_stalls, bursty_stalls, reset, start, within

INCREMENT = int(os.environ["INCREMENT"])


@cocotb.test()
async def every_item_arrives(dut: Any) -> None:
    source = Source(dut, "in", any_stalls())
    sink = Sink(dut, "out", bursty_stalls(12))
    await start(dut)
    items = [random.getrandbits(30) for _ in range(2000)]
    source.send(items)
    got = await within(100_000, sink.take(len(items)))
    assert got == [item + INCREMENT for item in items]
    assert source.sent == len(items)


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    source, sink = Source(dut, "in"), Sink(dut, "out", iter(lambda: True, None))
    await start(dut)
    source.send([1, 2, 3])
    await within(20, _count(source, 2))
    source.clear()
    await reset(dut)
    assert not sink.items
    assert not dut.out_valid.value


@cocotb.test()
async def corners(dut: Any) -> None:
    coverage = Coverage("seen", "never")
    coverage.hit("seen", True)
    coverage.hit("never", False)
    if os.environ.get("REQUIRE"):
        coverage.require(dut._log.info)


async def _count(source: Source, wanted: int) -> None:
    from cocotb.triggers import RisingEdge

    while source.sent < wanted:
        await RisingEdge(source._clock)
