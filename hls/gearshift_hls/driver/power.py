"""The power rails of a board: those of the ZCU104, and of other boards with the same sensors.

Imports nothing but the standard library, and PYNQ where that is installed: it runs on the board.
`gearshift_bench.energy` integrates what it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

HWMON = Path("/sys/class/hwmon")
"""The kernel's sensors: `power1_input` is in microwatts, `in1_input` in millivolts, `curr1_input`
in milliamperes ("Naming and data format standards for sysfs files")."""
ONE_RAIL = "ina226"
"""The power monitor of the ZCU104's 12 V input; a sensor's name begins with its chip's."""
THREE_RAILS = "ina3221"
"""The power monitor of Jetson modules: the voltages and currents of three rails."""


@dataclass(frozen=True)
class Rail:
    """A supply with a power sensor."""

    name: str
    watts: Callable[[], float]
    """Now."""
    sensor: str
    """Who tells: a chip, or PYNQ."""
    step: float | None = None
    """Watts between two values that the sensor can tell apart; None: it does not say."""


def find_rails(hwmon: Path = HWMON) -> tuple[Rail, ...]:
    """What PYNQ knows of this board's rails, else the kernel's INA226 and INA3221 sensors; often
    there are none, and then nothing can be measured."""
    return _pynq_rails() or _hwmon_rails(hwmon)


def _pynq_rails() -> tuple[Rail, ...]:
    if find_spec("pynq") is None:
        return ()
    import pynq

    return tuple(
        Rail(name, partial(getattr, rail.power, "value"), "PYNQ")
        for name, rail in pynq.get_rails().items()
        if rail.power is not None
    )


def _hwmon_rails(hwmon: Path) -> tuple[Rail, ...]:
    rails: list[Rail] = []
    for file in sorted(hwmon.glob("hwmon*/name")):
        chip = file.read_text().strip()
        if chip.startswith(ONE_RAIL):
            rails += _ina226(file.parent, chip)
        elif chip.startswith(THREE_RAILS):
            rails += _ina3221(file.parent, chip)
    return tuple(rails)


def _ina226(folder: Path, chip: str) -> list[Rail]:
    """Its power register counts steps of 25 times the current's, which is 2.5 uV over the shunt
    (data sheet of the INA226, "Programming the calibration register"; the kernel's ina2xx)."""
    power = folder / "power1_input"
    if not power.is_file():
        return []
    current = _current_step(folder / "shunt_resistor", 2.5e-6)
    step = None if current is None else 25 * current
    return [Rail(chip, partial(_scaled, power, 1e-6), "INA226", step)]


def _ina3221(folder: Path, chip: str) -> list[Rail]:
    """Voltage times current, which comes in steps of 40 uV over the shunt (data sheet of the
    INA3221)."""
    rails = []
    for channel in (1, 2, 3):
        voltage, current = folder / f"in{channel}_input", folder / f"curr{channel}_input"
        if voltage.is_file() and current.is_file():
            label = folder / f"in{channel}_label"
            name = label.read_text().strip() if label.is_file() else f"{chip} channel {channel}"
            ampere = _current_step(folder / f"shunt{channel}_resistor", 40e-6)
            step = None if ampere is None else ampere * _scaled(voltage, 1e-3)
            rails.append(Rail(name, partial(_product, voltage, current), "INA3221", step))
    return rails


def _current_step(shunt: Path, volts: float) -> float | None:
    """Amperes, of a shunt that the kernel gives in microohms."""
    ohms = _scaled(shunt, 1e-6) if shunt.is_file() else 0.0
    return volts / ohms if ohms else None


def _product(voltage: Path, current: Path) -> float:
    return _scaled(voltage, 1e-3) * _scaled(current, 1e-3)


def _scaled(file: Path, unit: float) -> float:
    return unit * int(file.read_text())
