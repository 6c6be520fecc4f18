"""Packs of compiled kernels: found by another process, movable, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from triton import knobs

from gearshift_kernels.triton import pack as module
from gearshift_kernels.triton.pack import pack, use_pack

from .test_ahead import Child, child

__all__ = ["child"]


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_a_run_finds_its_kernels_in_a_moved_pack(child: Child, target: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert child("packed", target, str(first))[0] == [4, 0]
    shutil.copytree(first, tmp_path / "copy")
    shutil.rmtree(first)
    moved = (tmp_path / "copy").rename(tmp_path / "moved")
    files = sorted(moved.rglob("*.json"))
    found, _ = child("found_again", target, str(moved))
    assert found == {"names": ["linear_kernel"] * 2 + ["asked for another"], "cache": str(moved)}
    assert sorted(moved.rglob("*.json")) == files


def make_kernel(folder: Path, name: str) -> Path:
    """A kernel's folder as Triton leaves it."""
    kernel = folder / name
    kernel.mkdir(parents=True)
    files = {"k.cubin": b"\0binary", "k.json": b"{}"}
    for file, content in files.items():
        (kernel / file).write_bytes(content)
    group = {"child_paths": {file: str(kernel / file) for file in files}}
    (kernel / "__grp__k.json").write_text(json.dumps(group))
    return kernel


def paths(kernel: Path) -> list[str]:
    group = json.loads((kernel / "__grp__k.json").read_text())
    return list(group["child_paths"].values())


@pytest.fixture
def kernels(tmp_path: Path) -> list[Path]:
    return [make_kernel(tmp_path / "cache", name) for name in ("A", "B", "C")]


def test_packed_groups_name_the_files_beside_them(kernels: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    assert pack([*kernels, kernels[0]], folder) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["A", "B", "C"]
    assert paths(folder / "A") == [str(folder / "A" / name) for name in ("k.cubin", "k.json")]
    assert all(Path(path).is_file() for path in paths(folder / "A"))
    assert paths(kernels[0])[0].startswith(str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda kernel: (kernel / "k.cubin").unlink(),
        lambda kernel: (kernel / "__grp__k.json").write_text("{"),
        lambda kernel: (kernel / "__grp__k.json").write_text('{"child_paths": 5}'),
        lambda kernel: (kernel / "__grp__k.json").unlink(),
    ],
)
def test_a_damaged_kernel_is_packed_again(
    damage: object, kernels: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "pack"
    pack(kernels, folder)
    assert callable(damage)
    damage(folder / "B")
    use_pack_here(folder)
    assert pack(kernels, folder) == 1
    assert all(Path(path).is_file() for path in paths(folder / "B"))


def use_pack_here(folder: Path) -> None:
    with knobs.cache.scope():
        use_pack(folder)
        assert knobs.cache.dir == str(folder)


def test_what_is_no_kernel_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "helper").mkdir()
    (tmp_path / "helper" / "cuda_utils.so").write_bytes(b"")
    (tmp_path / "note.txt").write_text("mine")
    use_pack_here(tmp_path)
    use_pack_here(tmp_path / "none")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "cuda_utils.so", "helper", "note.txt"
    ]  # fmt: skip


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_whole_or_not_at_all(
    failing: int, kernels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pack"
    pack(kernels[:1], folder)
    rename, calls = Path.rename, 0

    def fail_once(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(module.Path, "rename", fail_once)
    more = [*kernels, make_kernel(tmp_path / "cache", "D")]
    with pytest.raises(OSError, match="disk full"):
        pack(more, folder)
    assert [path.name for path in folder.iterdir()] == ["A"]
