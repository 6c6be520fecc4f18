"""`gearshift kernels`: real compilation runs in processes of its own, without the interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gearshift.cli import main
from gearshift.commands import kernels_compile, kernels_launches, kernels_tune
from gearshift.errors import InputError
from gearshift.graph import Graph, write_artifact
from gearshift.specialise import specialise
from gearshift_kernels.triton.targets import TARGETS

Run = Callable[..., subprocess.CompletedProcess[str]]

KERNELS = {
    "patch_embedding", "linear", "attention", "layer_norm", "router", "expert_queues",
    "expert_fc1", "expert_fc2", "combine", "upsample_conv",
}  # fmt: skip
"""What every program of a model with experts and decoders launches."""


@pytest.fixture
def compiling(cache: Path) -> Run:
    """Run Python in a process that compiles kernels, with caches that all tests here share."""
    environment = {
        **os.environ,
        "GEARSHIFT_CACHE": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
    }
    environment.pop("TRITON_INTERPRET", None)

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


def gearshift(*arguments: str) -> list[str]:
    return ["-m", "gearshift.cli", "kernels", *arguments]


def check_table(table: dict[str, Any], targets: set[str], precisions: set[str]) -> None:
    """No 16-bit kernel spills, and every kernel fits."""
    rows = table["kernels"]
    assert {row["target"] for row in rows} == targets
    assert {row["precision"] for row in rows} == precisions
    for row in rows:
        target = TARGETS[row["target"]]
        assert row["shared"] <= row["shared_limit"] == target.shared_of_block, row
        assert 0 < row["registers"] <= target.registers_of_thread, row
        assert 0 < row["occupancy"] <= 1, row
        if row["precision"] in kernels_launches.SIXTEEN_BIT:
            assert row["spills"] == 0, row
    for target_name in targets:
        names = [(row["name"], row["dtype"]) for row in rows if row["target"] == target_name]
        assert {name.split()[0] for name, _ in names} >= KERNELS
        assert len(set(names)) == len(names)


def test_kernels_of_tiny_fit_and_do_not_spill(compiling: Run, tmp_path: Path) -> None:
    output = tmp_path / "table.json"
    options = ["--model", "tiny", "--target", "sm_80,sm_90", "--json", "-o", str(output)]
    table = json.loads(compiling(*gearshift("compile", *options)).stdout)
    assert json.loads(output.read_text()) == table
    check_table(table, {"sm_80", "sm_90"}, {"float16", "bfloat16"})


@pytest.mark.slow
@pytest.mark.parametrize("target", list(TARGETS))
def test_kernels_of_every_model_on_every_target(target: str, compiling: Run) -> None:
    options = ["--target", target, "--precision", "all", "--json"]
    table = json.loads(compiling(*gearshift("compile", *options)).stdout)
    precisions = {"float32", "float16", "bfloat16", "int8"}
    if TARGETS[target].has_float8:
        precisions.add("float8")
    check_table(table, {target}, precisions)


WARM_UP = """
import sys
from pathlib import Path
from triton.compiler import compiler
from gearshift.backends.triton_plan import plan_launches
from gearshift.commands.kernels_launches import programs
from gearshift_kernels.triton import ahead
from gearshift_kernels.triton.pack import use_pack

model, folder, target, precision = sys.argv[1:]
make_backend = compiler.make_backend

def without_compiler(target):
    backend = make_backend(target)
    def add_stages(*_):
        raise LookupError
    backend.add_stages = add_stages
    return backend

compiler.make_backend = without_compiler
use_pack(Path(folder))
launches = [l for p in programs(model) for l in plan_launches(p, target, precision)]
with ahead.stand_in(ahead.find_target(target)):
    for launch in launches:
        try:
            launch.kernel.warmup(**launch.arguments, **launch.options, grid=(1,))
        except LookupError:
            raise SystemExit(f"not in the pack: {launch.key}")
