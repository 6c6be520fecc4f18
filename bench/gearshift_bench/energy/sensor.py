"""Meters that tell power: sampled while the work goes on, and integrated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from threading import Event, Lock, Thread

from gearshift_bench.energy.meter import Clock, MeterError, Reading
from gearshift_hls.driver.power import Rail, find_rails

INTERVAL = 0.01
"""Seconds between two samples: a sensor on I2C takes about one millisecond to read."""
LEAST_SECONDS = 1.0
BATCHES = 20
"""Of samples, whose means tell how much the mean of all of them may be off."""


class Sensor:
    """A rail whose power is sampled from a thread of its own, at irregular moments.

    A sensor averages over its own conversion time, and samples may not be independent: their mean
    still is the mean power.
    """

    def __init__(self, rail: Rail, clock: Clock, interval: float) -> None:
        self.name = rail.name
        step = "that it does not say" if rail.step is None else f"of {1e3 * rail.step:.3g} mW"
        self.kind = f"{rail.sensor} power sensor, a sample each {1e3 * interval:g} ms, steps {step}"
        self.least_seconds = LEAST_SECONDS
        self._rail = rail
        self._clock = clock
        self._interval = interval
        self._lock = Lock()
        self._times: list[float] = []
        self._watts: list[float] = []
        self._done = Event()
        self._thread: Thread | None = None
        self._error: Exception | None = None
        self._seen: set[float] = set()
        """At most two different values of all windows: one alone is a sensor that stands still."""

    def start(self) -> None:
        self._times, self._watts, self._error = [], [], None
        self._done.clear()
        self._take()
        self._thread = Thread(target=self._sample, name=f"sample {self.name}", daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """One more sample."""
        self._take()

    def read(self) -> Reading:
        self._take()
        if self._error is not None:
            raise MeterError(f"{self.name} cannot be read any more: {self._error}")
        with self._lock:
            times, watts = list(self._times), list(self._watts)
        seconds = times[-1] - times[0]
        joules = trapezoid(times, watts)
        if joules <= 0:
            raise MeterError(f"{self.name} tells {joules / seconds:.3g} W: it measures nothing")
        rounding = (self._rail.step or 0.0) / 2
        return Reading(seconds, joules, seconds * (sampling_error(watts) + rounding))

    def close(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def stands_still(self) -> bool:
        """Whether it said the same all the time, idle or not."""
        return len(self._seen) < 2

    def _sample(self) -> None:
        while not self._done.wait(self._interval) and self._error is None:
            self._take()

    def _take(self) -> None:
        with self._lock:
            try:
                watts = self._rail.watts()
            except (OSError, ValueError) as error:
                self._error = error
                return
            self._times.append(self._clock())
            self._watts.append(watts)
            if len(self._seen) < 2:
                self._seen.add(watts)


def find_sensors(root: Path, clock: Clock) -> tuple[list[Sensor], list[str]]:
    """All rails that this machine knows, and why there are none."""
    folder = root / "class" / "hwmon"
    sensors: list[Sensor] = []
    reasons: list[str] = []
    try:
        rails = find_rails(folder)
    except (OSError, ValueError) as error:
        return [], [f"power sensors cannot be read: {folder}: {error}"]
    for rail in rails:
        try:
            rail.watts()
            sensors.append(Sensor(rail, clock, INTERVAL))
        except (OSError, ValueError) as error:
            reasons.append(f"power sensor {rail.name} cannot be read: {error}")
    if not sensors and not reasons:
        reasons.append(f"no power sensor in hwmon ({_others(folder)})")
    return sensors, reasons


def _others(folder: Path) -> str:
    """What else is there, for the reader who expected a sensor."""
    names = sorted({file.read_text().strip() for file in folder.glob("hwmon*/name")})
    found = f"{folder} has {', '.join(names)}" if names else f"{folder} is empty"
    return f"{found}, and INA226 and INA3221 are known"


def trapezoid(times: Sequence[float], watts: Sequence[float]) -> float:
    """Joules: power on straight lines between the samples."""
    moments = zip(times, watts, strict=True)
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(moments))


def sampling_error(watts: Sequence[float]) -> float:
    """Watts by which the mean of the samples may be off: twice its standard error (95 %).

    The standard error is that of the means of `BATCHES` batches in a row, since neighbouring
    samples are alike (the method of batch means). Of too few samples it is their whole range.
    """
    if len(watts) < 2 * BATCHES:
        return max(watts) - min(watts)
    edges = [len(watts) * batch // BATCHES for batch in range(BATCHES + 1)]
    means = [fmean(watts[start:end]) for start, end in pairwise(edges)]
    return 2 * stdev(means) / sqrt(BATCHES)
