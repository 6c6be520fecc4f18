"""Power rails as the kernel and PYNQ show them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gearshift_hls.driver import power
from gearshift_hls.driver.power import find_rails


@pytest.fixture(autouse=True)
def _no_pynq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "find_spec", lambda _: None)


def sensor(folder: Path, number: int, name: str, microwatts: int | None) -> Path:
    place = folder / f"hwmon{number}"
    place.mkdir()
    (place / "name").write_text(f"{name}\n")
    if microwatts is not None:
        (place / "power1_input").write_text(f"{microwatts}\n")
    return place


def test_rails_of_the_kernel(tmp_path: Path) -> None:
    sensor(tmp_path, 0, "irps5401", 1_000_000)
    sensor(tmp_path, 1, "ina226_u183", 14_250_000)
    sensor(tmp_path, 2, "ina226_u184", None)
    (rail,) = find_rails(tmp_path)
    assert (rail.name, rail.sensor, rail.step) == ("ina226_u183", "INA226", None)
    assert rail.watts() == pytest.approx(14.25)
    (tmp_path / "hwmon1" / "power1_input").write_text("20000000\n")
    assert rail.watts() == pytest.approx(20.0)
    # 2.5 uV over 5 milliohms are 0.5 mA, and 25 times that is the step of power.
    (tmp_path / "hwmon1" / "shunt_resistor").write_text("5000\n")
    assert find_rails(tmp_path)[0].step == pytest.approx(0.0125)
    (tmp_path / "hwmon1" / "shunt_resistor").write_text("0\n")
    assert find_rails(tmp_path)[0].step is None


def test_rails_of_a_jetson(tmp_path: Path) -> None:
    """Millivolts times milliamperes; the third channel has no current, the second no label."""
    place = sensor(tmp_path, 3, "ina3221", None)
    readings = {"in1_input": 19_072, "curr1_input": 344, "in2_input": 5_040, "curr2_input": 1_208}
    for name, value in (readings | {"in3_input": 5_000}).items():
        (place / name).write_text(f"{value}\n")
    (place / "in1_label").write_text("VDD_IN\n")
    (place / "shunt1_resistor").write_text("5000\n")
    rails = find_rails(tmp_path)
    assert [rail.name for rail in rails] == ["VDD_IN", "ina3221 channel 2"]
    assert {rail.sensor for rail in rails} == {"INA3221"}
    assert [rail.watts() for rail in rails] == pytest.approx([19.072 * 0.344, 5.04 * 1.208])
    # 40 uV over 5 milliohms are 8 mA.
    assert rails[0].step == pytest.approx(19.072 * 0.008)
    assert rails[1].step is None


def test_without_sensors_there_is_no_rail(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "no such folder"):
        assert find_rails(folder) == ()


def test_rails_of_pynq_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor(tmp_path, 1, "ina226_u183", 14_250_000)
    values = iter([3.0, 4.5])

    class Sensor:
        @property
        def value(self) -> float:
            return next(values)

    rails = {"INT": SimpleNamespace(power=Sensor()), "1V2": SimpleNamespace(power=None)}
    monkeypatch.setattr(power, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "pynq", SimpleNamespace(get_rails=lambda: rails))
    (rail,) = find_rails(tmp_path)
    assert (rail.name, rail.watts(), rail.watts()) == ("INT", 3.0, 4.5)
    rails["INT"].power = None
    assert [rail.name for rail in find_rails(tmp_path)] == ["ina226_u183"]
