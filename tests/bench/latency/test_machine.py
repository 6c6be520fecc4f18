"""What is told about a machine, from recorded files of several systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift.errors import BackendError
from gearshift_bench.latency.cold import measure_cold, peak_bytes
from gearshift_bench.latency.machine import BUSY, Calibration, machine_entry, software
from gearshift_bench.latency.roofs import measure_roofs
from gearshift_kernels.native.team import usable_processors

CPUINFO = """\
processor\t: 0
model name\t: A processor
cpu MHz\t\t: 2200.5
flags\t\t: avx2 fma
processor\t: 1
model name\t: A processor
cpu MHz\t\t: 1800.25
"""


def make_root(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_a_machine_that_tells_everything(tmp_path: Path) -> None:
    cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"
    root = make_root(
        tmp_path,
        {
            "proc/cpuinfo": CPUINFO,
            "proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n",
            f"{cpufreq}/scaling_governor": "performance\n",
            f"{cpufreq}/cpuinfo_min_freq": "1200000\n",
            f"{cpufreq}/cpuinfo_max_freq": "3700000\n",
        },
    )
    found = machine_entry([0.0, 0.0, 0.0], [0.01, 0.01], ["take care"], root)
    assert found["processor"] == "A processor"
    assert found["memory_bytes"] == 16384 * 1024
    assert found["governor"] == "performance"
    assert found["clock_mhz"] == {"min": 1200.0, "max": 3700.0}
    assert found["noise"] == {"spread": 0.0, "noisy": False, "seconds": 0.01}
    assert found["warnings"] == ["take care"]


def test_clocks_of_the_moment_stand_in_for_limits(tmp_path: Path) -> None:
    root = make_root(tmp_path, {"proc/cpuinfo": CPUINFO})
    assert machine_entry(None, [1.0], [], root)["clock_mhz"] == {"min": 1800.25, "max": 2200.5}


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    found = machine_entry(None, [0.01], [], tmp_path)
    for key in ("memory_bytes", "governor", "clock_mhz", "load_before"):
        assert found[key] is None
    assert found["warnings"] == []


def test_noise_and_load_are_warned_of(tmp_path: Path) -> None:
    busy = BUSY * usable_processors() + 0.01
    found = machine_entry([busy, 0.0, 0.0], [0.8, 0.9, 1.0, 1.1, 1.2], [], tmp_path)
    load, noise = found["warnings"]
    assert "others were at work" in load
    assert "16% longer or shorter" in noise
    assert found["noise"]["noisy"]
    assert found["noise"]["spread"] == pytest.approx(0.16)


def test_the_fixed_work_takes_time_and_versions_are_told() -> None:
    calibration = Calibration()
    calibration.take()
    calibration.take()
    calibration.close()
    assert len(calibration.seconds) == 2
    assert min(calibration.seconds) > 0
    assert {"gearshift", "python", "numpy", "torch"} <= set(software())


def test_the_peak_of_memory_is_that_of_this_process(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  123 kB\nVmRSS:\t 5 kB\n")
    assert peak_bytes(status) == 123 * 1024
    assert peak_bytes(tmp_path / "absent") is None
    status.write_text("Name:\tpython\n")
    assert peak_bytes(status) is None


def test_a_cold_start_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cold start failed .* is neither a folder") as caught:
        measure_cold(tmp_path / "absent", {"backend": "torch"}, ["depth"], 1)
    assert "\n" not in str(caught.value)


def test_roofs_are_measured_for_every_number_of_threads() -> None:
    roofs = measure_roofs([None, 1, 64])
    assert set(roofs) == {None, 1, 64}
    assert roofs[None].threads == usable_processors()
    assert roofs[64].threads == 64
    for roof in roofs.values():
        assert roof.bytes > 1e6
        assert set(roof.flops) == {"float32", "bfloat16", "int8"}
        assert all(rate is None or rate > 1e6 for rate in roof.flops.values())
