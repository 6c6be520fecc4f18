"""What is learnt from batches, and what is expected of the next ones."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift.scheduler import Key, ServiceTimes
from gearshift.scheduler.service_times import MOST_KEYS

KEY = Key("m", "1", "depth", 24, 40)


def learnt(seconds: dict[int, float], key: Key = KEY) -> ServiceTimes:
    times = ServiceTimes()
    for images, one in seconds.items():
        times.measured(key, images, one)
    return times


def test_nothing_is_expected_of_what_never_ran() -> None:
    times = ServiceTimes()
    assert times.seconds(KEY, 3) == 0.0
    assert times.switch(KEY) == 0.0
    assert times.useful_batch(KEY, 7, 0.1) == 7


def test_between_measured_sizes_is_a_line_and_beyond_them_a_proportion() -> None:
    times = learnt({2: 3.0, 6: 5.0})
    expected = {1: 1.5, 2: 3.0, 3: 3.5, 5: 4.5, 6: 5.0, 12: 10.0}
    assert {n: times.seconds(KEY, n) for n in expected} == pytest.approx(expected)


def test_another_image_size_is_expected_in_proportion_to_its_pixels() -> None:
    times = learnt({1: 2.0, 4: 6.0})
    assert times.seconds(KEY._replace(height=48), 4) == pytest.approx(12.0)
    assert times.seconds(KEY._replace(task="edges"), 4) == 0.0
    assert times.seconds(KEY._replace(version="2"), 4) == 0.0


def test_means_follow_a_change_and_shrug_at_a_hiccup() -> None:
    times = learnt({1: 1.0})
    times.observe(KEY, 1, 1000.0)
    assert times.seconds(KEY, 1) < 2.0
    for _ in range(40):
        times.observe(KEY, 1, 3.0)
    assert times.seconds(KEY, 1) == pytest.approx(3.0, rel=0.01)


def test_the_first_run_of_a_size_is_weighed_with_what_was_expected() -> None:
    times = learnt({1: 1.0, 4: 3.0})
    # It took 9 seconds, because its program was made as well.
    times.observe(KEY, 3, 9.0)
    assert 2.0 < times.seconds(KEY, 3) < 4.0
    fresh = ServiceTimes()
    fresh.observe(KEY, 3, 9.0)
    assert fresh.seconds(KEY, 3) == 9.0


def test_a_measurement_replaces_what_was_known() -> None:
    times = learnt({1: 1.0})
    times.measured(KEY, 1, 7.0)
    assert times.seconds(KEY, 1) == 7.0


def test_a_switch_is_measured_by_itself_and_teaches_nothing_of_batches() -> None:
    times = learnt({1: 1.0})
    times.measured_switch("m", 0.5)
    for _ in range(200):
        times.observe(KEY, 1, 1.5, switched=True)
    assert times.seconds(KEY, 1) == pytest.approx(1.0)
    assert times.switch(KEY) == times.switch(KEY._replace(task="edges")) == 0.5
    assert times.switch(KEY._replace(model="n")) == 0.0
    # Less than nothing is noise.
    times.measured_switch("m", -0.1)
    assert times.switch(KEY) == 0.0


def test_what_slows_one_batch_slows_all_of_the_model() -> None:
    random = np.random.default_rng(3)
    times = learnt({1: 1.0, 2: 2.0, 8: 8.0})
    other = KEY._replace(task="edges")
    times.measured(other, 1, 3.0)
    apart = KEY._replace(model="n")
    times.measured(apart, 1, 5.0)
    for _ in range(100):
        times.observe(KEY, 1, 2.0 + random.normal(0, 0.1))
    assert times.seconds(KEY, 1) == pytest.approx(2.0, rel=0.1)
    assert times.seconds(KEY, 8) == pytest.approx(16.0, rel=0.2)
    assert times.seconds(other, 1) == pytest.approx(6.0, rel=0.2)
    assert times.seconds(apart, 1) == 5.0
    # That says nothing of what they take without it, nor that larger ones were cheap.
    assert times.unloaded(KEY, 1) == pytest.approx(1.0, rel=0.25)
    assert times.unloaded(KEY, 8) == 8.0
    assert times.useful_batch(KEY, 8, 0.25) == 1


@pytest.mark.parametrize(
    ("seconds", "useful"),
    [
        # Each image costs the same: no batch is better than one alone.
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),
        # A gain of less than a tenth.
        ({1: 1.0, 2: 1.95, 4: 3.75, 8: 8.0}, 1),
        # Batches cost little more than one image.
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 1.7}, 8),
        # The gain ends at four.
        ({1: 1.0, 2: 1.2, 4: 2.0, 8: 4.0}, 4),
        # Only one size is known.
        ({1: 1.0}, 8),
        # Larger ones are not asked about.
        ({1: 1.0, 2: 1.4, 16: 1.5}, 2),
    ],
)
def test_the_useful_batch(seconds: dict[int, float], useful: int) -> None:
    assert learnt(seconds).useful_batch(KEY, 8, 0.1) == useful
    assert learnt(seconds).useful_batch(KEY, 8, 0.0) == 8


def test_what_is_remembered_is_bounded() -> None:
    times = learnt({1: 1.0})
    for number in range(MOST_KEYS - 1):
        times.observe(KEY._replace(task=f"task {number}"), 1, 2.0)
    times.observe(KEY, 1, 1.0)
    times.observe(KEY._replace(task="one more"), 1, 2.0)
    assert times.seconds(KEY, 1) == 1.0
    assert times.seconds(KEY._replace(task="task 0"), 1) == 0.0
