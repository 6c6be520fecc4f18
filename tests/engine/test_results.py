"""Results: what the raw output is turned into."""

from __future__ import annotations

import numpy as np
import pytest

from gearshift.errors import InputError
from gearshift.graph import TaskCard, TaskKind
from gearshift.results import (
    RAMP,
    DepthResult,
    NormalsResult,
    ProbabilityResult,
    SegmentationResult,
    TokensResult,
    default_palette,
    make_result,
    ramp_colours,
)

RANDOM = np.random.default_rng(0)


def raw(channels: int) -> np.ndarray:
    return RANDOM.normal(size=(2, channels, 4, 5)).astype(np.float32)


def test_segmentation() -> None:
    card = TaskCard(
        "s", TaskKind.SEGMENTATION, 3, ("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    )
    logits = raw(3)
    logits[0, :, 0, 0] = 1.0  # a tie goes to the lower label
    result = make_result(logits, card)
    assert isinstance(result, SegmentationResult)
    assert result.labels.shape == (2, 4, 5)
    assert result.labels.dtype == np.int64
    assert result.labels[0, 0, 0] == 0
    y, x = 3, 2
    label = int(result.labels[1, y, x])
    assert logits[1, label, y, x] == logits[1, :, y, x].max()
    assert result.label_names == ("a", "b", "c")
    assert result.picture(1).getpixel((x, y)) == card.colours[label]


def test_segmentation_without_names_or_colours() -> None:
    result = make_result(raw(5), TaskCard("s", TaskKind.SEGMENTATION, 5))
    assert isinstance(result, SegmentationResult)
    assert result.label_names[4] == "label 4"
    assert result.picture().size == (5, 4)


@pytest.mark.parametrize("labels", [1, 7, 21, 40])
def test_default_colours_differ(labels: int) -> None:
    palette = np.array(default_palette(labels), float)
    distance = np.abs(palette[:, None] - palette[None]).max(-1)
    assert distance[~np.eye(labels, dtype=bool)].min(initial=255) >= 8


def test_depth() -> None:
    depth = raw(1)
    result = make_result(depth, TaskCard("d", TaskKind.DEPTH, 1, unit="metre"))
    assert isinstance(result, DepthResult)
    np.testing.assert_array_equal(result.metres, depth[:, 0])
    near, far = result.scale(1)
    assert (near, far) == (depth[1].min(), depth[1].max())
    picture = result.picture(1)
    assert picture.info["scale"] == f"{near:.3g} (bright) to {far:.3g} (dark) metre"
    pixels = np.asarray(picture)
    nearest = np.unravel_index(depth[1, 0].argmin(), (4, 5))
    farthest = np.unravel_index(depth[1, 0].argmax(), (4, 5))
    assert tuple(pixels[nearest]) == RAMP[-1]
    assert tuple(pixels[farthest]) == RAMP[0]


def test_depth_that_is_the_same_everywhere() -> None:
    flat = make_result(np.ones((1, 1, 2, 2), np.float32), TaskCard("d", TaskKind.DEPTH, 1))
    assert np.ptp(np.asarray(flat.picture()).reshape(-1, 3), axis=0).max() == 0


def test_depth_without_a_unit_has_no_metres() -> None:
    result = make_result(raw(1), TaskCard("d", TaskKind.DEPTH, 1))
    assert isinstance(result, DepthResult)
    assert result.values.shape == (2, 4, 5)
    with pytest.raises(InputError, match=r"unit unknown, not metre: use \.values"):
        _ = result.metres


def test_the_ramp_grows_lighter() -> None:
    colours = ramp_colours(np.linspace(0, 1, 64, dtype=np.float32)[None])[0] / 255.0
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


def test_normals() -> None:
    vectors = raw(3)
    vectors[0, :, 0, 0] = 0
    result = make_result(vectors, TaskCard("n", TaskKind.NORMALS, 3))
    assert isinstance(result, NormalsResult)
    length = np.sqrt((result.vectors**2).sum(1))
    assert length[0, 0, 0] == 0
    np.testing.assert_allclose(length.ravel()[1:], 1, atol=1e-6)
    wanted = ((result.vectors[1, :, 2, 3] + 1) / 2 * 255).round()
    np.testing.assert_array_equal(np.asarray(result.picture(1))[2, 3], wanted)


def test_probability() -> None:
    logits = raw(1)
    logits[0, 0, 0, :3] = -500, 500, 0
    result = make_result(logits, TaskCard("e", TaskKind.PROBABILITY, 1, threshold=0.4))
    assert isinstance(result, ProbabilityResult)
    np.testing.assert_allclose(result.probability[0, 0, :3], [0, 1, 0.5])
    wanted = 1 / (1 + np.exp(-logits[1, 0].astype(np.float64)))
    np.testing.assert_allclose(result.probability[1], wanted, atol=1e-6)
    np.testing.assert_array_equal(result.mask[1], wanted >= 0.4)
    assert result.picture().getpixel((1, 0)) == (255, 255, 255)


def test_tokens_have_no_picture() -> None:
    result = make_result(np.zeros((1, 7, 5), np.float32), TaskCard("t", TaskKind.TOKENS, 5))
    assert isinstance(result, TokensResult)
    assert result.tokens.shape == (1, 7, 5)
    with pytest.raises(InputError, match="tokens of task t have no picture"):
        result.picture()


@pytest.mark.parametrize("index", [-1, 2])
def test_no_such_image(index: int) -> None:
    with pytest.raises(InputError, match="in a batch of 2"):
        make_result(raw(3), TaskCard("n", TaskKind.NORMALS, 3)).picture(index)
