"""Packed weights in the cache folder: written once, shared by tasks, checked, made again."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from gearshift.backends import Options
from gearshift.backends.native_backend import NativeBackend
from gearshift.backends.native_pack_file import HEADER, PackedWeights, open_pack, pack_folder
from gearshift.backends.native_weights import PAGE, Block, Placed, expert_block
from gearshift.errors import GearshiftError
from gearshift.graph import Graph, read_artifact
from gearshift.specialise import specialise
from gearshift_kernels.native.library import levels
from gearshift_kernels.native.pack import LINE, pack_matrix
from gearshift_kernels.native.structures import BFLOAT16, FLOAT32, INT8

MakeImage = Callable[..., np.ndarray]


@pytest.fixture(autouse=True)
def folder(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's pack files of bfloat16 will be."""
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path))
    found = pack_folder(artifact, "bfloat16")
    assert found is not None
    return found


@pytest.fixture
def run(artifact: Path, make_image: MakeImage) -> Callable[..., np.ndarray]:
    """A new session's first result for a task."""
    if not levels():
        pytest.skip("the native kernels were not compiled")

    def first_result(task: int, height: int = 24, memory: int | None = None) -> np.ndarray:
        backend = NativeBackend(Options(artifact, "bfloat16", 1, memory))
        program = specialise(read_artifact(artifact), task, 1, height)
        return backend.compile(program).run(make_image(1, height))

    return first_result


def tables(folder: Path) -> list[set[str]]:
    return [set(open_pack(path).table) for path in folder.iterdir()]


def forbid_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("packed again")

    monkeypatch.setattr(Block, "write", fail)
    monkeypatch.setattr("gearshift.specialise.fold_batch_norm", fail)
    monkeypatch.setattr("gearshift.specialise.embedding_table", fail)


