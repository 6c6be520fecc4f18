"""Joules a request: idle, then requests until the meters' steps no longer matter, then idle again.

Power and requests come from the same window. The error of a figure is a bound, in joules: what the
meter's steps and samples cannot tell, of the requests and of the idle time, and half of the
difference between the idle power before and after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gearshift_bench.energy import nvml, rapl
from gearshift_bench.energy.meter import Clock, Meter, MeterError, Reading, Sleep
from gearshift_bench.energy.sensor import Sensor, find_sensors

ALLOWED = 0.05
"""Share of a request's energy by which a meter may be off before the window is made longer."""
MOST_SECONDS = 300.0
"""A window is not made longer than that."""
GROWTH = 4.0
"""A window grows at most so many times at once."""
TICK = 1.0
"""Seconds between two looks at the counters, which wrap around after minutes."""


def measure_energy(
    request: Callable[[], object],
    *,
    seconds: float,
    root: Path = Path("/sys"),
    clock: Clock = time.perf_counter,
    sleep: Sleep = time.sleep,
) -> dict[str, Any]:
    """The `energy` entry of a run: what every meter of this machine says of a request.

    `request` is called again and again for at least `seconds`, and longer where a meter needs
    that: until its steps are 5 % of what it counted, 30 s on NVIDIA's; for half of that time
    before and after, the machine is left idle. Without a meter nothing is called.

    Returns:
        `{"meters": [...]}`, each with `name`, `kind`, `joules_per_request` (idle power included),
        `joules_idle_subtracted`, `idle_watts`, `error` (a share of `joules_per_request`; as joules
        it holds for both) and `requests`; `not_measured` is why others are missing. Without any
        meter it is all there is: nothing is estimated.

    Raises:
        Exception: whatever `request` raises.
    """
    meters, reasons = find_meters(root, clock, sleep)
    if not meters:
        return {"not_measured": "; ".join(reasons)}
    window = max(seconds, *(meter.least_seconds for meter in meters))

    def rest() -> int:
        end = clock() + window / 2
        while (left := end - clock()) > 0:
            sleep(min(left, TICK))
            for meter in meters:
                meter.tick()
        return 0

    before, _ = _watch(meters, rest)
    loaded, requests = _watch(meters, lambda: _repeat(request, meters, window, clock))
    after, _ = _watch(meters, rest)
    found = []
    for meter, *readings in zip(meters, before, loaded, after, strict=True):
        try:
            found.append(_figures(meter, readings, requests))
        except MeterError as error:
            reasons.append(str(error))
    missing = {"not_measured": "; ".join(reasons)} if reasons else {}
    return ({"meters": found} if found else {}) | missing


def _figures(
    meter: Meter, readings: Sequence[Reading | MeterError], requests: int
) -> dict[str, Any]:
    """What one meter says; raises MeterError when one of its readings is none."""
    for reading in readings:
        if isinstance(reading, MeterError):
            raise reading
    if isinstance(meter, Sensor) and meter.stands_still():
        raise MeterError(f"{meter.name} told the same power all the time, idle or not")
    before, loaded, after = (reading for reading in readings if isinstance(reading, Reading))
    return {"name": meter.name, "kind": meter.kind} | account(before, loaded, after, requests)


def find_meters(root: Path, clock: Clock, sleep: Sleep) -> tuple[list[Meter], list[str]]:
    """All meters, and why others are not there."""
    packages, no_packages = rapl.find_counters(root, clock, sleep)
    cards, no_cards = nvml.find_counters(root, clock, sleep)
    sensors, no_sensors = find_sensors(root, clock)
    return [*packages, *cards, *sensors], [*no_packages, *no_cards, *no_sensors]


def account(before: Reading, loaded: Reading, after: Reading, requests: int) -> dict[str, Any]:
    """Figures a request from the three windows of one meter."""
    rested = before.seconds + after.seconds
    idle = (before.joules + after.joules) / rested
    idle_error = (before.error + after.error) / rested + abs(before.watts - after.watts) / 2
    return {
        "joules_per_request": loaded.joules / requests,
        "joules_idle_subtracted": (loaded.joules - idle * loaded.seconds) / requests,
        "idle_watts": idle,
        "error": (loaded.error + idle_error * loaded.seconds) / loaded.joules,
        "requests": requests,
    }


def _watch(
    meters: Sequence[Meter], work: Callable[[], int]
) -> tuple[list[Reading | MeterError], int]:
    """Readings of the time that `work` took (or why not), and what it returned."""
    with ExitStack() as stack:
        for meter in meters:
            meter.start()
            stack.callback(meter.close)
        result = work()
        return [_read(meter) for meter in meters], result


def _repeat(
    request: Callable[[], object], meters: Sequence[Meter], window: float, clock: Clock
) -> int:
    """Call `request` until the window is long enough for all meters; returns how often."""
    requests, began = 0, clock()
    looked, goal = began, window
    while True:
        request()
        requests += 1
        now = clock()
        if now - looked >= TICK:
            looked = now
            for meter in meters:
                meter.tick()
        if now - began < goal:
            continue
        readings = [reading for meter in meters if isinstance(reading := _read(meter), Reading)]
        worst = max((reading.error / reading.joules for reading in readings), default=0.0)
        if worst <= ALLOWED or now - began >= MOST_SECONDS:
            return requests
        goal = min((now - began) * min(worst / ALLOWED, GROWTH), MOST_SECONDS)


def _read(meter: Meter) -> Reading | MeterError:
    try:
        return meter.read()
    except MeterError as error:
        return error
