"""Bundles on disk: the same bytes back, and nothing believed that was not checked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from gearshift.errors import ArtifactError, InputError
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile import compile_bundle
from gearshift_hls.compile.files import load_bundle, save_bundle

from ..quantise.quantised_models import SMALL_BOARD, ModelMaker


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_bundle("random", SMALL_BOARD, ModelMaker().make())


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, "for people\n", tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_bundle_comes_back_as_it_was(bundle: Bundle, folder: Path) -> None:
    loaded = load_bundle(folder)
    np.testing.assert_array_equal(loaded.constants, bundle.constants)
    assert replace(loaded, constants=bundle.constants) == bundle
    assert list(loaded.tasks) == list(bundle.tasks)
    assert (folder / "listing.txt").read_text() == "for people\n"


def test_a_bundle_is_replaced_whole(bundle: Bundle, folder: Path) -> None:
    save_bundle(replace(bundle, model="newer"), "", folder)
    assert load_bundle(folder).model == "newer"
    assert list(folder.parent.iterdir()) == [folder]
    with pytest.raises(UnicodeEncodeError):
        save_bundle(bundle, "a listing that no file can hold: \ud800", folder)
    assert load_bundle(folder).model == "newer"
    assert list(folder.parent.iterdir()) == [folder]


def test_nothing_but_a_bundle_is_replaced(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.tex', which is no part of a bundle"):
        save_bundle(bundle, "", tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        save_bundle(bundle, "", tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def change(path: tuple[str | int, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(table: dict[str, Any]) -> None:
        at: Any = table
        for step in path[:-1]:
            at = at[step]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return apply


HOSTILE: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("format_version",), 2, "format_version 2; this gearshift reads 1"),
    (("surprise",), 1, "unknown field surprise"),
    (("model",), None, "field model is missing"),
    (("memory_bytes",), 1, "field memory_bytes is 1; want"),
    (("memory_bytes",), (1 << 31) + 64, "field memory_bytes"),
    (("height",), 7, "does not hold the patches"),
    (("height",), 1 << 40, "field height is"),
    (("build", "input_lanes"), 24, r"field build.input_lanes is 24; want a power of two"),
    (("build", "input_lanes"), 0, "want a power of two"),
    (("build", "input_lanes"), True, "field build.input_lanes is True; want a whole number"),
    (("build", "scratch_bytes"), 100, "want a multiple of 64"),
    (("build", "scratch_bytes"), 1 << 40, "at most"),
    (("build", "weight_ports"), 64, "want at most output_lanes"),
    (("build", "max_tokens"), 8, "'rooms': descriptor 3 is BAD_SIZE"),
    (("build", "max_heads"), None, "field build.max_heads is missing"),
    (("constants", "size"), 64, r"constants.bin: size \d+, but bundle.toml says 64"),
    (("constants", "sha256"), "0" * 64, "sha256 is not what bundle.toml says"),
    (("tasks",), [], "want at least one"),
    (("tasks", 1, "name"), "rooms", "each name once"),
    (("tasks", 0, "program"), 32, "program lies outside"),
    (("tasks", 0, "program"), 1 << 40, "program lies outside"),
    (("tasks", 0, "program"), -64, "field tasks.0..program is -64"),
    (("tasks", 0, "descriptors"), 1 << 50, "program lies outside"),
    (("tasks", 0, "descriptors"), 2, r"\d+ names for 2 descriptors"),
    (("tasks", 0, "names"), ["x"], "1 names for"),
    (("tasks", 0, "names"), ["\x1b[2J"], "strings that can be printed"),
    (("tasks", 0, "input", "address"), 0, "its input lies outside"),
    (("tasks", 0, "input", "address"), 1 << 31, "its input lies outside"),
    (("tasks", 0, "input", "dtype"), "int8", "field tasks.0..input.dtype is 'int8'"),
    (("tasks", 0, "input", "shape"), [13, 1 << 40], "shape"),
    (("tasks", 0, "input", "shape"), [14, 16], "does not hold the patches"),
    (("tasks", 0, "input", "shape"), [3, 4, 16], "does not hold the patches"),
    (("tasks", 0, "input", "patch_size"), 0, "field tasks.0..input.patch_size"),
    (("tasks", 0, "input", "patch_size"), 3, "does not hold the patches"),
    (("tasks", 0, "input", "low"), [0.0, 1.0], "three numbers"),
    (("tasks", 0, "input", "scale"), None, "scale is missing"),
    (("tasks", 0, "output", "address"), 3, "its output lies outside"),
    (("tasks", 0, "output", "dtype"), "object", "dtype is 'object'"),
    (("tasks", 0, "output", "channels"), 1000, "fewer than 1000 channels"),
    (("tasks", 0, "output", "scale"), float("nan"), "finite"),
    (("tasks", 0, "output", "scale"), None, "scale is missing"),
    (("tasks", 0, "output", "shape"), [], "shape is "),
]


@pytest.mark.parametrize(("path", "value", "message"), HOSTILE)
def test_hostile_fields(
    folder: Path, path: tuple[str | int, ...], value: Any, message: str
) -> None:
    file = folder / "bundle.toml"
    table = tomllib.loads(file.read_text())
    change(path, value)(table)
    file.write_bytes(tomli_w.dumps(table).encode())
    with pytest.raises(ArtifactError, match=message) as caught:
        load_bundle(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    assert "compile the model again" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not TOML"),
        (b"x = [" + b"[" * 100_000, "not TOML"),
        (b"x = '" + b"a" * (1 << 20) + b"'", "size over"),
        (b"", "format_version is missing"),
    ],
)
def test_files_that_are_no_bundles(folder: Path, content: bytes, message: str) -> None:
    (folder / "bundle.toml").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["bundle.toml", "constants.bin"])
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: No such file"):
        load_bundle(folder)


def test_a_program_that_would_not_run_is_refused(bundle: Bundle, folder: Path) -> None:
    task = bundle.tasks["depth"]
    for number, word, value, name in (
        (3, 0, 77, "BAD_OPCODE"),
        (3, 0, 0, "BAD_OPCODE"),  # an end before the end
        (task.descriptors - 1, 0, 1, "BAD_OPCODE"),  # none at the end
        (0, 10, 4, "BAD_ADDRESS"),
        (0, 1, 0, "BAD_SIZE"),
    ):
        constants = bundle.constants.copy()
        start = task.program + 128 * number + 4 * word
        constants[start : start + 4] = np.array([value], "<u4").view(np.uint8)
        constants.tofile(folder / "constants.bin")
        table = tomllib.loads((folder / "bundle.toml").read_text())
        table["constants"]["sha256"] = sha256(constants.tobytes()).hexdigest()
        (folder / "bundle.toml").write_text(tomli_w.dumps(table))
        with pytest.raises(ArtifactError, match=f"'depth': descriptor {number} is {name}"):
            load_bundle(folder)
