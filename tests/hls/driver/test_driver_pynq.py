"""The PYNQ device against modules and files that look like the board's."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gearshift.errors import BackendError
from gearshift_hls import golden
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.compile import compile_bundle
from gearshift_hls.driver import pynq_device
from gearshift_hls.driver.accelerator import Accelerator
from gearshift_hls.driver.pynq_device import PynqDevice, UioInterrupt, find_interrupt
from gearshift_hls.host import pack_picture, unpack_result

from ..quantise.quantised_models import SMALL_BOARD, ModelMaker, run_alone
from .fake_board import FakeBoard
from .fake_pynq import FakePynq, make_overlay


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_overlay(tmp_path, monkeypatch)


def install(monkeypatch: pytest.MonkeyPatch, pynq: FakePynq | None) -> None:
    monkeypatch.setitem(sys.modules, "pynq", pynq)


def test_the_driver_runs_over_pynq(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = partial(golden.run, SMALL_BUILD)
    pynq = FakePynq(FakeBoard(core))
    install(monkeypatch, pynq)
    device = PynqDevice()
    assert pynq.loaded == [str(overlay)]
    assert device.name == "zcu104 (pynq 9.9, polled)"
    tasks = ModelMaker(seed=5).make()
    bundle = compile_bundle("model", SMALL_BOARD, tasks)
    accelerator = Accelerator(bundle, device)
    picture = np.random.default_rng(0).uniform(-1, 1, (3, 6, 8)).astype(np.float32)
    for task in tasks:
        program = bundle.tasks[task.task_card.name]
        data, _ = run_alone(task, SMALL_BUILD, pack_picture(picture, program))
        result = accelerator.run(program.name, picture)
        np.testing.assert_array_equal(result, unpack_result(data, program))
    accelerator.close()
    assert pynq.board.memory is not None
    assert pynq.board.memory.is_closed


def test_what_is_missing_is_named(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    with pytest.raises(BackendError, match=r"pynq is not installed .* or use backend fpga-sim"):
        PynqDevice()
    pynq = FakePynq(FakeBoard(lambda *_: golden.Ending(golden.Status.DONE, 0)))
    install(monkeypatch, pynq)
    with pytest.raises(BackendError, match="no 17,000,000 contiguous bytes"):
        PynqDevice().allocate(17_000_000)
    pynq.error = RuntimeError("No Devices Found")
    with pytest.raises(BackendError, match=r"cannot load .* \(No Devices Found\): run on"):
        PynqDevice()
    pynq.loaded.clear()
    overlay.with_suffix(".hwh").unlink()
    with pytest.raises(BackendError, match=r"some\.hwh is missing"):
        PynqDevice()
    monkeypatch.delenv("GEARSHIFT_OVERLAY")
    with pytest.raises(BackendError, match=r"gearshift\.bit is missing.*GEARSHIFT_OVERLAY name"):
        PynqDevice()
    assert not pynq.loaded


@pytest.mark.parametrize("core", ["xilinx.com:hls:gearshifter:1.0", "xilinx.com:ip:axi_dma:7.1"])
def test_another_overlay_is_refused(
    core: str, overlay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, FakePynq(FakeBoard(lambda *_: golden.Ending(golden.Status.DONE, 0)), core))
    with pytest.raises(BackendError, match=f"has 0 cores of type .* {core}"):
        PynqDevice()


def uio_folder(folder: Path, names: dict[str, str]) -> Path:
    for device, name in names.items():
        (folder / device).mkdir(parents=True)
        (folder / device / "name").write_text(f"{name}\n")
    return folder


def test_the_interrupt_is_the_one_called_fabric(tmp_path: Path) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    os.mkfifo(devices / "uio4")
    names = {"uio0": "axi-pmon", "uio4": "fabric"}
    found = find_interrupt(uio_folder(tmp_path / "sys", names), devices)
    assert found is not None
    found.close()
    assert find_interrupt(uio_folder(tmp_path / "none", {"uio0": "axi-pmon"}), devices) is None
    (devices / "uio4").unlink()
    assert find_interrupt(tmp_path / "sys", devices) is None
    assert find_interrupt(tmp_path / "no such folder", devices) is None


def test_waiting_lets_the_line_through_and_takes_the_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's end of a UIO file is played by a pipe: what is written to it is kept apart."""
    os.mkfifo(tmp_path / "uio0")
    interrupt = UioInterrupt(tmp_path / "uio0")
    kernel = os.open(tmp_path / "uio0", os.O_RDWR | os.O_NONBLOCK)
    raw_write, enabled = os.write, list[bytes]()
    monkeypatch.setattr(os, "write", lambda _, data: enabled.append(data) or len(data))
    interrupt.wait(0.001)
    raw_write(kernel, (7).to_bytes(4, "little"))
    interrupt.wait(60.0)
    assert enabled == [b"\1\0\0\0"] * 2
    with pytest.raises(BlockingIOError):
        os.read(kernel, 4)
    os.close(kernel)
    interrupt.close()


def test_the_device_sleeps_on_its_interrupt(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakePynq(FakeBoard(lambda *_: golden.Ending(golden.Status.DONE, 0))))
    slept: list[float] = []
    monkeypatch.setattr(pynq_device, "find_interrupt", lambda: SimpleNamespace(wait=slept.append))
    device = PynqDevice()
    assert "interrupts" in device.name
    device.wait(0.01)
    device.wait(5.0)
    assert slept == [0.01, pynq_device.INTERRUPT_SECONDS]
