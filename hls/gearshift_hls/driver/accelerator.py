"""The driver: a bundle in the accelerator's memory, and its programs run one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, perf_counter

import numpy as np
from numpy.typing import NDArray

from gearshift.errors import BackendError, InputError
from gearshift_hls import registers
from gearshift_hls.bundle import Bundle, TaskProgram
from gearshift_hls.descriptor import DESCRIPTOR_BYTES, Status, align, decode
from gearshift_hls.driver.device import Device, Memory
from gearshift_hls.host import pack_picture, unpack_result

PAGE = 4096
"""The accelerator's memory starts at a multiple of this."""
PATIENCE = 10.0
"""Seconds after which a program that has not ended is given up."""

Floats = NDArray[np.float32]


class Accelerator:
    """One bundle on one device: constants are loaded once, a run writes a picture and starts.

    Switching the task is starting another program: one register and the start bit. Not
    thread-safe.

    Args:
        timeout: seconds that one program may take.

    Raises:
        BackendError: the device is busy, or has no memory for the bundle.
    """

    def __init__(self, bundle: Bundle, device: Device, timeout: float = PATIENCE) -> None:
        self.bundle = bundle
        self.seconds = 0.0
        """From the start of the last program to its end, as the processor saw it."""
        self._device = device
        self._timeout = timeout
        self._offsets = registers.offsets()
        self._require_idle()
        self._memory = self._load()
        self._point(self._memory.address)
        device.write(registers.INTERRUPT_ENABLE, 1)
        device.write(registers.GLOBAL_INTERRUPT, 1)

    def run(self, task: str, picture: Floats) -> Floats:
        """One normalised picture (3, H, W) -> a map (C, h, w) or tokens (T, D).

        Raises:
            InputError: an unknown task, or a picture of another shape.
            BackendError: the accelerator is busy, does not end, or ends with an error.
        """
        return self.run_batch(task, picture[None])[0]

    def run_batch(self, task: str, pictures: Floats) -> Floats:
        """Pictures (N, 3, H, W), N at least 1 -> the results of `run`, stacked."""
        return np.stack(list(self.run_each(task, pictures)))

    def run_each(self, task: str, pictures: Floats) -> Iterator[Floats]:
        """The results of `run_batch`, one by one: a picture is packed while the accelerator works
        on the one before. Until the next result is asked for, `read` shows what the last run left.
        """
        program = self.bundle.tasks.get(task)
        if program is None:
            known = ", ".join(self.bundle.tasks)
            raise InputError(f"task {task!r} is not in {self.bundle.model}: it has {known}")
        wanted = (3, self.bundle.height, self.bundle.width)
        if pictures.shape[1:] != wanted or not len(pictures):
            raise InputError(
                f"pictures {pictures.shape}: {self.bundle.model} was compiled for one or more of "
                f"{wanted}"
            )
        return self._run_each(program, pictures)

    def _run_each(self, program: TaskProgram, pictures: Floats) -> Iterator[Floats]:
        packed = (pack_picture(picture, program) for picture in pictures)
        patches = next(packed, None)
        while patches is not None:
            began = self._start(program, patches)
            patches = next(packed, None)
            self._finish(program)
            self.seconds = perf_counter() - began
            place = program.output_place
            yield unpack_result(self.read(place.address, place.tensor.nbytes), program)

    def read(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """A copy of external memory as the last program left it, at an address of the contract."""
        self._memory.invalidate(address, align(nbytes))
        return self._memory.array[address : address + nbytes].copy()

    def close(self) -> None:
        """Give the memory back; once.

        Raises:
            BackendError: a program still runs, and would write to memory that others may get.
        """
        self._require_idle()
        self._memory.close()

    def _load(self) -> Memory:
        """Memory with the constants; whatever else the processor has in its cache of it is gone,
        so that no late write-back falls on what the accelerator writes."""
        bundle = self.bundle
        memory = self._device.allocate(bundle.memory_bytes)
        if memory.address % PAGE:
            memory.close()
            raise BackendError(
                f"{self._device.name}: memory at {memory.address:#x} does not start at a multiple "
                f"of {PAGE}: give the accelerator memory in whole pages"
            )
        memory.array[: bundle.write_base] = bundle.constants
        memory.array[bundle.write_base :] = 0
        memory.flush(0, bundle.memory_bytes)
        return memory

    def _point(self, address: int) -> None:
        """Tell the accelerator its memory: all arguments but the program."""
        sizes = {"memory_bytes": self.bundle.memory_bytes, "write_base": self.bundle.write_base}
        for argument in registers.ARGUMENTS:
            place = self._offsets[argument.name]
            if argument.bits == 64:
                self._device.write(place, address & 0xFFFFFFFF)
                self._device.write(place + 4, address >> 32)
            elif argument.name in sizes:
                self._device.write(place, sizes[argument.name])

    def _start(self, program: TaskProgram, patches: NDArray[np.uint8]) -> float:
        """Write the input, start the program; the time of the start."""
        self._require_idle()
        self._acknowledge()
        start = program.input_place.address
        self._memory.array[start : start + patches.nbytes] = patches.reshape(-1)
        self._memory.flush(start, align(patches.nbytes))
        self._device.write(self._offsets["program"], program.program)
        began = perf_counter()
        self._device.write(registers.CONTROL, registers.START)
        return began

    def _finish(self, program: TaskProgram) -> None:
        """Wait for the end. The register decides; an interrupt only ends a sleep, so that a lost
        or an old one does no harm."""
        device, deadline = self._device, monotonic() + self._timeout
        while not device.read(registers.CONTROL) & registers.DONE:
            left = deadline - monotonic()
            if left <= 0:
                raise BackendError(
                    f"{device.name}: task {program.name} has not ended within "
                    f"{self._timeout:g} s: load the overlay again, or give it more time"
                )
            device.wait(left)
        self._acknowledge()
        returned = device.read(registers.RETURN)
        if returned & 0xFF != Status.DONE:
            raise self._failure(program, returned & 0xFF, returned >> 8)

    def _failure(self, program: TaskProgram, status: int, number: int) -> BackendError:
        known = status in list(Status)
        name = Status(status).name if known else f"status {status}, which is none"
        place = program.program + number * DESCRIPTOR_BYTES
        descriptor = self.bundle.constants[place : place + DESCRIPTOR_BYTES].tobytes()
        command = decode(descriptor) if number < program.descriptors else None
        node = f", node {program.names[number]}" if number < len(program.names) else ""
        return BackendError(
            f"{self._device.name}: task {program.name} ended with {name} at descriptor {number}"
            f"{node} ({command or 'no command'}): the bitstream is of another build than the "
            "bundle, or the memory was changed; compile again, load the overlay again"
        )

    def _require_idle(self) -> None:
        """Also forgets the end of a program that nobody waited for."""
        if not self._device.read(registers.CONTROL) & registers.IDLE:
            raise BackendError(
                f"{self._device.name} still runs a program: wait for it, or load the overlay again"
            )

    def _acknowledge(self) -> None:
        """Lower the interrupt line. A bit written as 1 toggles: write back only what is set."""
        if pending := self._device.read(registers.INTERRUPT_STATUS):
            self._device.write(registers.INTERRUPT_STATUS, pending)
