"""The units of hls/src as a library, `units.cpp`: compiled with undefined behaviour made fatal."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.descriptor import Command, encode

HERE = Path(__file__).parent
HLS = HERE.parents[2] / "hls"
COMPILER = shutil.which("g++")
FLAGS = (
    "-std=c++17",
    "-O1",
    "-g",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
)
FATAL = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
FOLDERS = (HLS / "generated", HLS / "src", HLS / "src" / "csim")


class Units:
    """The library, called with numpy arrays."""

    def __init__(self, folder: Path) -> None:
        library = folder / "units.so"
        sources = [HERE / "units.cpp", *(f"-I{each}" for each in FOLDERS)]
        command = [COMPILER, *FLAGS, *FATAL, "-Wno-unknown-pragmas", *sources, "-o", library]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self._library = ctypes.CDLL(str(library))

    def each(self, name: str, *inputs: Any, outputs: int = 1, items: int = 1) -> Any:
        """`name`_all on int64 arrays of one length, (n) or for several items (n, items)."""
        arrays = np.broadcast_arrays(*(np.asarray(each, np.int64) for each in inputs))
        arrays = [np.ascontiguousarray(each) for each in arrays]
        results = [
            np.empty((*arrays[0].shape, items)[: 1 + (items > 1)], np.int64) for _ in range(outputs)
        ]
        self._call(f"{name}_all", ctypes.c_int64(len(arrays[0])), *arrays, *results)
        return results[0] if outputs == 1 else results

    def check(
        self, build: Build, words: NDArray[np.uint32], memory_bytes: Any, write_base: Any
    ) -> NDArray[np.int64]:
        """Statuses of descriptors, words (n, 32)."""
        status = np.empty(len(words), np.int64)
        limits = [np.full(len(words), each, np.uint32) for each in (memory_bytes, write_base)]
        count, small = ctypes.c_int64(len(words)), ctypes.c_int(build == SMALL_BUILD)
        self._call("check_all", count, small, np.ascontiguousarray(words), *limits, status)
        return status

    def run(
        self,
        build: Build,
        command: Command,
        memory: NDArray[np.uint8],
        scratch: NDArray[np.uint8],
    ) -> None:
        """A norm, a router or a resize, in place."""
        words = np.frombuffer(encode(command), np.uint32)
        self._call("unit", ctypes.c_int(build == SMALL_BUILD), words, memory, scratch)

    def attention(self, build: Build, x: NDArray[np.int8], head: list[int]) -> NDArray[np.int8]:
        """One head: x (3, T, head_dim) -> (T, head_dim)."""
        _, tokens, head_dim = x.shape
        y = np.empty((tokens, head_dim), np.int8)
        sizes = [ctypes.c_int(tokens), ctypes.c_int(head_dim)]
        parts = [np.ascontiguousarray(part) for part in x]
        small = ctypes.c_int(build == SMALL_BUILD)
        self._call("attention", small, *parts, *sizes, np.array(head, np.uint32), y)
        return y

    def _call(self, name: str, *arguments: Any) -> None:
        given = [
            ctypes.c_void_p(each.ctypes.data) if isinstance(each, np.ndarray) else each
            for each in arguments
        ]
        getattr(self._library, name)(*given)
