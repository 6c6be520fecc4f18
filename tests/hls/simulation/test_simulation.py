"""C simulation as a tool: what it compiles, caches and refuses, and how a run ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gearshift.errors import BackendError
from gearshift_hls import golden, simulation
from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD
from gearshift_hls.descriptor import DESCRIPTOR_BYTES, Linear, Norm, Status
from gearshift_hls.golden import Ending
from gearshift_hls.simulation import Simulation

from ..contract.random_programs import KINDS, make_program
from .array_programs import check_equal

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")


@pytest.fixture
def own_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the sources that a test may change, and an empty cache."""
    pytest.importorskip("hls4ml", reason="no arbitrary-precision headers here")
    for folder, name in zip(simulation.source_folders(), ("src", "generated"), strict=True):
        shutil.copytree(folder, tmp_path / name)
    folders = tmp_path / "src", tmp_path / "generated"
    monkeypatch.setattr(simulation, "source_folders", lambda: folders)
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    simulation.compiled.cache_clear()
    yield tmp_path
    simulation.compiled.cache_clear()


@needs_compiler
def test_both_builds(small: Simulation) -> None:
    for one in (small, Simulation(ZCU104.build)):
        program = make_program(one.build, KINDS, 3)
        assert check_equal(one, program) == Ending(Status.DONE, len(KINDS))


@needs_compiler
def test_sanitizers_see_nothing() -> None:
    pytest.importorskip("hls4ml", reason="no arbitrary-precision headers here")
    for one in (
        Simulation(SMALL_BUILD, sanitize=True),
        Simulation(ZCU104.build, sanitize=True),
    ):
        program = make_program(one.build, KINDS, 4)
        assert check_equal(one, program) == Ending(Status.DONE, len(KINDS))


