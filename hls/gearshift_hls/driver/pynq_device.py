"""The ZCU104 through PYNQ: overlay, registers, contiguous memory, interrupt.

Sources: the PYNQ documentation (Overlay, MMIO, allocate); the Linux kernel's "Userspace I/O HOWTO".
Not run here: there is no board.
"""

from __future__ import annotations

import os
import select
from pathlib import Path
from time import sleep
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.errors import BackendError

VARIABLE = "GEARSHIFT_OVERLAY"
"""Environment variable: the bitstream; its description `.hwh` has the same stem beside it."""
DEFAULT_OVERLAY = Path("/usr/local/share/gearshift/zcu104/gearshift.bit")
"""On the board, where the variable says nothing."""
CORE = ":gearshift:"
"""In the type of the accelerator's core, vendor:library:name:version."""
UIO = Path("/sys/class/uio")
UIO_NAME = "fabric"
"""What PYNQ's device tree calls the first interrupt line of the programmable logic."""
POLL_SECONDS = 100e-6
"""Between two looks at the registers where there is no interrupt."""
INTERRUPT_SECONDS = 0.1
"""The longest sleep for an interrupt: what a lost one costs."""


class PynqMemory:
    """A `Memory` that `pynq.allocate` made, cached by the processor."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self.array: NDArray[np.uint8] = np.asarray(buffer)
        self.address = int(buffer.device_address)

    def flush(self, start: int, nbytes: int) -> None:
        """A part of a buffer is a buffer, and flushed alone."""
        self._buffer[start : start + nbytes].flush()

    def invalidate(self, start: int, nbytes: int) -> None:
        self._buffer[start : start + nbytes].invalidate()

    def close(self) -> None:
        self.array = np.empty(0, np.uint8)
        self._buffer.freebuffer()


class UioInterrupt:
    """An interrupt line by the kernel's UIO: writing 1 lets it through once, reading takes it."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR)

    def wait(self, seconds: float) -> None:
        """Until the line is high, at most `seconds`. It is let through once more each time, as the
        kernel shuts it when it rises: the accelerator's line stays high until acknowledged."""
        os.write(self._file, (1).to_bytes(4, "little"))
        readable, _, _ = select.select([self._file], [], [], seconds)
        if readable:
            os.read(self._file, 4)

    def close(self) -> None:
        os.close(self._file)


class PynqDevice:
    """A `Device`: the accelerator of an overlay, which is loaded here.

    Raises:
        BackendError: no PYNQ, no board, no overlay, or one without the accelerator.
    """

    def __init__(self, overlay: Path | None = None) -> None:
        pynq = _import_pynq()
        # PYNQ looks for relative names in folders of its own.
        file = (overlay or Path(os.environ.get(VARIABLE) or DEFAULT_OVERLAY)).absolute()
        _check_files(file)
        self._pynq = pynq
        self._overlay = _load_overlay(pynq, file)
        core = _find_core(self._overlay.ip_dict, file)
        self._registers = pynq.MMIO(core["phys_addr"], core["addr_range"])
        self._interrupt = find_interrupt()
        wakes = "polled" if self._interrupt is None else "interrupts"
        self.name = f"zcu104 (pynq {pynq.__version__}, {wakes})"

    def read(self, offset: int) -> int:
        return int(self._registers.read(offset))

    def write(self, offset: int, value: int) -> None:
        # PYNQ takes exactly `int`.
        self._registers.write(offset, int(value))

    def allocate(self, nbytes: int) -> PynqMemory:
        try:
            return PynqMemory(self._pynq.allocate((nbytes,), np.uint8))
        except (MemoryError, RuntimeError, OSError) as error:
            raise BackendError(
                f"the board has no {nbytes:,} contiguous bytes ({error}): close other overlays' "
                "buffers, or raise cma= in the kernel's boot arguments"
            ) from error

    def wait(self, seconds: float) -> None:
        if self._interrupt is None:
            sleep(min(seconds, POLL_SECONDS))
        else:
            self._interrupt.wait(min(seconds, INTERRUPT_SECONDS))


def find_interrupt(folder: Path = UIO, devices: Path = Path("/dev")) -> UioInterrupt | None:
    """The first interrupt line of the programmable logic, if the kernel hands it to us."""
    for name in sorted(folder.glob("*/name")):
        try:
            if name.read_text().strip() == UIO_NAME:
                return UioInterrupt(devices / name.parent.name)
        except OSError:
            continue
    return None


def _import_pynq() -> ModuleType:
    try:
        import pynq
    except ImportError as error:
        raise BackendError(
            f"backend zcu104: pynq is not installed ({error}): run on the board, or use backend "
            "fpga-sim"
        ) from None
    module: ModuleType = pynq
    return module


def _check_files(file: Path) -> None:
    for needed in (file, file.with_suffix(".hwh")):
        if not needed.is_file():
            raise BackendError(
                f"backend zcu104: overlay file {needed} is missing: make one with gearshift synth "
                f"bitstream, copy it to the board, and let {VARIABLE} name its .bit"
            )


def _load_overlay(pynq: ModuleType, file: Path) -> Any:
    """Program the logic. PYNQ raises what it likes away from a board, or without root."""
    try:
        return pynq.Overlay(str(file))
    except (RuntimeError, OSError, ValueError) as error:
        raise BackendError(
            f"backend zcu104: PYNQ cannot load overlay {file} ({error}): run on the board, as root"
        ) from error


def _find_core(cores: dict[str, dict[str, Any]], file: Path) -> dict[str, Any]:
    found = [core for core in cores.values() if CORE in str(core.get("type"))]
    if len(found) != 1:
        types = ", ".join(str(core.get("type")) for core in cores.values()) or "no core"
        raise BackendError(
            f"backend zcu104: overlay {file} has {len(found)} cores of type *{CORE}* "
            f"(it has {types}): give the overlay that gearshift synth bitstream made"
        )
    return found[0]
