"""Artifacts to write and to damage; the graphs themselves come from the folder above."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from onnx import ModelProto

from gearshift.errors import ArtifactError
from gearshift.graph import Graph, read_artifact, write_artifact

Table = dict[str, Any]


@pytest.fixture(scope="session")
def good_artifact(
    make_graph: Callable[..., Graph], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("good") / "small.gs"
    write_artifact(make_graph(depth=2, experts=3), path)
    return path


@pytest.fixture
def folder(good_artifact: Path, tmp_path: Path) -> Path:
    """A fresh small artifact with four tasks, to be damaged."""
    return Path(shutil.copytree(good_artifact, tmp_path / "small.gs"))


@pytest.fixture
def refuse(folder: Path) -> Callable[..., None]:
    """`refuse(*words)`: reading the artifact must fail in one line that holds all words."""

    def check(*words: str) -> None:
        with pytest.raises(ArtifactError) as caught:
            read_artifact(folder)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 700
        for word in (folder.name, *words):
            assert word in message, message

    return check


@pytest.fixture
def edit_card(folder: Path) -> Callable[[Callable[[Table], object]], None]:
    """`edit_card(change)`: let `change` work on the table of `card.toml`."""

    def edit(change: Callable[[Table], object]) -> None:
        path = folder / "card.toml"
        table = tomllib.loads(path.read_text())
        change(table)
        path.write_text(tomli_w.dumps(table))

    return edit


@pytest.fixture
def put_model(folder: Path, edit_card: Callable[..., None]) -> Callable[[bytes], None]:
    """`put_model(content)`: a new `model.onnx`, with a card that gives its right hash."""

    def put(content: bytes) -> None:
        (folder / "model.onnx").write_bytes(content)
        record = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        edit_card(lambda table: table["files"]["model.onnx"].update(record))

    return put


@pytest.fixture
def edit_model(folder: Path, put_model: Callable[[bytes], None]) -> Callable[..., None]:
    """`edit_model(change)`: let `change` work on the ONNX model; hashes are put right again."""

    def edit(change: Callable[[ModelProto], object]) -> None:
        model = ModelProto.FromString((folder / "model.onnx").read_bytes())
        change(model)
        put_model(model.SerializeToString())

    return edit
