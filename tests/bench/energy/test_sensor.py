"""Power sensors: integration, its error, and the sampling thread."""

from __future__ import annotations

import threading
from math import sqrt
from time import perf_counter

import numpy as np
import pytest

from gearshift_bench.energy.meter import MeterError
from gearshift_bench.energy.sensor import (
    BATCHES,
    Sensor,
    sampling_error,
    trapezoid,
)
from gearshift_hls.driver.power import Rail


def test_power_on_straight_lines_is_integrated_exactly() -> None:
    """3 + 2 t over irregular moments: its integral is 3 t + t^2."""
    times = np.sort(np.random.default_rng(0).uniform(0, 7, 31))
    times[[0, -1]] = 0.0, 7.0
    watts = 3 + 2 * times
    assert trapezoid(times.tolist(), watts.tolist()) == pytest.approx(3 * 7 + 7**2)
    assert trapezoid([1.0], [5.0]) == 0.0


def test_a_sine_converges_to_its_integral() -> None:
    """50 + 20 sin(t) over whole periods: 50 W on average, the error falls with the square."""
    end = 6 * np.pi
    errors = []
    for samples in (11, 101):
        times = np.linspace(0, end, samples) ** 1.1 / end**0.1
        errors.append(abs(trapezoid(times, 50 + 20 * np.sin(times)) - 50 * end))
    assert errors[1] < errors[0] / 30


def test_the_sampling_error_is_two_standard_errors_of_independent_noise() -> None:
    """Of 4,000 samples with a deviation of 3 W: 2 x 3 / sqrt(4000), as the average of many."""
    random = np.random.default_rng(1)
    found = [sampling_error(random.normal(40.0, 3.0, 4000).tolist()) for _ in range(50)]
    assert np.mean(found) == pytest.approx(2 * 3 / sqrt(4000), rel=0.1)


def test_samples_that_repeat_themselves_are_not_taken_for_more() -> None:
    """Each value ten times in a row tells no more than once; a plain formula would say sqrt(10)
    less."""
    random = np.random.default_rng(2)
    values = [random.normal(40.0, 3.0, 400) for _ in range(50)]
    once = np.mean([sampling_error(each.tolist()) for each in values])
    often = np.mean([sampling_error(np.repeat(each, 10).tolist()) for each in values])
    assert often == pytest.approx(once, rel=0.01)


def test_few_samples_may_be_off_by_their_range() -> None:
    assert sampling_error([3.0, 5.0, 4.5]) == 2.0
    assert sampling_error([7.0] * 3 * BATCHES) == 0.0


def test_the_sensor_s_step_is_part_of_the_error() -> None:
    """Half a step of 0.5 W for the whole window; constant power has no sampling error."""
    now = 0.0
    sensor = Sensor(Rail("12V", lambda: 8.0, "INA226", 0.5), lambda: now, 1e6)
    sensor.start()
    for moment in (1.0, 3.0, 4.0):
        now = moment
        sensor.tick()
    reading = sensor.read()
    sensor.close()
    assert (reading.seconds, reading.joules, reading.error) == (4.0, 32.0, 1.0)
    assert sensor.kind == "INA226 power sensor, a sample each 1e+09 ms, steps of 500 mW"


def test_power_is_sampled_while_the_work_goes_on() -> None:
    values, looked = iter(range(1, 1_000_000)), threading.Event()

    def look() -> float:
        value = next(values)
        if value == 5:
            looked.set()
        return float(value)

    sensor = Sensor(Rail("12V", look, "INA226"), perf_counter, 1e-4)
    sensor.start()
    assert looked.wait(60)
    reading = sensor.read()
    sensor.close()
    assert reading.seconds > 0
    assert 1 < reading.watts < next(values)
    assert not sensor.stands_still()
    assert not [thread for thread in threading.enumerate() if "12V" in thread.name]


def test_a_sensor_that_goes_away_says_so_and_may_come_back() -> None:
    gone = False

    def look() -> float:
        if gone:
            raise OSError("no such device")
        return 4.0 + perf_counter() % 1

    sensor = Sensor(Rail("12V", look, "INA226"), perf_counter, 1e6)
    sensor.start()
    gone = True
    with pytest.raises(MeterError, match="12V cannot be read any more: no such device"):
        sensor.read()
    sensor.close()
    gone = False
    sensor.start()
    assert sensor.read().watts > 0
    sensor.close()
