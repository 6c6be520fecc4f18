"""C simulation: the HLS C++ sources, compiled for this machine and run on a memory image.

Bit-equal to the golden model (`golden.run`) and much faster. Compiled on first use into the cache
folder; changed sources, compilers or flags compile again.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from threading import Lock

import numpy as np

from gearshift.cache import cache_folder
from gearshift.errors import BackendError
from gearshift_hls.board import ZCU104
from gearshift_hls.build import BEAT_BYTES, SMALL_BUILD, Build
from gearshift_hls.descriptor import Status
from gearshift_hls.golden import Bytes, Ending

NAMES = {ZCU104.build: "zcu104", SMALL_BUILD: "small"}
"""The builds that the generated header has."""

FLAGS = (
    "-march=native", "-fPIC", "-Wall", "-Wextra", "-Wno-unknown-pragmas",
    # The arbitrary-precision headers read a new integer before its first value.
    "-Wno-maybe-uninitialized",
)  # fmt: skip
LIBRARY = ("-std=c++14", "-O3", "-shared")
"""C++14 is what Vitis HLS takes by default."""
SANITIZED = ("-std=c++20", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
"""The arbitrary-precision headers shift negative numbers to the left, which C++20 allows."""

_RUNNING = Lock()
"""The class of the streams counts its objects without a lock of its own: one run at a time."""


class Simulation:
    """One build of the accelerator in C simulation."""

    def __init__(self, build: Build, sanitize: bool = False) -> None:
        """
        Args:
            build: `ZCU104.build` or `SMALL_BUILD`; the sources are generated for these.
            sanitize: run in a process of its own with the address and undefined-behaviour
                sanitizers, which end a run with an error; much slower.

        Raises:
            BackendError: another build, no compiler, no headers, or sources that do not compile.
        """
        if build not in NAMES:
            raise BackendError(
                f"no C simulation of {build}: the builds are {', '.join(NAMES.values())}; add one "
                "to gearshift_hls.generate"
            )
        self.build = build
        self.sanitize = sanitize
        if sanitize:
            self._program = compiled("main.cpp", SANITIZED)
        else:
            self._run = _function(build)

    def run(
        self, memory: Bytes, write_base: int, program: int, scratch: Bytes | None = None
    ) -> Ending:
        """Execute the program at address `program`, in place: see `golden.run`.

        Args:
            memory: all external memory (bytes), changed from `write_base` on.
            scratch: on-chip memory, `build.scratch_bytes`, changed.
        """
        if scratch is None:
            scratch = np.full(self.build.scratch_bytes, 0xA5, np.uint8)
        for name, array in (("memory", memory), ("scratch", scratch)):
            if array.dtype != np.uint8 or not array.flags.c_contiguous or array.ndim != 1:
                raise ValueError(f"{name} must be a contiguous array of bytes")
            if not array.flags.writeable:
                raise ValueError(f"{name} is read-only")
        if len(scratch) != self.build.scratch_bytes:
            raise ValueError(f"scratch has {len(scratch)} bytes, not {self.build.scratch_bytes}")
        if not write_base <= len(memory) <= 1 << 31:
            return Ending(Status.BAD_PROGRAM, 0)
        if self.sanitize:
            result = self._run_file(memory, write_base, program, scratch)
        else:
            result = self._run_library(memory, write_base, program, scratch)
        return Ending(Status(result & 0xFF), result >> 8)

    def _run_library(self, memory: Bytes, write_base: int, program: int, scratch: Bytes) -> int:
        whole = memory
        if len(memory) % BEAT_BYTES:  # the accelerator reads whole words
            whole = np.zeros(-(-len(memory) // BEAT_BYTES) * BEAT_BYTES, np.uint8)
            whole[: len(memory)] = memory
        with _RUNNING:
            result: int = self._run(
                whole.ctypes.data, len(memory), write_base, program, scratch.ctypes.data
            )
        if whole is not memory:
            memory[:] = whole[: len(memory)]
        return result

    def _run_file(self, memory: Bytes, write_base: int, program: int, scratch: Bytes) -> int:
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "memory"), Path(folder, "scratch")
            for file, array in zip(files, (memory, scratch), strict=True):
                array.tofile(file)
            call = [self._program, NAMES[self.build], *files, write_base, program]
            done = subprocess.run([str(word) for word in call], capture_output=True, text=True)
            if done.returncode:
                raise BackendError(f"the C simulation failed:\n{done.stdout}{done.stderr}")
            for file, array in zip(files, (memory, scratch), strict=True):
                array[:] = np.fromfile(file, np.uint8)
        return int(done.stdout)


@cache
def _function(build: Build) -> ctypes._NamedFuncPointer:
    library = ctypes.CDLL(str(compiled("simulate.cpp", LIBRARY)))
    function = getattr(library, f"simulate_{NAMES[build]}")
    number = ctypes.c_uint32
    function.argtypes = ctypes.c_void_p, number, number, number, ctypes.c_void_p
    function.restype = number
    return function


def source_folders() -> tuple[Path, Path]:
    """The HLS C++ sources and the generated headers, of a wheel or of a checkout."""
    package = Path(__file__).parent
    root = package if (package / "src").is_dir() else package.parent
    return root / "src", root / "generated"


def headers_folder() -> Path:
    """The arbitrary-precision headers (Apache-2.0), which the hls4ml package carries.

    Raises:
        BackendError: the package is not installed.
    """
    found = find_spec("hls4ml")
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place, "templates", "vivado", "ap_types")
        if (folder / "ap_int.h").exists():
            return folder
    raise BackendError(
        "the C simulation needs the headers of hls4ml, which is not installed: "
        "pip install 'gearshift[fpga]'"
    )


def compiler() -> str:
    """The C++ compiler: $CXX, else g++ or clang++.

    Raises:
        BackendError: there is none.
    """
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and which(name):
            return name
    raise BackendError("the C simulation needs a C++ compiler: install g++, or set CXX")


@cache
def compiled(main: str, flags: tuple[str, ...]) -> Path:
    """The library or program that `main` in csim/ becomes, compiled unless the cache has it."""
    source, generated = source_folders()
    headers, cxx = headers_folder(), compiler()
    names = [source / "csim" / main]
    if main != "simulate.cpp":
        names.append(source / "csim" / "simulate.cpp")
    include = ["-I", source, "-I", generated, "-I", source / "csim", "-isystem", headers]
    files = sorted((*source.rglob("*.h"), *source.rglob("*.cpp"), *generated.glob("*.h")))
    identity = sha256(repr((main, flags, FLAGS)).encode())
    identity.update(_machine(cxx))
    for file in files:
        identity.update(file.read_bytes())
    target = cache_folder() / "fpga-sim" / f"{Path(main).stem}-{identity.hexdigest()[:24]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder, target.name)
            call = [cxx, *FLAGS, *flags, *include, *names, "-o", made]
            done = subprocess.run([str(word) for word in call], capture_output=True, text=True)
            if done.returncode:
                raise BackendError(f"the C simulation does not compile with {cxx}:\n{done.stderr}")
            made.replace(target)
    return target


def _machine(cxx: str) -> bytes:
    """What tells one compiler, and one CPU that it compiles for, from another."""
    call = [cxx, "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    return subprocess.run(call, capture_output=True).stdout
