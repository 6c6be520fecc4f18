"""The harness with a clock of our own: no test here depends on real time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace

import pytest

from gearshift_bench import timing
from gearshift_bench.timing import MOST_SETS, count_sets, take_turns, turns


class Clock:
    """Contenders that write down when they ran, and take what they are told."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def contender(self, name: str, seconds: list[float]) -> Callable[[], float]:
        script = iter(seconds)

        def sample() -> float:
            self.order.append(name)
            return next(script)

        return sample


def test_the_median_of_the_rounds_counts_and_the_first_round_does_not() -> None:
    clock = Clock()
    seconds = {"a": [99.0, 3.0, 1.0, 2.0], "b": [99.0, 5.0, 5.0, 80.0]}
    medians = take_turns({name: clock.contender(name, s) for name, s in seconds.items()}, rounds=3)
    assert medians == {"a": 2.0, "b": 5.0}


def test_contenders_take_turns_and_each_round_begins_with_another() -> None:
    clock = Clock()
    contenders = {name: clock.contender(name, [1.0] * 4) for name in "abc"}
    take_turns(contenders, rounds=3)
    assert "".join(clock.order) == "abc" + "bca" + "cab" + "abc"


def test_turns_keep_the_samples_of_a_round_together() -> None:
    clock = Clock()
    seconds = {"a": [99.0, 3.0, 1.0, 2.0], "b": [99.0, 5.0, 6.0, 7.0]}
    contenders = {name: clock.contender(name, s) for name, s in seconds.items()}
    rounds: list[int] = []
    samples = turns(contenders, rounds=3, after_round=lambda: rounds.append(len(clock.order)))
    assert samples == {"a": [3.0, 1.0, 2.0], "b": [5.0, 6.0, 7.0]}
    assert rounds == [2, 4, 6, 8]


def test_nothing_to_time_is_no_error() -> None:
    assert take_turns({}, rounds=3) == {}


@pytest.mark.parametrize(
    ("nbytes", "l2_bytes", "sets"),
    [
        (10, 100, 21),  # twenty others fill the cache twice before a set comes again
        (1000, 100, 2),  # larger than the cache on its own
        (0, 0, 2),
        (1, 10**9, MOST_SETS),
    ],
)
def test_input_sets_push_one_another_out_of_the_cache(
    nbytes: int, l2_bytes: int, sets: int
) -> None:
    assert count_sets(nbytes, l2_bytes) == sets


class Card:
    """A stand-in for all that `torch.cuda` makes: it tells captured runs from others, counts
    replays and has a clock of our own."""

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds
        self.replays = 0
        self.is_capturing = False

    def as_module(self) -> SimpleNamespace:
        return SimpleNamespace(
            Stream=lambda: self,
            current_stream=lambda: self,
            stream=lambda stream: nullcontext(),
            CUDAGraph=lambda: self,
            graph=self.capture,
            Event=lambda enable_timing: self,
        )

    @contextmanager
    def capture(self, graph: Card, stream: Card) -> Iterator[None]:
        self.is_capturing = True
        yield
        self.is_capturing = False

    def replay(self) -> None:
        self.replays += 1

    def elapsed_time(self, end: Card) -> float:
        return self.milliseconds

    def wait_stream(self, other: Card) -> None: ...

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def test_a_sample_replays_one_graph_of_all_input_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(milliseconds=42.0)
    monkeypatch.setattr(timing.torch, "cuda", card.as_module())
    warm: list[int] = []
    captured: list[int] = []

    def run(number: int) -> None:
        (captured if card.is_capturing else warm).append(number)

    sample = timing.sample_on_card([partial(run, number) for number in range(3)])
    assert warm == [0, 1, 2]
    assert captured == [0, 1, 2] * 7
    assert len(captured) >= timing.LEAST_RUNS
    assert card.replays == 0
    assert sample() == pytest.approx(42e-3 / 21)
    assert card.replays == 1
