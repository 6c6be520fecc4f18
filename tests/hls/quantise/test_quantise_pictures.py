"""Which pictures calibrate."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import gearshift_hls.quantise.pictures as module
from gearshift.errors import InputError
from gearshift.graph.card import Card, Preprocessing, TaskCard, TaskKind
from gearshift_export.demo.calibration import pictures as rooms
from gearshift_export.demo.dataset import SPLIT_FIRST_SEED
from gearshift_export.demo.scenes import render_scene
from gearshift_hls.quantise.pictures import MOST_PICTURES, calibration_pictures

TASK = TaskCard("depth", TaskKind.DEPTH, 1)
CARD = Card("model", 32, 48, (TASK,), Preprocessing(255.0, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """An entry point that keeps what it was asked for and gives grey pictures."""
    asked = []

    def pictures(height: int, width: int, count: int) -> np.ndarray:
        asked.append((height, width, count))
        return np.full((count, height, width, 3), 128, np.uint8)

    entry = SimpleNamespace(load=lambda: pictures)
    monkeypatch.setattr(module, "find_entries", lambda group: {"grey": entry} if group else {})
    return asked


def test_the_users_folder_goes_first(tmp_path: Path, installed: list) -> None:
    for number in range(3):
        colour = (10 * number, 100, 200)
        Image.new("RGB", (60, 40), colour).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    found = calibration_pictures(CARD, 16, 24, tmp_path)
    assert found.shape == (3, 3, 16, 24)
    assert found.dtype == np.float32
    red = (np.arange(3) * 10 / 255 - 0.5) / 0.2
    np.testing.assert_allclose(found[:, 0, 8, 8], red, rtol=1e-6)
    assert not installed


def test_a_large_folder_is_thinned_evenly(tmp_path: Path) -> None:
    for number in range(70):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    found = calibration_pictures(CARD, 8, 8, tmp_path)
    numbers = np.rint((found[:, 0, 0, 0] * 0.2 + 0.5) * 255).astype(int)
    assert len(numbers) <= MOST_PICTURES
    np.testing.assert_array_equal(numbers, np.arange(0, 70, 3))


def test_without_a_folder_the_installed_ones(installed: list) -> None:
    found = calibration_pictures(CARD, 16, 24)
    assert found.shape == (MOST_PICTURES, 3, 16, 24)
    assert installed == [(16, 24, MOST_PICTURES)]


def test_large_pictures_are_fewer(installed: list) -> None:
    calibration_pictures(CARD, 512, 512)
    assert installed == [(512, 512, module.FEWEST_PICTURES)]


def test_no_pictures_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_entries", lambda group: {})
    with pytest.raises(InputError, match="give a folder of pictures"):
        calibration_pictures(CARD, 16, 24)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        calibration_pictures(CARD, 16, 24, tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        calibration_pictures(CARD, 16, 24, tmp_path / "missing")


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"broken\.png"):
        calibration_pictures(CARD, 16, 24, tmp_path)


def test_the_rooms_that_come_with_gearshift_were_trained_on() -> None:
    found = rooms(height=32, width=48, count=2)
    assert found.shape == (2, 32, 48, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[1], render_scene(1, 32, 48).image)
    assert len(found) + SPLIT_FIRST_SEED["train"] < SPLIT_FIRST_SEED["validation"]