print(len(launches))
"""


def test_a_pack_holds_every_kernel_of_a_model(
    compiling: Run, artifact: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pack"
    command = gearshift("pack", str(artifact), "--target", "sm_90", "-o", str(folder))
    said = compiling(*command).stdout
    kernels = [path for path in folder.iterdir() if list(path.glob("*.cubin"))]
    assert said == f"{len(kernels)} kernels of {artifact} in {folder}, {len(kernels)} of them new\n"
    assert len(kernels) >= len(KERNELS)
    moved = folder.rename(tmp_path / "moved")
    warm_up = ["-c", WARM_UP, str(artifact), str(moved), "sm_90"]
    assert int(compiling(*warm_up, "bfloat16").stdout) > len(kernels)
    assert "not in the pack: patch_embedding" in compiling(*warm_up, "float16", check=False).stderr


def test_where_kernels_are_interpreted_none_is_compiled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gearshift_kernels.triton.launch import is_interpreted

    if not is_interpreted():
        pytest.skip("kernels are not interpreted here")
    for action in (["compile"], ["pack", "demo", "--target", "sm_90"], ["tune", "demo"]):
        assert main(["kernels", *action]) == 1
        assert capsys.readouterr().err == (
            "gearshift: TRITON_INTERPRET is set, so that no kernel is compiled: unset it\n"
        )


def test_without_triton_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels_launches, "find_spec", lambda name: None)
    assert main(["kernels", "compile"]) == 1
    assert capsys.readouterr().err.endswith("pip install 'gearshift[gpu]'\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compile", "--target", "sm_75"), "unknown target 'sm_75': choose from sm_80, "),
        (("compile", "--target", "sm_80,"), "unknown target ''"),
        (("compile", "--precision", "bf16"), "unknown precision 'bf16': choose from float32, "),
        (("compile", "--model", "none"), "model 'none' is neither"),
        (("pack", "none", "--target", "sm_80"), "model 'none' is neither"),
        (("pack", "demo", "--target", "sm_80", "--precision", "float8"), "sm_80: no float8"),
        (("tune", "demo", "--precision", "bf16"), "unknown precision|torch finds none"),
    ],
)
def test_wrong_requests_are_one_line(
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gearshift_kernels.triton.launch.is_interpreted", lambda: False)
    assert main(["kernels", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert any(part in line for part in words.split("|")), line


def test_pack_needs_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["kernels", "pack", "demo"])
    assert end.value.code == 2
    assert "--target" in capsys.readouterr().err


def row(**values: Any) -> dict[str, Any]:
    return {
        "name": "linear 64x64x32", "dtype": "bfloat16", "target": "sm_86", "precision": "bfloat16",
        "registers": 64, "spills": 0, "shared": 1024, "shared_limit": 101_376, "occupancy": 0.5,
        **values,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, None),
        ({"spills": 48, "precision": "float32", "dtype": "float32"}, None),
        ({"spills": 48, "precision": "int8", "dtype": "int8"}, None),
        ({"spills": 48}, "spills 48 bytes of registers"),
        # A kernel that computes in float32 belongs to a program in bfloat16 all the same.
        ({"spills": 48, "dtype": "float32"}, "spills 48 bytes of registers"),
        (
            {"shared": 110_000, "occupancy": 0.0, "precision": "float32"},
            "needs 110,000 bytes of shared memory, a block may have 101,376",
        ),
        ({"occupancy": 0.0}, "does not fit a multiprocessor: 64 registers"),
    ],
)
def test_what_is_wrong_with_a_kernel(values: dict[str, Any], words: str | None) -> None:
    problems = kernels_compile._problems(row(**values))
    assert problems == ([f"kernel linear 64x64x32 {row(**values)['dtype']} on sm_86 {words}"]
                        if words else [])  # fmt: skip


def test_a_spilling_kernel_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from gearshift_kernels.triton.ahead import Resources

    def compile_programs(needed: object, target: str, precision: str) -> list[Resources]:
        spills = 8 if (target, precision) == ("sm_86", "float16") else 0
        folder = Path(f"{target}-{precision}")
        kernel = Resources("k 64", precision, target, 64, spills, 0, 0, 4, 2, 0.25, 1.5, folder)
        # All precisions but one need the same second kernel.
        other = Path(f"{target}-{precision == 'float16'}")
        return [kernel, Resources("router", "float32", target, 32, 0, 0, 0, 4, 1, 1.0, 0, other)]

    monkeypatch.setattr(kernels_launches, "check_compiler", lambda: None)
    monkeypatch.setattr(kernels_launches, "programs", lambda model: [])
    monkeypatch.setattr(kernels_launches, "compile_programs", compile_programs)
    output = tmp_path / "table.json"
    arguments = ["--target", "sm_86,sm_90", "--precision", "all", "-o", str(output)]
    assert main(["kernels", "compile", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "sm_86 has no float8: left out",
        "gearshift: kernel k 64 float16 on sm_86 spills 8 bytes of registers",
    ]
    assert "13 kernels for sm_86, sm_90; 1 of them spill registers" in printed.out
    assert "25%" in printed.out
    rows = json.loads(output.read_text())["kernels"]
    names = [row["name"] for row in rows if row["target"] == "sm_90"]
    assert names == ["k 64", "router", "k 64", "router #2", *["k 64"] * 3]
    assert rows[0]["shared_limit"] == TARGETS["sm_86"].shared_of_block
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_the_table_is_kept_in_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels_launches, "check_compiler", lambda: None)
    monkeypatch.setattr(kernels_launches, "programs", lambda model: [])
    monkeypatch.setattr(kernels_launches, "compile_programs", lambda *_: [])
    assert main(["kernels", "compile", "--json"]) == 0
    kept = (cache / "kernel-resources.json").read_text()
    assert json.loads(kept) == json.loads(capsys.readouterr().out) == {"kernels": []}


def test_candidates_cut_the_same_axes(make_graph: Callable[..., Graph]) -> None:
    from gearshift.backends.triton_plan import plan_launches

    program = specialise(make_graph(), 0)
    for precision in ("float32", "bfloat16", "int8"):
        tried = set()
        for launch in plan_launches(program, "sm_90", precision):
            found = kernels_tune.candidates(launch)
            assert all(set(tiles.blocks) == set(launch.tiles.blocks) for tiles in found)
            if found:
                assert launch.tiles in found
                tried.add(launch.name)
        products = {"linear", "patch_embedding", "attention", "expert_fc1", "expert_fc2"}
        assert tried == {*products, "upsample_conv", "router", "expert_queues", "combine"}


def test_every_launch_of_a_model_is_tuned_on_a_real_run(
    make_graph: Callable[..., Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x.gs"
    write_artifact(make_graph(depth=2, height=8, width=16, stages=1), folder)
    monkeypatch.setattr(kernels_tune, "candidates", lambda launch: ())
    ran = []

    def clock(run: Callable[[], None]) -> float:
        run()
        ran.append(run.__self__.key)  # type: ignore[attr-defined]
        return 2.0

    found = kernels_tune.tune_model(folder, "float32", clock)
    assert [m.key for m in found] == ran
    assert len(set(ran)) == len(ran)
    assert {key.split()[0] for key in ran} >= KERNELS
    assert all(m.time == m.time_before == 2.0 for m in found)
    assert "2000.0 us" in kernels_tune._text(found)


def test_lists_of_names() -> None:
    assert kernels_launches.choose("target", "b,a,b", ["a", "b"]) == ["b", "a"]
    assert kernels_launches.choose("target", "all", ["a", "b"]) == ["a", "b"]
    # A kernel that precisions share counts as the first one's.
    assert kernels_launches.choose_precisions("float32,float16") == ["float16", "float32"]
    with pytest.raises(InputError, match="unknown target 'c'"):
        kernels_launches.choose("target", "c", ["a"])