def test_a_second_session_packs_and_folds_nothing(
    run: Callable[..., np.ndarray], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = run(0)
    (path,) = folder.iterdir()
    before = path.stat()
    forbid_packing(monkeypatch)
    np.testing.assert_array_equal(run(0), wanted)
    np.testing.assert_array_equal(run(0, memory=2 * 2 * PAGE), wanted)
    assert list(folder.iterdir()) == [path]
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_second_task_adds_its_router_and_its_decoder(
    run: Callable[..., np.ndarray], folder: Path
) -> None:
    run(0)
    (trunk,) = tables(folder)
    run(1)
    (added,) = (table for table in tables(folder) if table != trunk)
    assert not added & trunk
    assert {key.split()[0] for key in added} == {"router", "norm", "convolution", "linear"}
    assert all(".router." in key or "decoders.depth." in key for key in added)
    assert sum(key.startswith("expert ") for key in trunk) == 2 * 5
    run(3)
    assert len(list(folder.iterdir())) == 3


def test_another_size_adds_a_table(run: Callable[..., np.ndarray], folder: Path) -> None:
    run(0)
    before = tables(folder)
    run(0, height=32)
    (added,) = (table for table in tables(folder) if table not in before)
    assert added == {"table patch_embedding.table@4x5"}


def test_a_precision_has_a_folder_of_its_own(artifact: Path, folder: Path) -> None:
    assert pack_folder(artifact, "int8") != folder
    assert pack_folder(artifact, "bfloat16") == folder


def test_a_folder_without_a_card_has_none(tmp_path: Path) -> None:
    assert pack_folder(tmp_path, "bfloat16") is None


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def rewrite_header(place: int, change: Callable[[int], int]) -> Callable[[Path], None]:
    """Change one number of the header."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        magic, *numbers = HEADER.unpack_from(content)
        numbers[place] = change(numbers[place])
        HEADER.pack_into(content, 0, magic, *numbers)
        path.write_bytes(content)

    return damage


def other_magic(path: Path) -> None:
    path.write_bytes(b"GSPACK\0\0" + path.read_bytes()[8:])


def other_letter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[HEADER.size + 5] ^= 1
    path.write_bytes(content)


def block_outside(path: Path) -> None:
    """A table with the right checksum that names bytes behind the end of the file."""
    text = b'{"norm a b": [%d, 64]}' % (path.stat().st_size // 64 * 64)
    magic, version, size, _, _ = HEADER.unpack(path.read_bytes()[: HEADER.size])
    with open(path, "r+b") as file:
        file.write(HEADER.pack(magic, version, size, len(text), crc32(text)) + text)


def huge_table(path: Path) -> None:
    rewrite_header(2, lambda _: 2**62)(path)


DAMAGES = [truncate, lengthen, empty, other_magic, other_letter, block_outside, huge_table]


@pytest.mark.parametrize(
    "damage", [*DAMAGES, rewrite_header(0, lambda version: version + 1)], ids=lambda d: d.__name__
)
def test_a_damaged_file_is_made_again(
    run: Callable[..., np.ndarray], folder: Path, damage: Callable[[Path], None]
) -> None:
    wanted = run(2)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    damage(path)
    np.testing.assert_array_equal(run(2), wanted)
    assert list(folder.iterdir()) == [path]
    assert path.read_bytes() == content


def test_the_loss_of_the_trunk_keeps_the_other_task(
    run: Callable[..., np.ndarray], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [run(0), run(1)]
    (trunk,) = (path for path in folder.iterdir() if path.name.startswith("rooms"))
    trunk.unlink()
    np.testing.assert_array_equal(run(1), wanted[1])
    forbid_packing(monkeypatch)
    np.testing.assert_array_equal(run(1), wanted[1])


def test_files_may_be_deleted_while_they_are_used(
    artifact: Path, folder: Path, make_image: MakeImage, run: Callable[..., np.ndarray]
) -> None:
    graph = read_artifact(artifact)
    for memory in (None, 2 * 2 * PAGE):
        backend = NativeBackend(Options(artifact, "bfloat16", 1, memory))
        compiled = backend.compile(specialise(graph, 0))
        wanted = compiled.run(make_image())
        for path in folder.iterdir():
            path.unlink()
        compiled.run(make_image(seed=9))
        np.testing.assert_array_equal(compiled.run(make_image()), wanted)
        np.testing.assert_array_equal(run(0), wanted)


def test_two_that_pack_at_once_leave_one_whole_file(graph: Graph, folder: Path) -> None:
    block = some_expert(graph, BFLOAT16)
    late = PackedWeights(folder)

    def pack_meanwhile() -> dict[str, np.ndarray]:
        early.hold([block], "depth")
        return dict(block.make())

    early = PackedWeights(folder)
    slow = Block(block.key, block.fields, pack_meanwhile, block.alignment)
    late.hold([slow], "depth")
    (path,) = folder.iterdir()
    memory = [np.full(block.nbytes, 255, np.uint8) for _ in range(3)]
    again = PackedWeights(folder)
    again.hold([block], "depth")
    for weights, place in zip((early, late, again), memory, strict=True):
        weights.read(block, place)
    np.testing.assert_array_equal(memory[0], memory[1])
    np.testing.assert_array_equal(memory[0], memory[2])
    assert path.name.startswith("depth-")


def test_a_cache_that_cannot_be_written_is_named(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("GEARSHIFT_CACHE", str(file))
    with pytest.raises(GearshiftError, match="set GEARSHIFT_CACHE to a folder that you may write"):
        pack_folder(artifact, "float32")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "native").touch()
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        GearshiftError, match=r"cache folder .* cannot be written .*GEARSHIFT_CACHE"
    ):
        pack_folder(artifact, "float32")


def test_a_full_disk_leaves_nothing_behind(graph: Graph, folder: Path) -> None:
    block = some_expert(graph, BFLOAT16)

    def fail() -> dict[str, np.ndarray]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = Block(block.key, block.fields, fail, block.alignment)
    with pytest.raises(GearshiftError, match=r"No space left on device.*GEARSHIFT_CACHE"):
        PackedWeights(folder).hold([full], "depth")
    assert list(folder.iterdir()) == []


def test_a_task_of_any_name_has_a_file(graph: Graph, folder: Path) -> None:
    PackedWeights(folder).hold(
        [some_expert(graph, FLOAT32)], "../é" + "\N{MATHEMATICAL BOLD SMALL A}" * 300
    )
    (path,) = folder.iterdir()
    assert path.name.startswith("___é\N{MATHEMATICAL BOLD SMALL A}")


def some_expert(graph: Graph, precision: int) -> Block:
    base = "blocks.1.experts.2"
    names = [f"{base}.{part}" for part in ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")]
    return expert_block(tuple(names), graph.weights, precision)


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16, INT8])
def test_an_expert_is_one_block_of_whole_pages(graph: Graph, precision: int) -> None:
    block = some_expert(graph, precision)
    weights = PackedWeights(None)
    weights.hold([block], "depth")
    assert block.nbytes % PAGE == 0
    assert weights.address(block) % PAGE == 0
    assert all(offset % LINE == 0 for offset in block.offsets.values())
    memory = np.full(block.nbytes, 255, np.uint8)
    weights.read(block, memory)
    packed = pack_matrix(graph.weights["blocks.1.experts.2.fc2_weight"], precision)
    for name, wanted in (("fc2", packed.panels), ("fc2.scale", packed.scale)):
        if wanted is not None:
            start = block.offsets[name]
            found = memory[start : start + wanted.nbytes].view(wanted.dtype)
            np.testing.assert_array_equal(found, wanted.ravel())
    bias = memory[block.offsets["fc1_bias"] :][: 32 * 4].view(np.float32)
    np.testing.assert_array_equal(bias[:18], graph.weights["blocks.1.experts.2.fc1_bias"])
    assert not bias[18:].any()
    end = block.offsets["fc2_bias"] + 32 * 4
    assert precision == INT8 or not memory[end:].any()


def test_arrays_that_a_block_has_not_are_null(graph: Graph) -> None:
    expert = Placed(some_expert(graph, FLOAT32), 4096).expert(18, 21)
    assert (expert.fc1.scale or 0, expert.fc1.correction or 0) == (0, 0)
    assert expert.fc1.panels == 4096
    assert struct.calcsize(HEADER.format) == HEADER.size
