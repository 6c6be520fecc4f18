"""A team of threads that runs lists of native kernels."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from ctypes import CDLL, Array, addressof

import numpy as np
from numpy.typing import NDArray

from gearshift_kernels.native.library import NativeError, choose_level, library_path, load
from gearshift_kernels.native.structures import Arguments, Call


def usable_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CallList:
    """Kernels in order with their arguments, which it keeps alive."""

    def __init__(self, calls: Sequence[tuple[Arguments, int]]) -> None:
        """`calls`: the arguments of each kernel, and the precision of its products."""
        self._arguments = [arguments for arguments, _ in calls]
        self.array: Array[Call] = (Call * len(calls))(
            *(
                Call(arguments.KERNEL, precision, addressof(arguments))
                for arguments, precision in calls
            )
        )
        self.seconds: NDArray[np.float64] = np.zeros(len(calls))
        """Of each kernel in the last run."""

    def __len__(self) -> int:
        return len(self.array)


class Team:
    """Threads with their scratch memory; the calling thread is one of them.

    Not to be shared by threads that run at the same time, nor with a forked process, which has
    none of its threads. They end when it is collected.

    Args:
        threads: at least 1.
        level: an instruction set of `gearshift_kernels.native.library.levels`, or None for the
            best one.

    Raises:
        NativeError: there are no native kernels here, or no such threads.
    """

    def __init__(self, threads: int, level: str | None = None) -> None:
        self.level = choose_level(level)
        self._library = load(library_path(self.level))
        self._handle = self._library.gs_open(threads)
        if not self._handle:
            raise NativeError(f"{threads} threads cannot be had: ask for fewer")
        self._process = os.getpid()
        weakref.finalize(self, _close, self._library, self._handle, self._process)

    def reserve(self, calls: CallList) -> None:
        """Make room for the scratch memory of `calls`, which must be done before they run.

        Raises:
            MemoryError: there is not so much.
            NativeError: in a forked process.
        """
        self._require_own_process()
        if self._library.gs_reserve(self._handle, ctypes.addressof(calls.array), len(calls)):
            raise MemoryError("no memory for the scratch of the native kernels")

    def run(self, calls: CallList) -> None:
        """Run the kernels in order; `calls.seconds` then holds the time of each.

        Raises:
            NativeError: in a forked process.
        """
        self._require_own_process()
        self._library.gs_run(
            self._handle, ctypes.addressof(calls.array), len(calls), calls.seconds.ctypes.data
        )

    def _require_own_process(self) -> None:
        if os.getpid() != self._process:
            raise NativeError(
                f"threads of process {self._process} are not in its fork {os.getpid()}: open the "
                "session after the fork"
            )


def _close(library: CDLL, handle: int, process: int) -> None:
    # A forked process has no threads to wait for.
    if os.getpid() == process:
        library.gs_close(handle)
