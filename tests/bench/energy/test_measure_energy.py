"""Joules a request on a machine whose power is known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gearshift_bench.energy import measure_energy
from gearshift_bench.energy.measure import MOST_SECONDS, account
from gearshift_bench.energy.meter import Reading

MakeMachine = Callable[..., Any]


def measure(machine: Any, request: float = 1 / 16, seconds: float = 2.0) -> dict[str, Any]:
    return measure_energy(
        lambda: machine.work(request),
        seconds=seconds,
        root=machine.root,
        clock=machine.clock,
        sleep=machine.sleep,
    )


def test_no_meter_no_number(tmp_path: Path, make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.write("class/hwmon/hwmon0/name", "nvme")
    found = measure_energy(pytest.fail, seconds=1.0, root=machine.root)
    assert found.keys() == {"not_measured"}
    for reason in ("no RAPL on this machine", "no NVIDIA driver", "no power sensor in hwmon"):
        assert reason in found["not_measured"]
    assert f"{machine.root}/class/hwmon has nvme, and INA226 and INA3221" in found["not_measured"]


def test_rapl_shows_what_a_request_takes_with_and_without_idle(make_machine: MakeMachine) -> None:
    machine = make_machine(idle=10.0, busy=30.0)
    machine.rapl("intel-rapl:0", "package-0")
    machine.rapl("intel-rapl:0:0", "core", 0.5)
    machine.rapl("intel-rapl:0:1", "dram", 0.1)
    machine.rapl("intel-rapl-mmio:0", "package-0")
    package, memory = (found := measure(machine))["meters"]
    assert (package["name"], memory["name"]) == ("package-0", "dram")
    assert package["kind"].startswith("RAPL counter, a step each 0.1")
    for meter, share in ((package, 1.0), (memory, 0.1)):
        assert meter["joules_per_request"] == pytest.approx(30 / 16 * share, rel=1e-4)
        assert meter["joules_idle_subtracted"] == pytest.approx(20 / 16 * share, rel=1e-4)
        assert meter["idle_watts"] == pytest.approx(10 * share, rel=1e-4)
        assert 0 < meter["error"] < 0.05
        assert meter["requests"] == 32
    assert "no NVIDIA driver" in found["not_measured"]


def test_a_counter_may_wrap_around_several_times(make_machine: MakeMachine) -> None:
    """At 30 W a counter of 50 J starts anew each 1.7 s, and first just after the start."""
    machine = make_machine(idle=10.0, busy=30.0)
    machine.rapl("intel-rapl:0", "package-0", first=49_990_000, largest=50_000_000)
    (meter,) = measure(machine, seconds=20.0)["meters"]
    assert meter["joules_per_request"] == pytest.approx(30 / 16, rel=1e-4)
    assert meter["joules_idle_subtracted"] == pytest.approx(20 / 16, rel=1e-4)


def test_packages_whose_memory_has_one_name_are_told_apart(make_machine: MakeMachine) -> None:
    machine = make_machine()
    for package in (0, 1):
        machine.rapl(f"intel-rapl:{package}", f"package-{package}")
        machine.rapl(f"intel-rapl:{package}:0", "dram")
    names = [meter["name"] for meter in measure(machine)["meters"]]
    assert names == [
        "package-0", "dram of intel-rapl:0:0", "package-1", "dram of intel-rapl:1:0",
    ]  # fmt: skip


def test_nvidia_s_counter_gets_thirty_seconds(
    make_machine: MakeMachine, fake_nvml: Callable[..., SimpleNamespace]
) -> None:
    machine = make_machine()
    fake_nvml(machine)
    (meter,) = (found := measure(machine, request=0.5))["meters"]
    assert meter["name"] == "GPU 0, A100"
    assert meter["kind"].startswith("NVML energy counter, a step each 100 ms")
    assert meter["requests"] == 60
    assert meter["joules_per_request"] == pytest.approx(15.0, rel=0.01)
    assert meter["joules_idle_subtracted"] == pytest.approx(10.0, rel=0.01)
    # The step's time of 30 s, and that of the idle time at a third of the power.
    assert meter["error"] == pytest.approx(0.1 / 30 * (1 + 2 / 3), rel=0.2)
    assert "GPU 1, P4 counts no energy (NVML: Not Supported)" in found["not_measured"]


def test_a_coarser_counter_gets_twenty_of_its_steps(
    make_machine: MakeMachine, fake_nvml: Callable[..., SimpleNamespace]
) -> None:
    machine = make_machine()
    fake_nvml(machine, period=2.0)
    (meter,) = measure(machine, request=0.5)["meters"]
    assert meter["requests"] in range(80, 85)


def test_drivers_that_are_not_there_are_named(
    make_machine: MakeMachine,
    fake_nvml: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = make_machine()
    machine.write("module/nvidia/version", 1)
    assert "pip install 'gearshift[energy]'" in measure(machine)["not_measured"]

    def fail() -> None:
        raise library.NVMLError("Driver Not Loaded")

    library = fake_nvml(machine, nvmlInit=fail)
    assert "no NVIDIA driver (NVML: Driver Not Loaded)" in measure(machine)["not_measured"]
    fake_nvml(machine, nvmlDeviceGetCount=lambda: 0)
    assert "no NVIDIA GPU" in measure(machine)["not_measured"]


def test_a_counter_that_stands_still_gives_no_number(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a virtual machine that only pretends."""
    monkeypatch.setattr("gearshift_bench.energy.counter.PATIENCE", 0.02)
    machine = make_machine()
    machine.rapl("intel-rapl:0", "package-0", share=0.0)
    assert "package-0 did not move in 0.02 s" in (found := measure(machine))["not_measured"]
    assert "meters" not in found


