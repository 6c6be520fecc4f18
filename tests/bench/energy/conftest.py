"""A machine whose time, power and meters are known exactly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from types import SimpleNamespace
from typing import Any

import pytest

from gearshift_hls.driver import power


class Machine:
    """Draws `idle` watts, or `busy` while it works; files show the energy that this took.

    Nothing passes but what `sleep` and `work` let pass.
    """

    def __init__(self, root: Path, idle: float = 10.0, busy: float = 30.0) -> None:
        self.root = root
        self.idle = idle
        self.busy = busy
        self.now = 100.0
        self.joules = 0.0
        self.watts = idle
        self.update: list[Callable[[Machine], None]] = []
        """Called whenever time has passed: what the meters show."""
        self.lock = RLock()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self._pass(seconds, self.idle)

    def work(self, seconds: float) -> None:
        self._pass(seconds, self.busy)

    def _pass(self, seconds: float, watts: float) -> None:
        with self.lock:
            self.watts = watts
            self.now += seconds
            self.joules += watts * seconds
            for update in self.update:
                update(self)

    def write(self, name: str, text: object) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # Replaced as a whole: a sampling thread never sees an empty file.
        partial = file.with_name(f".{file.name}")
        partial.write_text(f"{text}\n")
        partial.replace(file)
        return file

    def rapl(
        self, domain: str, name: str, share: float = 1.0, first: int = 0, largest: int = 2**40
    ) -> None:
        """A domain that takes a share of the power and starts at a count of microjoules."""
        place = f"class/powercap/{domain}"
        self.write(f"{place}/name", name)
        self.write(f"{place}/max_energy_range_uj", largest)

        def show(machine: Machine) -> None:
            count = first + round(1e6 * share * machine.joules)
            machine.write(f"{place}/energy_uj", count % (largest + 1))

        self._show(show)

    def ina226(self, scale: float = 1.0) -> None:
        """The whole board's power, in steps of 12.5 mW."""
        self.write("class/hwmon/hwmon2/name", "ina226_u183")
        self.write("class/hwmon/hwmon2/shunt_resistor", 5000)

        def show(machine: Machine) -> None:
            steps = round(scale * machine.watts / 0.0125)
            machine.write("class/hwmon/hwmon2/power1_input", 12_500 * steps)

        self._show(show)

    def ina3221(self) -> None:
        """A Jetson's input at 20 V, and a rail that always draws the same."""
        place = "class/hwmon/hwmon0"
        self.write(f"{place}/name", "ina3221")
        for channel, label in ((1, "VDD_IN"), (2, "VDD_RTC")):
            self.write(f"{place}/in{channel}_label", label)
            self.write(f"{place}/in{channel}_input", 20_000)
        self.write(f"{place}/curr2_input", 5)
        self._show(
            lambda machine: (
                machine.write(f"{place}/curr1_input", round(50 * machine.watts)) and None
            )
        )

    def _show(self, show: Callable[[Machine], None]) -> None:
        self.update.append(show)
        show(self)


@pytest.fixture
def make_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Without NVIDIA's library and without PYNQ."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(power, "find_spec", lambda _: None)

    def make(**settings: float) -> Machine:
        return Machine(tmp_path / "sys", **settings)

    return make


class NvmlError(Exception):
    """As the library's own."""


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SimpleNamespace]:
    """A library of two cards: the first counts millijoules, the second is too old for that."""

    def make(machine: Machine, period: float = 0.1, **changes: Any) -> SimpleNamespace:
        shown = {"count": 7_000_000_000, "at": machine.now}

        def show(machine: Machine) -> None:
            if machine.now - shown["at"] >= period:
                shown.update(count=7_000_000_000 + round(1e3 * machine.joules), at=machine.now)

        def total_energy(device: int) -> int:
            if device == 1:
                raise NvmlError("Not Supported")
            return int(shown["count"])

        machine.update.append(show)
        library = SimpleNamespace(
            NVMLError=NvmlError,
            nvmlInit=lambda: None,
            nvmlDeviceGetCount=lambda: 2,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetName=lambda device: [b"A100", "P4"][device],
            nvmlDeviceGetTotalEnergyConsumption=total_energy,
        )
        vars(library).update(changes)
        monkeypatch.setitem(sys.modules, "pynvml", library)
        return library

    return make
