"""Inside the simulator: clock and reset, streams with random stalls, and corners that were hit.

Streams are the RTL's: `NAME_valid`, `NAME_ready` and `NAME_data` (or any other payload signal),
a transfer in every cycle in which valid and ready are both 1. Everything here drives after the
rising edge and looks at the falling one, when all of a cycle's signals have settled.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import cocotb
from cocotb.clock import Clock
from cocotb.handle import Immediate
from cocotb.triggers import FallingEdge, RisingEdge, Timer, with_timeout

PERIOD_NS = 4

Result = TypeVar("Result")

Stalls = Iterator[bool]
"""One value a cycle; true: not in this cycle."""


def no_stalls() -> Stalls:
    while True:
        yield False


def random_stalls(share: float, seed: int | None = None) -> Stalls:
    """Each cycle on its own, `share` of them stalled."""
    generator = random.Random(random.random() if seed is None else seed)
    while True:
        yield generator.random() < share


def bursty_stalls(longest: int = 40, seed: int | None = None) -> Stalls:
    """Long stretches of either, as memories and busy neighbours make them."""
    generator = random.Random(random.random() if seed is None else seed)
    while True:
        stalled = generator.random() < 0.5
        for _ in range(generator.randint(1, longest)):
            yield stalled


def any_stalls() -> Stalls:
    """One of the kinds above, by the simulation's seed."""
    return random.choice(
        [no_stalls, lambda: random_stalls(0.2), lambda: random_stalls(0.8), bursty_stalls]
    )()


async def start(dut: Any, cycles: int = 4, **inputs: int) -> None:
    """Start the clock, give inputs their first values and hold reset for some cycles."""
    # Registers and ports begin at random: reset comes before an edge, or assertions see them.
    dut.clock.set(Immediate(0))
    dut.reset.set(Immediate(1))
    await Timer(PERIOD_NS, unit="ns")
    cocotb.start_soon(Clock(dut.clock, PERIOD_NS, unit="ns").start())
    for name, value in inputs.items():
        getattr(dut, name).value = value
    await reset(dut, cycles)


async def reset(dut: Any, cycles: int = 4) -> None:
    dut.reset.value = 1
    for _ in range(cycles):
        await RisingEdge(dut.clock)
    dut.reset.value = 0
    await RisingEdge(dut.clock)


async def through(
    dut: Any, latency: int, inputs: Mapping[str, Sequence[int]], read: Callable[[], Result]
) -> list[Result]:
    """One set of inputs a cycle to a pipeline -> what is read `latency` cycles behind each."""
    cocotb.start_soon(Clock(dut.clock, PERIOD_NS, unit="ns").start())
    count, got = len(next(iter(inputs.values()))), []
    await RisingEdge(dut.clock)
    for step in range(count + latency):
        for name, values in inputs.items():
            getattr(dut, name).value = int(values[min(step, count - 1)])
        await RisingEdge(dut.clock)
        if step >= latency:
            got.append(read())
    return got


async def within(cycles: int, awaitable: Any) -> Any:
    """What is awaited, or an error when it takes more cycles."""
    return await with_timeout(awaitable, cycles * PERIOD_NS, "ns")


class Source:
    """Drives a stream from a queue; an item is offered until it is taken."""

    def __init__(
        self, dut: Any, name: str, stalls: Stalls | None = None, payload: str = "data"
    ) -> None:
        """`payload`: the signal beside valid and ready; empty: `NAME` itself."""
        self._clock = dut.clock
        self._valid = getattr(dut, f"{name}_valid")
        self._ready = getattr(dut, f"{name}_ready")
        self._data = getattr(dut, f"{name}_{payload}" if payload else name)
        self._stalls = stalls or no_stalls()
        self._items: deque[int] = deque()
        self.sent = 0
        self._valid.value = 0
        self._task = cocotb.start_soon(self._run())

    def send(self, items: Iterable[int]) -> None:
        """Queue items; returns at once."""
        self._items.extend(int(item) for item in items)

    async def sent_all(self) -> None:
        """Until the queue is empty and the last item was taken."""
        while self._items:
            await RisingEdge(self._clock)

    def clear(self) -> None:
        """Forget what is queued, as a reset does."""
        self._items.clear()

    async def _run(self) -> None:
        offered = False
        await RisingEdge(self._clock)
        while True:
            if not offered:
                offered = bool(self._items) and not next(self._stalls)
                self._valid.value = int(offered)
                if offered:
                    self._data.value = self._items[0]
            await _settled(self._clock)
            taken = offered and bool(self._ready.value)
            await RisingEdge(self._clock)
            if taken:
                offered = False
                self.sent += 1
                if self._items:
                    self._items.popleft()
            elif not self._items:
                offered = False


class Sink:
    """Takes a stream; fails when the sender withdraws or changes what it offers."""

    def __init__(
        self, dut: Any, name: str, stalls: Stalls | None = None, payload: str = "data"
    ) -> None:
        """`payload`: as of `Source`."""
        self._dut = dut
        self._name = name
        self._clock = dut.clock
        self._valid = getattr(dut, f"{name}_valid")
        self._ready = getattr(dut, f"{name}_ready")
        self._data = getattr(dut, f"{name}_{payload}" if payload else name)
        self._stalls = stalls or no_stalls()
        self.items: list[int] = []
        self._ready.value = 0
        self._task = cocotb.start_soon(self._run())

    async def take(self, count: int) -> list[int]:
        """The next `count` items."""
        while len(self.items) < count:
            await RisingEdge(self._clock)
        taken, self.items = self.items[:count], self.items[count:]
        return taken

    async def _run(self) -> None:
        offered: int | None = None
        await RisingEdge(self._clock)
        while True:
            ready = not next(self._stalls)
            self._ready.value = int(ready)
            await _settled(self._clock)
            valid = bool(self._valid.value)
            value = int(self._data.value) if valid else None
            in_reset = hasattr(self._dut, "reset") and bool(self._dut.reset.value)
            if offered is not None and not in_reset:
                assert value == offered, f"{self._name}: offered {offered:#x}, then {value}"
            offered = None
            if valid and not in_reset:
                if ready:
                    self.items.append(int(self._data.value))
                else:
                    offered = value
            await RisingEdge(self._clock)


async def _settled(clock: Any) -> None:
    """What was driven after the rising edge has settled, and what depends on it."""
    await FallingEdge(clock)


class Coverage:
    """Corners that a bench must have met: named first, hit on the way, all required at the end."""

    def __init__(self, *corners: str) -> None:
        self.counts = dict.fromkeys(corners, 0)

    def hit(self, corner: str, count: int | bool = 1) -> None:
        """A corner occurred `count` times (a condition counts as 0 or 1)."""
        assert corner in self.counts, f"no corner {corner!r}: {', '.join(self.counts)}"
        self.counts[corner] += int(count)

    def require(self, log: Callable[[str], None] | None = None) -> None:
        """Raises AssertionError when a corner was never hit."""
        if log is not None:
            log("corners hit: " + ", ".join(f"{k} {n}" for k, n in self.counts.items()))
        missed = [corner for corner, count in self.counts.items() if not count]
        assert not missed, f"never hit: {', '.join(missed)}"
