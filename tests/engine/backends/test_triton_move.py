"""The order of copies and launches on two streams, in every order that the events allow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from gearshift.backends.triton_move import Mover
from gearshift.backends.triton_plan import Move

Operation = Callable[[], None]


class FakeStream:
    """Operations in order, each behind some operations of other streams."""

    def __init__(self) -> None:
        self.operations: list[tuple[Operation, list[tuple[FakeStream, int]]]] = []
        self.waits: list[tuple[FakeStream, int]] = []

    def add(self, operation: Operation) -> None:
        self.operations.append((operation, self.waits))
        self.waits = []

    def wait_stream(self, other: FakeStream) -> None:
        self.waits = [*self.waits, (other, len(other.operations))]

    def wait_event(self, event: FakeEvent) -> None:
        assert event.stream is not None, "waited for before it was recorded"
        self.waits = [*self.waits, (event.stream, event.position)]


class FakeEvent:
    stream: FakeStream | None = None
    position = 0

    def record(self) -> None:
        self.stream = torch.cuda.current_stream()
        self.position = len(self.stream.operations)


class FakeCuda:
    """What the mover asks of `torch.cuda`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams = [FakeStream()]
        self.current = self.streams[0]
        monkeypatch.setattr(torch.cuda, "Stream", self.new_stream)
        monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self.current)
        monkeypatch.setattr(torch.cuda, "stream", self.on)

    def new_stream(self) -> FakeStream:
        self.streams.append(FakeStream())
        return self.streams[-1]

    @contextmanager
    def on(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def run(self, choose: random.Random) -> None:
        """Execute everything, taking any operation next that need not wait."""
        done = {id(stream): 0 for stream in self.streams}
        while True:
            ready = [
                stream
                for stream in self.streams
                if done[id(stream)] < len(stream.operations)
                and all(
                    done[id(other)] >= position
                    for other, position in stream.operations[done[id(stream)]][1]
                )
            ]
            if not ready:
                break
            stream = choose.choice(ready)
            stream.operations[done[id(stream)]][0]()
            done[id(stream)] += 1
        assert all(done[id(stream)] == len(stream.operations) for stream in self.streams)


class FakeSlots:
    """Slots whose copies are operations of the current stream."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}

    def __getitem__(self, slot: int) -> SimpleNamespace:
        def copy_(row: int, non_blocking: bool) -> None:
            assert non_blocking
            torch.cuda.current_stream().add(lambda: self.rows.__setitem__(slot, row))

        return SimpleNamespace(copy_=copy_)


@pytest.mark.parametrize("number", [1, 2, 3, 9])
@pytest.mark.parametrize("seed", range(20))
def test_every_launch_finds_its_expert(
    monkeypatch: pytest.MonkeyPatch, number: int, seed: int
) -> None:
    cuda, slots = FakeCuda(monkeypatch), FakeSlots()
    moves = [Move(10 + expert, expert % 2, ()) for expert in range(number)]
    pool = SimpleNamespace(host={move.row: move.row for move in moves}, slots=slots)
    mover = Mover(pool, moves, torch.device("cuda"))
    found: list[int | None] = []
    for _ in range(2):
        mover.start()
        for move in moves:
            mover.wait()
            for _ in range(2):
                cuda.current.add(lambda slot=move.slot: found.append(slots.rows.get(slot)))
            mover.release()
    cuda.run(random.Random(seed))
    assert found == [move.row for move in moves for _ in range(2)] * 2


def test_the_next_expert_may_arrive_while_one_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy of expert 1 waits for nothing that expert 0 computes."""
    cuda, slots = FakeCuda(monkeypatch), FakeSlots()
    moves = [Move(expert, expert % 2, ()) for expert in range(3)]
    pool = SimpleNamespace(host=[0, 1, 2], slots=slots)
    mover = Mover(pool, moves, torch.device("cuda"))
    mover.start()
    mover.wait()
    cuda.current.add(lambda: None)
    mover.release()
    first, second, third = (waits for _, waits in cuda.streams[1].operations)
    assert all(position == 0 for _, position in [*first, *second])
    assert [position for stream, position in third if stream is cuda.streams[0]] == [1]
