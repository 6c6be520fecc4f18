"""A task's descriptor list, read back out of a bundle."""

from __future__ import annotations

from collections.abc import Iterator

from gearshift_hls.bundle import Bundle, TaskProgram
from gearshift_hls.descriptor import DESCRIPTOR_BYTES, Command, decode


def commands(bundle: Bundle, task: TaskProgram) -> Iterator[Command | None]:
    """The commands in order, `End` included; None for an unknown opcode."""
    for number in range(task.descriptors):
        start = task.program + number * DESCRIPTOR_BYTES
        yield decode(bundle.constants[start : start + DESCRIPTOR_BYTES].tobytes())