def test_a_counter_that_dies_meanwhile_gives_no_number(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.rapl("intel-rapl:0", "package-0")
    machine.rapl("intel-rapl:1", "package-1")

    def work() -> None:
        machine.work(0.05)
        machine.write("class/powercap/intel-rapl:1/energy_uj", "")

    found = measure_energy(
        work, seconds=1.0, root=machine.root, clock=machine.clock, sleep=machine.sleep
    )
    assert [meter["name"] for meter in found["meters"]] == ["package-0"]
    assert "package-1 cannot be read any more" in found["not_measured"]


def test_rights_that_are_missing_are_named(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_machine()
    machine.rapl("intel-rapl:0", "package-0")
    read_text = Path.read_text

    def refuse(file: Path, *args: Any) -> str:
        if file.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(file, *args)

    monkeypatch.setattr(Path, "read_text", refuse)
    file = machine.root / "class/powercap/intel-rapl:0/energy_uj"
    assert f"sudo chmod a+r {file}" in measure(machine)["not_measured"]


@pytest.fixture
def _samples_at_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample between the requests' ends: the machine's time is not the threads'."""
    monkeypatch.setattr("gearshift_bench.energy.sensor.INTERVAL", 1e6)
    monkeypatch.setattr("gearshift_bench.energy.measure.TICK", 1 / 32)


@pytest.mark.usefixtures("_samples_at_ticks")
def test_the_board_s_power_is_integrated(make_machine: MakeMachine) -> None:
    """The first sample of a window still sees the power before it: half a tick of 20 W."""
    machine = make_machine(idle=10.0, busy=30.0)
    machine.ina226()
    (meter,) = measure(machine, request=1 / 32, seconds=10.0)["meters"]
    assert (meter["name"], meter["requests"]) == ("ina226_u183", 320)
    assert meter["kind"] == "INA226 power sensor, a sample each 1e+09 ms, steps of 12.5 mW"
    assert meter["joules_per_request"] == pytest.approx(30 / 32, rel=0.01)
    assert meter["joules_idle_subtracted"] == pytest.approx(20 / 32, rel=0.01)
    assert meter["idle_watts"] == pytest.approx(10.0, rel=0.01)
    assert meter["error"] < 0.05


@pytest.mark.usefixtures("_samples_at_ticks")
def test_a_rail_that_never_changes_measures_nothing(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.ina3221()
    (meter,) = (found := measure(machine))["meters"]
    assert (meter["name"], meter["kind"][:7]) == ("VDD_IN", "INA3221")
    assert meter["joules_per_request"] == pytest.approx(30 / 16, rel=0.03)
    assert "VDD_RTC told the same power all the time" in found["not_measured"]


@pytest.mark.usefixtures("_samples_at_ticks")
def test_a_sensor_without_power_measures_nothing(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.ina226(scale=0.0)
    found = measure(machine)
    assert "ina226_u183 tells 0 W" in found["not_measured"]
    assert "meters" not in found


def test_damaged_sensors_give_no_number(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.ina226()
    machine.write("class/hwmon/hwmon2/power1_input", "none")
    assert "power sensor ina226_u183 cannot be read" in measure(machine)["not_measured"]
    machine.write("class/hwmon/hwmon2/shunt_resistor", "none")
    machine.update.clear()
    assert "power sensors cannot be read" in measure(machine)["not_measured"]


@pytest.mark.usefixtures("_samples_at_ticks")
def test_a_restless_power_is_watched_longer_but_not_for_ever(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power that changes every 40 s tells too little of its mean after five minutes."""
    monkeypatch.setattr("gearshift_bench.energy.measure.TICK", 0.5)
    machine = make_machine()
    machine.ina226()

    def work() -> None:
        machine.busy = 12.0 + 48.0 * ((machine.now // 40) % 2)
        machine.work(0.5)

    (meter,) = measure_energy(
        work, seconds=50.0, root=machine.root, clock=machine.clock, sleep=machine.sleep
    )["meters"]
    assert meter["error"] > 0.05
    assert meter["requests"] == MOST_SECONDS / 0.5


def test_idle_power_that_drifts_is_part_of_the_error() -> None:
    """10 W before and 14 W after, 30 W between: exact figures of three exact readings."""
    readings = Reading(5.0, 50.0, 0.0), Reading(10.0, 300.0, 3.0), Reading(5.0, 70.0, 0.5)
    found = account(*readings, requests=20)
    assert found["joules_per_request"] == 15.0
    assert found["idle_watts"] == 12.0
    assert found["joules_idle_subtracted"] == pytest.approx((300 - 120) / 20)
    # 3 J of the meter, 0.05 W of the idle readings and 2 W of drift for 10 s.
    assert found["error"] == pytest.approx((3 + 0.5 + 20) / 300)


def test_errors_of_a_request_are_the_callers(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.rapl("intel-rapl:0", "package-0")
    machine.ina226()
    threads = threading.active_count()

    def fail() -> None:
        raise ZeroDivisionError("broken backend")

    with pytest.raises(ZeroDivisionError, match="broken backend"):
        measure_energy(
            fail, seconds=1.0, root=machine.root, clock=machine.clock, sleep=machine.sleep
        )
    assert threading.active_count() == threads
