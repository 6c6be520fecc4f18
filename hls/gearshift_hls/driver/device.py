"""What a driver needs of the accelerator: its registers, memory that both see, and an interrupt."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Memory(Protocol):
    """Contiguous memory of processor and accelerator; the processor may see it through a cache."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """The bytes as the processor sees them."""
        ...

    @property
    def address(self) -> int:
        """Where the accelerator finds the first byte."""
        ...

    def flush(self, start: int, nbytes: int) -> None:
        """Make the processor's writes to these bytes visible to the accelerator."""
        ...

    def invalidate(self, start: int, nbytes: int) -> None:
        """Make the accelerator's writes to these bytes visible to the processor."""
        ...

    def close(self) -> None:
        """Give the memory back; nobody may touch it afterwards."""
        ...


class Device(Protocol):
    """An accelerator with the registers of `gearshift_hls.registers`."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def read(self, offset: int) -> int:
        """The 32-bit register at this offset; reading some of them changes them."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""
        ...

    def allocate(self, nbytes: int) -> Memory:
        """Memory for a bundle, whatever it holds.

        Raises:
            BackendError: there is not that much.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Sleep until the interrupt line is high or for as long as pays between two looks at the
        registers, at most `seconds`."""
        ...
