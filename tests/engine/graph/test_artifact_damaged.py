"""Damaged and hostile artifacts: each ends in one clear line. Hashes are right unless tested."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from gearshift.errors import ArtifactError
from gearshift.graph import read_artifact

Change = Callable[[ModelProto], object]
Refuse = Callable[..., None]


def weight(model: ModelProto, name: str) -> TensorProto:
    (found,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    return found


def place(model: ModelProto, key: str, value: str, name: str = "blocks.0.mlp.fc1_weight") -> None:
    (entry,) = [e for e in weight(model, name).external_data if e.key == key]
    entry.value = value


def test_missing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nothing\.gs is no folder"):
        read_artifact(tmp_path / "nothing.gs")
    with pytest.raises(ArtifactError, match=r"card\.toml is no folder"):
        read_artifact(folder / "card.toml")


@pytest.mark.parametrize("name", ["card.toml", "model.onnx", "weights.bin"])
def test_a_file_is_missing_or_no_file(name: str, folder: Path, refuse: Refuse) -> None:
    (folder / name).rename(folder / "aside")
    refuse(f"{name}: no such file;")
    os.mkfifo(folder / name)
    refuse(f"{name}: no such file;")


@pytest.mark.parametrize("name", ["card.toml", "model.onnx", "weights.bin"])
def test_links_stay_inside(name: str, folder: Path, tmp_path: Path, refuse: Refuse) -> None:
    (folder / name).rename(folder / "inside")
    (folder / name).symlink_to("inside")
    read_artifact(folder)
    (folder / "inside").rename(tmp_path / "outside")
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "outside")
    refuse(f"{name}: a link that leaves the artifact")


def test_a_linked_folder_is_fine(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link.gs").symlink_to(folder)
    read_artifact(tmp_path / "link.gs")


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin"])
@pytest.mark.parametrize("change", [-1, 1])
def test_size_differs_from_card(name: str, change: int, folder: Path, refuse: Refuse) -> None:
    size = (folder / name).stat().st_size
    os.truncate(folder / name, size + change)
    refuse(f"{name}: size {size + change}", f"card.toml says {size} bytes")


def test_hash_differs_from_card(folder: Path, refuse: Refuse) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    refuse("model.onnx: sha256", "but card.toml says", "export the model again")


@pytest.mark.parametrize(("name", "limit"), [("model.onnx", 2**24), ("card.toml", 2**18)])
def test_huge_files_are_not_read(name: str, limit: int, folder: Path, refuse: Refuse) -> None:
    os.truncate(folder / name, 2**40)
    refuse(f"{name}: size {2**40}; at most {limit} bytes")


def test_weights_shorter_than_the_model_says(
    folder: Path, edit_card: Callable[..., None], refuse: Refuse
) -> None:
    size = (folder / "weights.bin").stat().st_size
    os.truncate(folder / "weights.bin", size - 4096)
    edit_card(lambda table: table["files"]["weights.bin"].update(size=size - 4096))
    refuse(f"weights.bin: size {size - 4096}, but model.onnx says {size} bytes")


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08", b"PK\x03\x04", b"\x3a\xff\x01"])
def test_no_protobuf(
    content: bytes, folder: Path, put_model: Callable[[bytes], None], refuse: Refuse
) -> None:
    put_model(content or b"\n\0")
    refuse("model.onnx: ")


def test_deep_nesting(folder: Path, put_model: Callable[[bytes], None], refuse: Refuse) -> None:
    """Messages within messages, which a parser must not follow to the end of its stack."""

    def field(number: int, content: bytes) -> bytes:
        size, digits = len(content), b""
        while size >= 128:
            digits, size = digits + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + digits + bytes([size]) + content

    content = b""
    for _ in range(2000):
        content = field(1, field(5, field(6, content)))  # graph.node.attribute.g
    put_model(field(7, content))
    refuse("model.onnx: not an ONNX model")


EXTERNAL: dict[str, tuple[Change, str]] = {
    "absolute path": (lambda m: place(m, "location", "/etc/passwd"), "location '/etc/passwd'"),
    "parent": (lambda m: place(m, "location", "../weights.bin"), "location '../weights.bin'"),
    "subfolder": (lambda m: place(m, "location", "a/weights.bin"), "location 'a/weights.bin'"),
    "same file": (lambda m: place(m, "location", "./weights.bin"), "location './weights.bin'"),
    "negative offset": (lambda m: place(m, "offset", "-4096"), "offset '-4096'"),
    "no number": (lambda m: place(m, "offset", "0x1000"), "offset '0x1000'"),
    "unaligned": (lambda m: place(m, "offset", "4"), "offset '4'"),
    "past the end": (lambda m: place(m, "offset", str(2**63)), f"offset '{2**63}'"),
    "overlapping": (lambda m: place(m, "offset", "0"), "offset '0'"),
    "negative length": (lambda m: place(m, "length", "-1"), "length '-1'"),
    "wrong length": (lambda m: place(m, "length", "4"), "length '4'"),
    "no place": (
        lambda m: weight(m, "patch_embedding.bias").ClearField("external_data"),
        "location None",
    ),
    "inside": (
        lambda m: weight(m, "patch_embedding.bias").CopyFrom(
            helper.make_tensor("patch_embedding.bias", 1, [3000], [0.0] * 3000)
        ),
        "'patch_embedding.bias' holds its data inside model.onnx",
    ),
    "doubles": (
        lambda m: setattr(weight(m, "patch_embedding.bias"), "data_type", TensorProto.DOUBLE),
        "ONNX data type 11, not 1",
    ),
    "negative dimension": (
        lambda m: weight(m, "patch_embedding.bias").dims.__setitem__(0, -21),
        "impossible shape (-21,)",
    ),
    "product overflows": (
        lambda m: weight(m, "patch_embedding.bias").dims.extend([2**62, 2**62]),
        f"length '84', not '{21 * 4 * 2**124}'",
    ),
    "thousands of dimensions": (
        lambda m: weight(m, "patch_embedding.bias").dims.extend([2**62] * 100_000),
        "impossible shape (21, 4611686018427387904",
    ),
    "scalar": (
        lambda m: weight(m, "patch_embedding.bias").ClearField("dims"),
        "impossible shape ()",
    ),
    "same name": (
        lambda m: setattr(m.graph.initializer[1], "name", m.graph.initializer[0].name),
        "two weights have the name 'patch_embedding.weight'",
    ),
}


@pytest.mark.parametrize("fault", EXTERNAL)
def test_external_data(
    fault: str, folder: Path, edit_model: Callable[..., None], refuse: Refuse
) -> None:
    change, words = EXTERNAL[fault]
    edit_model(change)
    refuse("model.onnx: ", "weight", words)
