"""What a driver uses of the module `pynq`, on a fake board."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gearshift_hls.driver import pynq_device

from .fake_board import FakeBoard, FakeMemory

BASE = 0xA000_0000


class Buffer(np.ndarray):
    """As `pynq.allocate` gives it: a part of a buffer is a buffer, with its own address."""

    memory: FakeMemory

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, Buffer):
            self.memory = parent.memory

    @property
    def device_address(self) -> int:
        return self.memory.address + self._start

    @property
    def _start(self) -> int:
        return self.ctypes.data - self.memory.array.ctypes.data

    def flush(self) -> None:
        self.memory.flush(self._start, self.nbytes)

    def invalidate(self) -> None:
        self.memory.invalidate(self._start, self.nbytes)

    def freebuffer(self) -> None:
        self.memory.close()


class FakePynq:
    """The module, on a board with this core in its overlay."""

    __version__ = "9.9"

    def __init__(self, board: FakeBoard, core: str = "xilinx.com:hls:gearshift:1.0") -> None:
        self.board = board
        processor = {"type": "xilinx.com:ip:zynq_ultra_ps_e:3.5"}
        accelerator = {"type": core, "phys_addr": BASE, "addr_range": 1 << 16}
        self.cores = {"ps": processor, "gearshift_0": accelerator}
        self.loaded: list[str] = []
        self.error: Exception | None = None

    def Overlay(self, bitfile: str) -> SimpleNamespace:  # noqa: N802 (PYNQ's name)
        assert isinstance(bitfile, str)
        if self.error is not None:
            raise self.error
        self.loaded.append(bitfile)
        return SimpleNamespace(ip_dict=self.cores)

    def MMIO(self, base: int, length: int) -> FakeBoard:  # noqa: N802
        assert (base, length) == (BASE, 1 << 16)
        return self.board

    def allocate(self, shape: tuple[int, ...], dtype: type) -> Buffer:
        assert dtype is np.uint8
        if shape[0] > 1 << 24:
            raise RuntimeError("Failed to allocate Memory!")
        memory = self.board.allocate(*shape)
        buffer = memory.array.view(Buffer)
        buffer.memory = memory
        return buffer


def make_overlay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The overlay's two files, named by the environment; no interrupt in /sys."""
    bitfile = folder / "some.bit"
    bitfile.touch()
    bitfile.with_suffix(".hwh").touch()
    monkeypatch.setenv("GEARSHIFT_OVERLAY", str(bitfile))
    monkeypatch.setattr(pynq_device, "find_interrupt", lambda: None)
    return bitfile
