"""What is taken as a picture, what becomes of it, and one clear error for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gearshift.errors import InputError
from gearshift.graph import Card, TaskCard, TaskKind
from gearshift.graph.card import Preprocessing
from gearshift.pictures import load_pictures, open_picture

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CARD = Card("m", 6, 8, (TaskCard("d", TaskKind.DEPTH, 1),), Preprocessing(256.0, MEAN, DEVIATION))
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def normalised(channels_last: np.ndarray) -> np.ndarray:
    values = (channels_last.astype(np.float64) - MEAN) / DEVIATION
    return np.moveaxis(values, -1, -3)


WANTED = normalised(PIXELS / 256)[None]
UNIT = (PIXELS / 255).astype(np.float32)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS[None],
        np.moveaxis(PIXELS, -1, 0),
        np.moveaxis(PIXELS, -1, 0)[None],
        np.asfortranarray(PIXELS),
        np.repeat(PIXELS, 2, axis=1)[:, ::2],
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1)[None],
        [PIXELS],
    ],
    ids=[
        "PIL",
        "rows",
        "batch",
        "channels first",
        "batch of channels first",
        "Fortran order",
        "every second column",
        "torch",
        "torch batch of channels first",
        "list",
    ],
)
def test_bytes_in_every_form(picture: Any) -> None:
    found = load_pictures(picture, CARD)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, WANTED, atol=2e-6)


@pytest.mark.parametrize(
    ("picture", "tolerance"),
    [
        (UNIT, 2e-6),
        (UNIT.astype(np.float64), 2e-6),
        (UNIT.astype(np.float16), 5e-3),
        (UNIT.astype(">f4"), 2e-6),
        (torch.from_numpy(UNIT).bfloat16(), 3e-2),
        (torch.from_numpy(UNIT).requires_grad_(), 2e-6),
    ],
    ids=["float32", "float64", "float16", "big-endian", "bfloat16", "with gradient"],
)
def test_floats_are_taken_as_divided(picture: Any, tolerance: float) -> None:
    found = load_pictures(picture, CARD)
    np.testing.assert_allclose(found, normalised(UNIT)[None], atol=tolerance)


def test_the_users_array_stays_as_it_is() -> None:
    picture = UNIT.copy()
    load_pictures(picture, CARD)[:] = 9
    np.testing.assert_array_equal(picture, UNIT)
    load_pictures(np.ascontiguousarray(np.moveaxis(picture, -1, 0)), CARD)[:] = 9
    np.testing.assert_array_equal(picture, UNIT)


def test_channels_last_wins_when_both_axes_are_three() -> None:
    picture = np.zeros((3, 4, 3), np.uint8)
    picture[0] = 255
    found = load_pictures(picture, CARD)
    assert found.shape == (1, 3, 3, 4)
    assert (found[0, :, 0] > found[0, :, 1]).all()


def test_a_batch_of_pictures() -> None:
    found = load_pictures([Image.fromarray(PIXELS), Image.new("RGB", (80, 60))], CARD)
    assert found.shape == (2, 3, 6, 8)
    np.testing.assert_allclose(found[:1], WANTED, atol=2e-6)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_eight_bit_picture_is_made_rgb_and_resized(mode: str) -> None:
    picture = Image.fromarray(np.full((5, 9, 3), 255, np.uint8)).convert(mode)
    found = load_pictures(picture, CARD)
    assert found.shape == (1, 3, 6, 8)
    np.testing.assert_allclose(found, normalised(np.full((1, 6, 8, 3), 255 / 256)), atol=2e-6)


def test_a_file_is_turned_as_its_tag_says(tmp_path: Path) -> None:
    left_bright = np.zeros((6, 8, 3), np.uint8)
    left_bright[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    Image.fromarray(left_bright).save(tmp_path / "turned.png", exif=exif)
    assert open_picture(tmp_path / "turned.png").size == (6, 8)
    for given in (tmp_path / "turned.png", str(tmp_path / "turned.png")):
        found = load_pictures(given, CARD)[0, 0]
        assert found[0].min() > found[-1].max()


def test_nothing_is_turned_twice(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(PIXELS).save(tmp_path / "p.png", exif=exif)
    wanted = WANTED[:, :, ::-1, ::-1]
    np.testing.assert_allclose(load_pictures(tmp_path / "p.png", CARD), wanted, atol=2e-6)
    with Image.open(tmp_path / "p.png") as opened:
        np.testing.assert_allclose(load_pictures(opened, CARD), wanted, atol=2e-6)
    again = open_picture(tmp_path / "p.png")
    np.testing.assert_allclose(load_pictures(again, CARD), wanted, atol=2e-6)


def spoiled(value: float) -> np.ndarray:
    picture = UNIT.copy()
    picture[2, 3, 1] = value
    return picture


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (spoiled(np.nan), "NaN or infinity"),
        (spoiled(np.inf), "NaN or infinity"),
        (spoiled(-np.inf), "NaN or infinity"),
        (spoiled(255.0), "from 0.* to 255, outside 0..1: .*uint8 for 0..255"),
        (spoiled(-0.5), "from -0.5 to .*, outside 0..1"),
        (PIXELS.astype(np.int64), "image of int64: give uint8"),
        (PIXELS.astype(np.uint16), "image of uint16"),
        (PIXELS > 3, "image of bool"),
        (PIXELS.astype(object), "image of object"),
        (PIXELS.astype(np.complex64), "image of complex64"),
        (PIXELS[..., 0], "shape 6x8: give"),
        (PIXELS[None, None], "shape 1x1x6x8x3: give"),
        (np.array(3, np.uint8), "shape scalar"),
        (PIXELS[..., :1], "no axis of 3 channels"),
        (np.dstack([PIXELS, PIXELS[..., 0]]), "shape 6x8x4 has no axis of 3 channels"),
        (np.zeros((2, 4, 6, 8), np.uint8), "no axis of 3 channels"),
        (np.zeros((0, 6, 8, 3), np.uint8), "batch is empty"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        (np.zeros((6, 8, 0), np.uint8), "no pixels"),
        ([], "list of pictures is empty"),
        ([PIXELS, PIXELS[:3]], "different sizes in one batch: 3x8, 6x8"),
        (None, "NoneType is not a picture"),
        (3.5, "float is not a picture"),
        (b"RGB", "bytes is not a picture"),
        (torch.zeros(6, 8, 3).to_sparse(), "a sparse, quantised or meta tensor"),
        (torch.zeros(6, 8, 3, device="meta"), "a sparse, quantised or meta tensor"),
        (torch.zeros(6, 8, 3, dtype=torch.int32), "image of int32"),
        (Image.new("I;16", (8, 6)), "mode I;16 has no 8-bit channels"),
        (Image.new("F", (8, 6)), "mode F has no 8-bit channels"),
        (Image.new("RGB", (0, 6)), "picture is empty: its size is 0x6"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_clear_error(picture: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_pictures(picture, CARD)
    assert "\n" not in str(error.value)


def test_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole.png"
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "text.png").write_text("not a picture")
    for name, message in {
        "cut.png": "cut.png cannot be read",
        "text.png": "text.png is not a picture",
        "none.png": "none.png does not exist",
        ".": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=message):
            load_pictures(tmp_path / name, CARD)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="more than 2000 pixels"):
        load_pictures(whole, CARD)


def test_a_picture_that_fails_only_when_decoded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with (
        Image.open(tmp_path / "cut.png") as lazy,
        pytest.raises(InputError, match="cannot be decoded"),
    ):
        load_pictures(lazy, CARD)
