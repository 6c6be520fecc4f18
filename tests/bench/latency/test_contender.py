"""A session that is timed: warmed until it settles, and thrown out when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift.errors import BackendError
from gearshift.graph import read_artifact
from gearshift.models import find_model
from gearshift_bench.latency import warm_up as warming
from gearshift_bench.latency.configuration import Configuration, configurations
from gearshift_bench.latency.contender import BrokenError, Contender
from gearshift_bench.latency.images import request_image
from gearshift_bench.latency.loops import SystemClock
from gearshift_bench.latency.workload import Workload, single

Answer = Callable[[int, tuple[int, ...]], NDArray[np.float32]]
DEPTH, MIX = single("depth"), Workload("weights", "both", ("depth", "edge"))
TORCH = Configuration("torch", "float32", 1, 1)


def good(run: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


def open_contender(workload: Workload = DEPTH) -> Contender:
    folder = find_model("demo")
    image, _ = request_image(read_artifact(folder).card, TORCH.batch)
    return Contender(folder, TORCH, workload, image)


def test_a_good_backend_is_warmed_and_checked(fake_backend: Callable[[Answer], None]) -> None:
    fake_backend(good)
    contender = open_contender(MIX)
    assert contender.last == "edge"
    found = warming.warm_up(contender, SystemClock(), 0.2)
    assert found.runs >= warming.LEAST_RUNS
    assert found.entry() == {
        "runs": found.runs, "seconds": found.seconds, "settled": found.settled
    }  # fmt: skip
    assert contender.stats[-1].backend == "fake 1.0"
    assert set(contender.macs()) == {"depth", "edge"}


def test_a_backend_that_crashes_is_named(fake_backend: Callable[[Answer], None]) -> None:
    def crash(run: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        raise RuntimeError("no such luck\nand more")

    fake_backend(crash)
    with pytest.raises(
        BrokenError, match=r"torch float32.* failed in depth: RuntimeError: no such"
    ):
        open_contender()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_backend_that_returns_no_numbers_is_named(
    value: float, fake_backend: Callable[[Answer], None]
) -> None:
    fake_backend(lambda run, shape: np.full(shape, value, np.float32))
    with pytest.raises(BrokenError, match="returned NaN or infinity for depth"):
        open_contender()


def test_a_backend_that_changes_its_mind_is_named(fake_backend: Callable[[Answer], None]) -> None:
    def changing(run: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        found = np.ones(shape, np.float32)
        found.flat[-1] = run // 4
        return found

    fake_backend(changing)
    contender = open_contender()
    with pytest.raises(BrokenError, match="other bits for the same image of depth"):
        warming.warm_up(contender, SystemClock())


def test_minus_zero_is_another_bit(fake_backend: Callable[[Answer], None]) -> None:
    fake_backend(lambda run, shape: np.full(shape, 0.0 if run == 1 else -0.0, np.float32))
    contender = open_contender()
    contender.serve_next()
    with pytest.raises(BrokenError, match="other bits"):
        contender.check()


def test_a_backend_without_the_precision_is_no_broken_one() -> None:
    folder = find_model("demo")
    image, _ = request_image(read_artifact(folder).card, 1)
    with pytest.raises(BackendError, match="float32 only") as caught:
        Contender(folder, Configuration("onnxruntime", "int8", 1, None), DEPTH, image)
    assert not isinstance(caught.value, BrokenError)


class Scripted:
    """A contender and its clock: requests take scripted seconds."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = iter(seconds)
        self.time = 0.0
        self.checks = 0

    def now(self) -> float:
        return self.time

    def serve_next(self) -> None:
        self.time += next(self.seconds)

    def check(self) -> None:
        self.checks += 1


def test_warming_up_ends_when_the_median_has_settled() -> None:
    """Three windows of five requests fall, the next three are level but for outliers."""
    falling = [0.9] * 5 + [0.5] * 5 + [0.2] * 5
    level = [0.1, 0.1, 0.1, 0.1, 3.0] * 3
    one = Scripted(falling + level)
    found = warming.warm_up(one, one, 1000.0)  # type: ignore[arg-type]
    assert found.settled
    assert found.runs == one.checks == 30
    assert found.seconds == pytest.approx(sum(falling + level))


def test_warming_up_ends_when_its_time_is_up() -> None:
    one = Scripted([2.0**-index for index in range(500)])
    found = warming.warm_up(one, one, 1.9)  # type: ignore[arg-type]
    assert not found.settled
    assert found.runs == 5
    slow = Scripted([100.0] * 9)
    assert warming.warm_up(slow, slow).runs == warming.LEAST_RUNS  # type: ignore[arg-type]


def test_every_combination_is_there_once() -> None:
    found = configurations(
        ["torch", "rtl-sim"], [], [1, 2, 1], [None, 2], ["softmax", "gelu", "gelu"], 5
    )
    assert len(found) == 8
    assert {(one.backend, one.precision) for one in found} == {
        ("torch", "float32"),
        ("rtl-sim", "int8"),
    }
    assert all(one.approximate == ("gelu", "softmax") for one in found)
    assert all(one.options()["memory"] == 5 for one in found)


@pytest.mark.parametrize("batch", [1, 3])
def test_requests_carry_pictures_of_the_card_s_size(batch: int, tmp_path: Path) -> None:
    card = read_artifact(find_model("demo")).card
    image, words = request_image(card, batch)
    assert image.shape == (batch, 3, card.image_height, card.image_width)
    assert image.dtype == np.float32
    assert words == "rooms"
    assert batch == 1 or not np.array_equal(image[0], image[1])
