"""The hash of the weights: compared once, remembered, and compared again when the file changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gearshift.cache import cache_folder
from gearshift.errors import ArtifactError, GearshiftError
from gearshift.graph import verify_artifact


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one each time a file is hashed."""
    calls: list[str] = []
    digest = hashlib.file_digest

    def counted(file: object, name: str) -> object:
        calls.append(name)
        return digest(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return calls


def flip_a_bit(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))


def test_success_is_remembered(folder: Path, hashed: list[str]) -> None:
    verify_artifact(folder)
    verify_artifact(folder)
    assert hashed == ["sha256"]


def test_a_changed_byte_is_found_even_after_success(folder: Path, hashed: list[str]) -> None:
    verify_artifact(folder)
    flip_a_bit(folder / "weights.bin")
    os.utime(folder / "weights.bin", ns=(1, 1))
    for _ in range(2):  # failure is not remembered
        with pytest.raises(ArtifactError, match=r"weights\.bin: sha256 .* but card\.toml says"):
            verify_artifact(folder)
    assert len(hashed) == 3


def test_works_without_a_cache(
    folder: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(folder / "card.toml"))
    with pytest.raises(GearshiftError, match="set GEARSHIFT_CACHE to a folder"):
        cache_folder()
    verify_artifact(folder)
    verify_artifact(folder)
    assert len(hashed) == 2


def test_missing_weights(folder: Path) -> None:
    (folder / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"weights\.bin: no such file"):
        verify_artifact(folder)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"GEARSHIFT_CACHE": "{0}/a", "XDG_CACHE_HOME": "{0}/b"}, "{0}/a"),
        ({"GEARSHIFT_CACHE": "", "XDG_CACHE_HOME": "{0}/b"}, "{0}/b/gearshift"),
        ({"GEARSHIFT_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "{0}"}, "{0}/.cache/gearshift"),
        ({"GEARSHIFT_CACHE": "~/c", "HOME": "{0}"}, "{0}/c"),
    ],
)
def test_cache_folder(
    variables: dict[str, str], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert cache_folder() == Path(wanted.format(tmp_path))
    assert cache_folder().is_dir()
