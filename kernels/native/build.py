"""Compiles the native kernels: one shared library an instruction set, all with one interface.

The build hook of the package (see pyproject.toml) runs it when the package is installed. A machine
without a compiler gets no libraries, and gearshift then runs on its other backends. After a change
of the sources, `python kernels/native/build.py` compiles them again.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run by hand or by a test, not by the build
    BuildHookInterface = object

SOURCES = Path(__file__).parent
LIBRARIES = SOURCES.parent / "gearshift_kernels" / "native"

_AVX512 = ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")
_NARROW = (*_AVX512, "-mavx512bf16", "-mavx512vnni")
LEVELS: dict[str, tuple[str, ...]] = {
    "scalar": ("-O2",),
    "avx2": ("-O3", "-mavx2", "-mfma", "-mf16c"),
    "avx512": _AVX512,
    "avx512_bf16": _NARROW,
    "amx": (*_NARROW, "-mamx-tile", "-mamx-bf16", "-mamx-int8", "-DGS_AMX"),
}
"""Flags by instruction set, from the slowest to the fastest. scalar is for any machine; there -O3
takes minutes to unroll vectors that the machine does not have."""

FLAGS = (
    "-std=c++17", "-fPIC", "-shared", "-pthread", "-ffp-contract=off", "-fno-math-errno",
    "-Wall", "-Wextra", "-Wno-psabi",
    # GCC 12 warns of its own headers' deliberately undefined vectors.
    "-Wno-uninitialized", "-Wno-maybe-uninitialized",
)  # fmt: skip


def library_name(level: str) -> str:
    """The file of an instruction set's kernels."""
    return f"libgearshift_{level}.so"


def compiler() -> str | None:
    """The C++ compiler: $CXX, else g++, clang++ or c++; None if there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and which(name):
            return name
    return None


def compile_level(level: str, output: Path, extra_flags: Sequence[str] = ()) -> None:
    """Compile the kernels for one instruction set into `output`, whole or not at all.

    Raises:
        FileNotFoundError: there is no compiler.
        subprocess.CalledProcessError: it failed; `stderr` says why.
    """
    flags = (*FLAGS, *LEVELS[level], f'-DGS_LEVEL="{level}"', *extra_flags)
    _compile(SOURCES / "kernels.cpp", output, flags)


def compile_features(output: Path) -> None:
    """Compile the library that tells what this CPU has; raises as `compile_level` does."""
    _compile(SOURCES / "features.cpp", output, (*FLAGS, "-O2"))


def _compile(source: Path, output: Path, flags: Sequence[str]) -> None:
    found = compiler()
    if found is None:
        raise FileNotFoundError("no C++ compiler: install g++, or name one in CXX")
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        subprocess.run(
            [found, *flags, str(source), "-o", str(partial)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def levels_here() -> list[str]:
    """The instruction sets that this kind of machine could have."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return list(LEVELS) if is_x86 and sys.platform == "linux" else ["scalar"]


def compile_all(folder: Path = LIBRARIES) -> list[str]:
    """Compile every library into `folder`; what fails is named, with the compiler's last line."""

    def attempt(name: str) -> str | None:
        output = folder / library_name(name)
        try:
            if name == "features":
                compile_features(output)
            else:
                compile_level(name, output)
        except FileNotFoundError as error:
            return str(error)
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or ["no reason given"]
            return f"{name}: {lines[-1]}"
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = pool.map(attempt, ["features", *levels_here()])
        return list(dict.fromkeys(failure for failure in failures if failure))


ACCELERATOR = ("src", "generated", "rtl", "zcu104")
"""Folders of `hls/` that a wheel carries inside the package; a checkout is read where it lies."""


class NativeBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Compiles before the package is put together; no failure here stops the installation."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        for failure in compile_all():
            self.app.display_warning(f"native kernels left out: {failure}")
        if any(LIBRARIES.glob("*.so")):
            system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{system}"
        if version == "standard":
            root = SOURCES.parents[1]
            for folder in ACCELERATOR:
                build_data["force_include"][str(root / "hls" / folder)] = f"gearshift_hls/{folder}"


if __name__ == "__main__":
    problems = compile_all()
    print("\n".join(problems) or f"compiled for {', '.join(levels_here())}")
    sys.exit(1 if problems else 0)
