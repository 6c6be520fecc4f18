"""cocotb bench of the memory system (rtl_memory.sv): reader, writer, on-chip memory, weight port.

Memory is a numpy array here; what is read must be what it holds, what was written must be in it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from gearshift_hls.build import RTL_BUILD, Build
from gearshift_hls.descriptor import SCRATCH

from .rtl_axi import External, attach, random_bytes, run_freely, stall
from .rtl_streams import Coverage, Sink, Source, any_stalls, no_stalls, start, within

BUILD = RTL_BUILD if os.environ.get("GEARSHIFT_BENCH_LANES") == "16" else Build()
LINE = BUILD.input_lanes
WORD = 2 * LINE
MEMORY = 48 << 10
BASE = 0x3_8765_4000
PATIENCE = 200_000

Piece = tuple[int, int]
"""Address and lines."""

COVERAGE = Coverage(
    "one line",
    "an odd number of lines",
    "on-chip memory from an odd line",
    "the last line of on-chip memory",
    "a change of memory between requests",
    "a burst that ends at 4 KiB",
    "a request across 4 KiB",
    "more beats than the queue holds",
    "the last line of external memory",
)


class Bench:
    """The streams, and what all memory must hold."""

    def __init__(self, dut: Any, stalls: Any, takes: bool = True) -> None:
        """`takes`: what is read is taken from the start, not from `take` on."""
        self.dut = dut
        self.stalls = stalls
        self.external = External(random_bytes(MEMORY), BASE)
        self.slaves = attach(dut, self.external, "memory", "stream")
        self.scratch = np.zeros(BUILD.scratch_bytes, np.uint8)
        self.read_requests = Source(dut, "read_request", stalls(), "")
        self.write_requests = Source(dut, "write_request", stalls(), "")
        self.write = Source(dut, "write", stalls())
        self.weights_requests = Source(dut, "weights_request", stalls(), "")
        dut.read_ready.value = dut.weights_ready.value = 0
        if takes:
            self.take()

    def take(self) -> None:
        self.read = Sink(self.dut, "read", self.stalls())
        self.weights = Sink(self.dut, "weights", self.stalls())

    async def begin(self) -> None:
        await start(self.dut, base=BASE >> 12, flush=0)

    def held(self, piece: Piece) -> np.ndarray:
        address, lines = piece
        memory = self.scratch if address >= SCRATCH else self.external.data
        return memory[address % SCRATCH :][: lines * LINE]

    def ask(self, requests: Source, pieces: list[Piece]) -> None:
        requests.send(address << 24 | lines for address, lines in pieces)

    def put(self, piece: Piece) -> np.ndarray:
        """Write random lines; returns what the piece must hold afterwards."""
        data = random_bytes(piece[1] * LINE)
        self.ask(self.write_requests, [piece])
        self.write.send(words(data))
        return data

    async def write_all(self, pieces: list[Piece]) -> None:
        """Write, wait, and hold memory against it; on-chip memory is held against it by reads."""
        wanted = [self.put(piece) for piece in pieces]
        await self.written()
        for piece, data in zip(pieces, wanted, strict=True):
            if piece[0] >= SCRATCH:
                self.held(piece)[:] = data
            assert (self.held(piece) == data).all(), piece

    async def written(self) -> None:
        await within(PATIENCE, self.write.sent_all())
        await within(PATIENCE, until(self.dut, self.dut.write_idle))

    async def read_all(self, pieces: list[Piece]) -> None:
        self.ask(self.read_requests, pieces)
        for piece in pieces:
            taken = await within(PATIENCE, self.read.take(-(-piece[1] // 2)))
            found = b"".join(word.to_bytes(WORD, "little") for word in taken)
            assert found[: piece[1] * LINE] == self.held(piece).tobytes(), piece


def words(data: np.ndarray) -> Iterator[int]:
    """Lines as words; the upper half of an odd last one is noise."""
    padded = np.concatenate([data, random_bytes(-len(data) % WORD)])
    return (int.from_bytes(word.tobytes(), "little") for word in padded.reshape(-1, WORD))


async def until(dut: Any, signal: Any) -> None:
    await RisingEdge(dut.clock)
    await RisingEdge(dut.clock)
    while not signal.value:
        await RisingEdge(dut.clock)


def piece_in(space: int, nbytes: int) -> Piece:
    """Somewhere in `nbytes` bytes from `space` on; often at a border."""
    lines = random.choice([1, 2, 3, random.randint(1, 24), random.randint(1, 200)])
    lines = min(lines, nbytes // LINE)
    room = nbytes // LINE - lines
    near = 4096 // LINE * random.randint(0, room * LINE // 4096) - random.randint(0, lines)
    place = random.choice([random.randint(0, room), room, min(max(near, 0), room)])
    return space + place * LINE, lines


def disjoint(count: int, spaces: list[Piece]) -> list[Piece]:
    found: list[Piece] = []
    while len(found) < count:
        address, lines = piece_in(*random.choice(spaces))
        if all(address + lines * LINE <= a or a + n * LINE <= address for a, n in found):
            found.append((address, lines))
    return found


def note(pieces: list[Piece]) -> None:
    for number, (address, lines) in enumerate(pieces):
        last, on_chip = address + lines * LINE, address >= SCRATCH
        COVERAGE.hit("one line", lines == 1)
        COVERAGE.hit("an odd number of lines", lines % 2 and lines > 1)
        COVERAGE.hit("on-chip memory from an odd line", on_chip and address // LINE % 2)
        COVERAGE.hit("the last line of on-chip memory", last == SCRATCH + BUILD.scratch_bytes)
        COVERAGE.hit("the last line of external memory", last == MEMORY)
        COVERAGE.hit("a burst that ends at 4 KiB", not on_chip and last % 4096 == 0)
        COVERAGE.hit("a request across 4 KiB", not on_chip and address >> 12 < (last - 1) >> 12)
        if number:
            other = pieces[number - 1][0] >= SCRATCH
            COVERAGE.hit("a change of memory between requests", other != on_chip)


@cocotb.test()
async def random_traffic(dut: Any) -> None:
    """Reads of one half of both memories while the other half is written, then the other way."""
    bench = Bench(dut, any_stalls)
    await bench.begin()
    half, chip = MEMORY // 2, BUILD.scratch_bytes // 2
    halves = [
        [(0, half), (SCRATCH, chip)],
        [(half, MEMORY - half), (SCRATCH + chip, BUILD.scratch_bytes - chip)],
    ]
    # On-chip memory holds anything: fill it.
    lines = 256
    await bench.write_all(
        [(SCRATCH + at, lines) for at in range(0, BUILD.scratch_bytes, lines * LINE)]
    )
    for turn in range(10):
        stall(bench.slaves)
        written, read = halves[turn % 2], halves[1 - turn % 2]
        writes, reads = disjoint(6, written), [piece_in(*random.choice(read)) for _ in range(12)]
        note(writes + reads)
        reading = cocotb.start_soon(bench.read_all(reads))
        await bench.write_all(writes)
        await within(PATIENCE, reading)
        await bench.read_all(writes)
    assert not bench.external.outside


@cocotb.test()
async def weight_streams(dut: Any) -> None:
    """Streams one behind the other, some longer than the queue."""
    bench = Bench(dut, any_stalls)
    await bench.begin()
    for _ in range(6):
        stall(bench.slaves)
        streams = []
        for _ in range(4):
            beats = random.choice([1, 2, 63, 64, 65, random.randint(1, 300), 700])
            address = 16 * random.randint(0, MEMORY // 16 - beats)
            COVERAGE.hit("more beats than the queue holds", beats > 512)
            streams.append((address, 16 * beats))
        bench.weights_requests.send(address << 32 | nbytes for address, nbytes in streams)
        for address, nbytes in streams:
            beats = await within(PATIENCE, bench.weights.take(nbytes // 16))
            found = b"".join(beat.to_bytes(16, "little") for beat in beats)
            assert found == bench.external.data[address : address + nbytes].tobytes()
    await within(PATIENCE, until(dut, dut.weights_idle))


@cocotb.test()
async def on_chip_memory_never_rests(dut: Any) -> None:
    """A word a cycle, also from one request to the next; the same for writes."""
    bench = Bench(dut, no_stalls)
    await bench.begin()
    run_freely(bench.slaves)
    pieces = [(SCRATCH + 40 * LINE * place + LINE, 7 + place) for place in range(12)]
    await bench.write_all(pieces)
    total = sum(-(-lines // 2) for _, lines in pieces)
    bench.ask(bench.read_requests, pieces)
    while not dut.read_valid.value:
        await RisingEdge(dut.clock)
    for _ in range(total):
        assert dut.read_valid.value
        await RisingEdge(dut.clock)
    taken = await bench.read.take(total)
    assert len(taken) == total


@cocotb.test()
async def external_memory_at_the_speed_of_the_port(dut: Any) -> None:
    """The reader adds no bubbles to what the port gives."""
    bench = Bench(dut, no_stalls)
    await bench.begin()
    run_freely(bench.slaves)
    bench.ask(bench.read_requests, [(0, MEMORY // LINE)])
    beats = cycles = 0
    while beats < MEMORY // 16:
        await RisingEdge(dut.clock)
        beats += int(dut.memory_rvalid.value) & int(dut.memory_rready.value)
        cycles += 1
    await within(100, bench.read.take(MEMORY // WORD))
    assert cycles < 1.1 * MEMORY // 16 + 50


@cocotb.test()
async def errors_are_told(dut: Any) -> None:
    """An error of any port is told for at least a cycle, and traffic goes on."""
    bench = Bench(dut, any_stalls)
    await bench.begin()
    bench.external.broken = range(8192, 8192 + 64)
    seen = dict.fromkeys(["read_failed", "write_failed", "weights_failed"], 0)

    async def watch() -> None:
        while True:
            await RisingEdge(dut.clock)
            for name in seen:
                seen[name] += int(getattr(dut, name).value)

    cocotb.start_soon(watch())
    bench.ask(bench.read_requests, [(4096, 4), (8192, 4)])
    await within(PATIENCE, bench.read.take(4))
    assert {name for name in seen if seen[name]} == {"read_failed"}
    for piece in ((4096, 4), (8192 + 64 - LINE, 3)):
        bench.put(piece)
        await bench.written()
    assert {name for name in seen if seen[name]} == {"read_failed", "write_failed"}
    bench.weights_requests.send([8000 << 32 | 4096])
    await within(PATIENCE, bench.weights.take(256))
    assert seen["weights_failed"]
    bench.external.broken = None
    before = dict(seen)
    await bench.write_all([(8192, 9)])
    await bench.read_all([(8192, 9)])
    assert seen == before


@cocotb.test()
async def a_flush_ends_everything(dut: Any) -> None:
    """Requests without data and data that nobody takes are gone; nothing is written for them."""
    bench = Bench(dut, any_stalls, takes=False)
    await bench.begin()
    stall(bench.slaves)
    for _ in range(12):
        before = bench.external.data.copy()
        streams = bench.read_requests, bench.write_requests, bench.weights_requests
        bench.ask(bench.read_requests, [piece_in(0, MEMORY) for _ in range(3)])
        bench.ask(bench.read_requests, [piece_in(SCRATCH, BUILD.scratch_bytes) for _ in range(3)])
        target = 4096 * random.randint(0, 4), 128
        bench.ask(bench.write_requests, [target, (SCRATCH, 4)])
        given = random_bytes(random.randint(1, 20) * WORD)
        bench.write.send(words(given))
        bench.weights_requests.send([0 << 32 | 8192, 64 << 32 | 16])
        dut.read_ready.value = random.getrandbits(1)
        dut.weights_ready.value = random.getrandbits(1)
        for _ in range(random.randint(5, 120)):
            await RisingEdge(dut.clock)
        for source in (*streams, bench.write):
            source.clear()
        dut.flush.value = 1
        await within(PATIENCE, until_all_idle(dut))
        dut.flush.value = 0
        # Of the piece that was being written, a beginning is new; all else is as before.
        address, lines = target
        now = bench.external.data[address : address + lines * LINE]
        wanted = before[address : address + lines * LINE]
        wrong = np.flatnonzero((now != wanted) & (now != np.resize(given, len(now))))
        assert len(wrong) == 0
        outside = np.ones(MEMORY, bool)
        outside[address : address + lines * LINE] = False
        assert (bench.external.data == before)[outside].all()
        await bench.write_all([(8192, 9)])
    bench.take()
    await bench.write_all([(SCRATCH, 64), (0, 77)])
    await bench.read_all([(SCRATCH, 64), (0, 77), (4096, 5)])


async def until_all_idle(dut: Any) -> None:
    await RisingEdge(dut.clock)
    await RisingEdge(dut.clock)
    while not (dut.read_idle.value and dut.write_idle.value and dut.weights_idle.value):
        await RisingEdge(dut.clock)


@cocotb.test()
async def corners(dut: Any) -> None:
    """Those of the tests above were met."""
    COVERAGE.require(dut._log.info)
