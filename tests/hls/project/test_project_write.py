"""The written project: nothing missing, nothing half, and a test bench that can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gearshift.errors import BackendError, InputError
from gearshift_hls import registers
from gearshift_hls.board import ZCU104
from gearshift_hls.build import SMALL_BUILD, Build
from gearshift_hls.compile.files import load_bundle
from gearshift_hls.descriptor import COMMANDS, DESCRIPTOR_BYTES, End, decode
from gearshift_hls.driver.pynq_device import CORE
from gearshift_hls.project import write
from gearshift_hls.project.self_test import SelfTest, make_self_test, memory_header
from gearshift_hls.project.write import PROJECT_FILE, TEMPLATES, project_board, write_project
from gearshift_hls.simulation import headers_folder, source_folders

from .projects import make_project, small_bundle

MAKE, GXX = shutil.which("make"), shutil.which("g++")
TARGETS = ("csim", "hls", "cosim", "ip", "block-design", "bitstream", "hls-tcl", "reports", "clean")


def test_everything_that_its_files_name_exists(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    config = (project / "hls_config.cfg").read_text()
    named = re.findall(r"^(?:syn|tb)\.file=(.+)$", config, re.MULTILINE)
    assert sorted(named) == ["src/gearshift.cpp", "src/testbench.cpp"]
    makefile = (project / "Makefile").read_text()
    named += re.findall(r"tcl/\w+\.tcl|hls_config\.cfg", makefile)
    named += re.findall(r"`((?:src|tcl)/[\w.]+)`", (project / "README.md").read_text())
    for name in named:
        assert (project / name).is_file(), name
    for source in (project / "src").iterdir():
        for include in re.findall(r'#include "(.+)"', source.read_text()):
            assert (source.parent / include).is_file(), f"{source.name} includes {include}"


def test_no_name_is_left_unfilled(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    for name in TEMPLATES:
        assert not re.findall("@[a-z_]+@", (project / name).read_text()), name


def test_part_clock_and_section_of_the_config(tmp_path: Path) -> None:
    lines = (make_project(tmp_path / "fpga") / "hls_config.cfg").read_text().splitlines()
    # `part` is an option of v++ itself, and stands before the section.
    assert lines.index("part=xczu7ev-ffvc1156-2-e") < lines.index("[hls]")
    assert lines.index("[hls]") < lines.index("clock=3.333ns")
    assert "syn.top=gearshift_top" in lines
    assert "package.output.format=ip_catalog" in lines


def test_the_bundle_beside_it_is_the_model(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    bundle, written = small_bundle(), load_bundle(project / "overlay" / "bundle")
    np.testing.assert_array_equal(written.constants, bundle.constants)
    assert written.tasks == bundle.tasks
    assert project_board(project) is ZCU104


@pytest.mark.skipif(MAKE is None, reason="no make on PATH")
@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_every_target(tmp_path: Path, target: str) -> None:
    project = make_project(tmp_path / "fpga")
    done = subprocess.run(
        [str(MAKE), "-n", "-C", str(project), target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"`make {target}`" in (project / "README.md").read_text()


def test_a_project_that_was_not_built_is_replaced(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    (project / "Makefile").write_text("")
    make_project(project)
    assert (project / "Makefile").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["fpga"]


@pytest.mark.parametrize("kind", ["file", "folder", "built"])
def test_anything_else_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "fpga"
    if kind == "file":
        folder.write_text("mine")
    elif kind == "folder":
        folder.mkdir()
        (folder / "thesis.tex").write_text("mine")
    else:
        make_project(folder)
        (folder / "build" / "hls").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"fpga .*(choose|another)"):
        make_project(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_appears_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "save_bundle", fail)
    with pytest.raises(OSError, match="No space"):
        make_project(tmp_path / "fpga")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_of_another_build_is_refused(tmp_path: Path) -> None:
    other = replace(small_bundle(), build=replace(ZCU104.build, max_side=512))
    with pytest.raises(BackendError, match=r"compiled for .*--board zcu104"):
        write_project(tmp_path / "fpga", other, "", ZCU104)


@pytest.mark.parametrize("content", [None, "board = [", "board = 3\n", 'board = "z"\n', "\xff"])
def test_a_folder_that_is_no_project_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / PROJECT_FILE).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"is no project .*gearshift synth bitstream"):
        project_board(tmp_path)


@pytest.mark.parametrize("build", [ZCU104.build, SMALL_BUILD], ids=["zcu104", "small"])
def test_the_self_test_runs_every_command(build: Build) -> None:
    test = make_self_test(build)
    program = test.before[
        test.program : test.program + (test.ending.descriptor + 1) * DESCRIPTOR_BYTES
    ]
    kinds = {type(decode(bytes(each))) for each in program.reshape(-1, DESCRIPTOR_BYTES)}
    assert kinds == set(COMMANDS)
    assert isinstance(decode(bytes(program[-DESCRIPTOR_BYTES:])), End)
    np.testing.assert_array_equal(test.before[: test.write_base], test.after[: test.write_base])
    # Results that neither vanish nor saturate everywhere.
    changed = test.after[test.before != test.after]
    assert len(np.unique(changed)) > 200


def test_the_top_function_has_the_registers_as_arguments(tmp_path: Path) -> None:
    source = (make_project(tmp_path / "fpga") / "src" / "gearshift.cpp").read_text()
    (arguments,) = re.findall(r"gearshift_top\((.*?)\)", source, re.DOTALL)
    found = [re.findall(r"(\*?)\s*(\w+)$", argument)[0] for argument in arguments.split(",")]
    assert [(name, 64 if star else 32) for star, name in found] == [
        (argument.name, argument.bits) for argument in registers.ARGUMENTS
    ]


def test_ports_and_core_have_the_names_that_others_use(tmp_path: Path) -> None:
    project = make_project(tmp_path / "fpga")
    source = (project / "src" / "gearshift.cpp").read_text()
    bundles = set(re.findall(r"m_axi .*?bundle\s*=\s*(\w+)", source))
    assert bundles == {"memory", *(f"weights_{port}" for port in range(4))}
    assert "package.ip.name=gearshift\n" in (project / "hls_config.cfg").read_text()
    assert CORE in "xilinx.com:hls:gearshift:1.0"


def test_the_test_bench_has_as_many_words_as_co_simulation_copies(tmp_path: Path) -> None:
    sources = make_project(tmp_path / "fpga") / "src"
    depths = set(re.findall(r"depth\s*=\s*(\d+)", (sources / "gearshift.cpp").read_text()))
    held = re.findall(r"DEPTH = (\d+);", (sources / "testbench.cpp").read_text())
    assert depths == set(held)


@pytest.fixture
def build_bench() -> Callable[[Path], Path]:
    """Compiles the project's test bench for the host; the accelerator itself but once."""
    if GXX is None or find_spec("hls4ml") is None:
        pytest.skip("no g++ or no hls4ml")
    includes = [headers_folder(), source_folders()[0] / "csim"]
    flags = ["-std=c++17", "-O1", "-Wno-unknown-pragmas", *(f"-I{each}" for each in includes)]

    def compile_file(file: Path) -> Path:
        target = file.with_suffix(".o")
        subprocess.run([GXX, *flags, "-c", str(file), "-o", str(target)], check=True)
        return target

    def build(sources: Path) -> Path:
        core, program = sources / "gearshift.o", sources / "testbench"
        if not core.exists():
            compile_file(sources / "gearshift.cpp")
        bench = compile_file(sources / "testbench.cpp")
        subprocess.run([GXX, str(core), str(bench), "-o", str(program)], check=True)
        return program

    return build


def test_the_test_bench_passes_and_can_fail(
    tmp_path: Path, build_bench: Callable[[Path], Path]
) -> None:
    sources = make_project(tmp_path / "fpga") / "src"
    done = subprocess.run([build_bench(sources)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("PASS")) == (0, True), done.stdout

    for wrong, message in wrong_tests(make_self_test(ZCU104.build)):
        (sources / "testbench_memory.h").write_text(memory_header(wrong))
        done = subprocess.run([build_bench(sources)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stdout


def wrong_tests(test: SelfTest) -> list[tuple[SelfTest, str]]:
    """Tests that expect something else than the golden model, and what the bench must say."""
    after = test.after.copy()
    after[-1] ^= 1
    ending = replace(test.ending, descriptor=test.ending.descriptor + 1)
    where = f"1 bytes of memory differ, the first at {len(after) - 1:#x}"
    return [
        (replace(test, after=after), where),
        (replace(test, ending=ending), "the golden model with"),
    ]