@needs_compiler
def test_sanitizers_would_see_a_fault(own_sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words behind memory are read: the run ends with an error that shows where."""
    quick = tuple("-O0" if flag == "-O1" else flag for flag in simulation.SANITIZED)
    monkeypatch.setattr(simulation, "SANITIZED", quick)
    linear = own_sources / "src" / "linear.h"
    text = linear.read_text()
    wrong = text.replace("count * inputs / BEAT_BYTES", "count * inputs / BEAT_BYTES + 1000000")
    assert wrong != text
    linear.write_text(wrong)
    program = make_program(SMALL_BUILD, [Linear], 0)
    with pytest.raises(BackendError, match=r"(?s)C simulation failed.*linear\.h"):
        Simulation(SMALL_BUILD, sanitize=True).run(program.memory, program.write_base, 0)


@needs_compiler
@pytest.mark.parametrize("sanitize", [False, True])
def test_memory_may_end_within_a_word(small: Simulation, sanitize: bool) -> None:
    one = Simulation(SMALL_BUILD, sanitize=True) if sanitize else small
    program = make_program(SMALL_BUILD, [Norm, Linear], 5)
    longer = replace(program, memory=np.concatenate([program.memory, np.arange(5, dtype=np.uint8)]))
    assert check_equal(one, longer) == Ending(Status.DONE, 2)


@needs_compiler
@pytest.mark.parametrize("offset", [1, 8])
def test_memory_may_begin_anywhere(small: Simulation, offset: int) -> None:
    program = make_program(SMALL_BUILD, [Linear], 6)
    room = np.zeros(len(program.memory) + offset, np.uint8)
    memory = room[offset:]
    memory[:] = program.memory
    assert check_equal(small, replace(program, memory=memory)) == Ending(Status.DONE, 1)


@needs_compiler
@pytest.mark.parametrize(
    ("memory_bytes", "write_base", "program"),
    [
        (0, 0, 0),
        (256, 257, 0),  # constants end behind memory
        (256, 256, 32),  # not at a multiple of 64
        (256, 128, 64),  # reaches behind the constants
        (256, 127, 0),
        (256, 256, 0xFFFFFFC0),
        (256, 256, 256),
    ],
)
def test_bad_programs(small: Simulation, memory_bytes: int, write_base: int, program: int) -> None:
    memory = np.zeros(memory_bytes, np.uint8)
    ending = small.run(memory, write_base, program)
    assert ending == Ending(Status.BAD_PROGRAM, 0)
    assert ending == golden.run(SMALL_BUILD, memory, write_base, program)


@needs_compiler
def test_a_program_without_end_stops_behind_the_constants(small: Simulation) -> None:
    program = make_program(SMALL_BUILD, [Linear, Linear], 7)
    program.memory[2 * DESCRIPTOR_BYTES :][:DESCRIPTOR_BYTES] = 0xFF
    assert check_equal(small, program) == Ending(Status.BAD_OPCODE, 2)
    only = program.memory[: 2 * DESCRIPTOR_BYTES].copy()
    ending = small.run(only, len(only), 0)
    assert ending == golden.run(SMALL_BUILD, only, len(only), 0)
    assert ending.status == Status.BAD_ADDRESS


@needs_compiler
def test_runs_in_threads(small: Simulation) -> None:
    programs = [make_program(SMALL_BUILD, KINDS, seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        endings = list(pool.map(lambda each: check_equal(small, each), programs))
    assert {each.status for each in endings} == {Status.DONE}


def test_a_wheel_has_the_sources_beside_the_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(simulation.__file__).parents[1]
    assert simulation.source_folders() == (checkout / "src", checkout / "generated")
    (tmp_path / "src").mkdir()
    monkeypatch.setattr(simulation, "__file__", str(tmp_path / "simulation.py"))
    assert simulation.source_folders() == (tmp_path / "src", tmp_path / "generated")


@needs_compiler
def test_compiles_once(own_sources: Path) -> None:
    call = "simulate.cpp", ("-std=c++14", "-O0", "-shared")
    first = simulation.compiled(*call)
    made = first.stat().st_mtime_ns
    simulation.compiled.cache_clear()
    assert simulation.compiled(*call) == first
    assert first.stat().st_mtime_ns == made
    assert list(first.parent.iterdir()) == [first], "temporary files are left"
    with (own_sources / "src" / "pass.h").open("a") as file:
        file.write("// changed\n")
    simulation.compiled.cache_clear()
    assert simulation.compiled(*call) != first


@needs_compiler
def test_sources_that_do_not_compile(own_sources: Path) -> None:
    (own_sources / "src" / "pass.h").write_text("#error no pass today\n")
    with pytest.raises(BackendError, match=r"(?s)does not compile.*no pass today"):
        Simulation(SMALL_BUILD, sanitize=True)
    assert not list((own_sources / "cache" / "fpga-sim").iterdir()), "half a result is left"


def test_no_compiler(own_sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BackendError, match=r"needs a C\+\+ compiler: install g\+\+"):
        Simulation(SMALL_BUILD, sanitize=True)


def test_no_headers(own_sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'gearshift\[fpga\]'"):
        Simulation(SMALL_BUILD, sanitize=True)


def test_another_build() -> None:
    with pytest.raises(BackendError, match="the builds are zcu104, small"):
        Simulation(replace(SMALL_BUILD, max_tokens=64))


@needs_compiler
def test_arrays_that_are_no_memory(small: Simulation) -> None:
    memory = np.zeros(256, np.uint8)
    for wrong in (memory.astype(np.int32), memory[::2], memory.reshape(2, 128)):
        with pytest.raises(ValueError, match="memory must be a contiguous array of bytes"):
            small.run(wrong, 0, 0)
    with pytest.raises(ValueError, match="scratch has 256 bytes, not 16384"):
        small.run(memory, 0, 0, scratch=memory)
    memory.setflags(write=False)
    with pytest.raises(ValueError, match="memory is read-only"):
        small.run(memory, 0, 0)
