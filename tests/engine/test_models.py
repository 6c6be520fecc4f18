"""A model by folder or by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gearshift import models
from gearshift.errors import ArtifactError

BUILT = Path("built.gs")


def build() -> Path:
    return BUILT


@pytest.fixture(autouse=True)
def _two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_entries(group: str) -> dict[str, EntryPoint]:
        assert group == "gearshift.models"
        load = staticmethod(lambda: build)
        kind = type("Found", (EntryPoint,), {"load": load})
        return {name: kind(name, "nowhere:build", group) for name in ("small", "demo")}

    monkeypatch.setattr(models, "find_entries", find_entries)


def test_names_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert models.find_model("demo") == BUILT
    assert models.find_model("./demo") == Path("demo")
    assert models.find_model(str(tmp_path)) == tmp_path
    assert models.find_model(tmp_path) == tmp_path


def test_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.gs").mkdir()
    assert models.find_model("~/mine.gs") == tmp_path / "mine.gs"


def test_neither(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model 'big' is neither .* \(demo, small\)"):
        models.find_model("big")
    file = tmp_path / "model.onnx"
    file.touch()
    with pytest.raises(ArtifactError, match="neither a folder nor a name"):
        models.find_model(file)
