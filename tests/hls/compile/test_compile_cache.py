"""The cache of bundles, with a quantiser that counts how often it is asked."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gearshift.errors import ArtifactError, InputError
from gearshift.graph import read_artifact, write_artifact
from gearshift_hls.compile.cache import forget_pictures, open_bundle, shelf_of

from ..quantise.quantised_models import SMALL_BOARD
from .stand_in_quantiser import Quantiser, small_graph, stand_in


@pytest.fixture
def quantiser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Quantiser:
    return stand_in(monkeypatch, tmp_path)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    write_artifact(small_graph(), tmp_path / "random.gs")
    return tmp_path / "random.gs"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.png").write_text("7")
    return folder


def test_a_model_is_quantised_once(quantiser: Quantiser, artifact: Path) -> None:
    first = open_bundle(artifact, SMALL_BOARD)
    second = open_bundle(artifact, SMALL_BOARD)
    assert len(quantiser.calls) == 1
    np.testing.assert_array_equal(first.constants, second.constants)
    assert replace(second, constants=first.constants) == first
    shelf = shelf_of(artifact, SMALL_BOARD, None, None)
    assert "estimate, not measured" in (shelf / "default-pictures" / "listing.txt").read_text()


def test_another_size_board_or_model_is_another_bundle(
    quantiser: Quantiser, artifact: Path
) -> None:
    card = read_artifact(artifact).card
    open_bundle(artifact, SMALL_BOARD)
    open_bundle(artifact, SMALL_BOARD, card.image_height, card.image_width)
    assert len(quantiser.calls) == 1, "the card's size, spelt out"
    open_bundle(artifact, SMALL_BOARD, 8, 16)
    assert quantiser.calls[-1] == (0.0, 8, 16)
    bigger = replace(SMALL_BOARD, build=replace(SMALL_BOARD.build, scratch_bytes=32 << 10))
    assert open_bundle(artifact, bigger).build == bigger.build
    assert len(quantiser.calls) == 3
    graph = read_artifact(artifact)
    weights = {name: np.array(array) for name, array in graph.weights.items()}
    next(iter(weights.values())).flat[0] += 1
    write_artifact(replace(graph, weights=weights), artifact)
    open_bundle(artifact, SMALL_BOARD)
    assert len(quantiser.calls) == 4


def test_one_line_tells_that_the_pictures_are_the_default_ones(
    quantiser: Quantiser, artifact: Path, own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "gearshift"):
        open_bundle(artifact, SMALL_BOARD)
        open_bundle(artifact, SMALL_BOARD)
        open_bundle(artifact, SMALL_BOARD, pictures=own)
    assert len(caplog.records) == 1
    assert "--pictures FOLDER" in caplog.text


def test_own_pictures_stay_chosen(quantiser: Quantiser, artifact: Path, own: Path) -> None:
    default = open_bundle(artifact, SMALL_BOARD)
    mine = open_bundle(artifact, SMALL_BOARD, pictures=own)
    assert (mine.constants[-64:] != default.constants[-64:]).any()
    later = open_bundle(artifact, SMALL_BOARD)
    np.testing.assert_array_equal(later.constants, mine.constants)
    open_bundle(artifact, SMALL_BOARD, pictures=own)
    assert len(quantiser.calls) == 2
    (own / "one.png").write_text("8")
    open_bundle(artifact, SMALL_BOARD, pictures=own)
    assert len(quantiser.calls) == 3, "other pictures in the same folder"
    forget_pictures(artifact, SMALL_BOARD, None, None)
    again = open_bundle(artifact, SMALL_BOARD)
    np.testing.assert_array_equal(again.constants, default.constants)
    assert len(quantiser.calls) == 3


@pytest.mark.parametrize("text", ["../../elsewhere", "pictures-0123456789abcdef", "", "\x00"])
def test_a_choice_that_is_not_there_means_the_default(
    quantiser: Quantiser, artifact: Path, text: str
) -> None:
    open_bundle(artifact, SMALL_BOARD)
    (shelf_of(artifact, SMALL_BOARD, None, None) / "chosen").write_text(text)
    open_bundle(artifact, SMALL_BOARD)
    assert len(quantiser.calls) == 1


def test_a_damaged_bundle_is_made_again(quantiser: Quantiser, artifact: Path) -> None:
    first = open_bundle(artifact, SMALL_BOARD)
    file = shelf_of(artifact, SMALL_BOARD, None, None) / "default-pictures" / "constants.bin"
    file.write_bytes(file.read_bytes()[:-64] + bytes(range(64)))
    again = open_bundle(artifact, SMALL_BOARD)
    np.testing.assert_array_equal(again.constants, first.constants)
    assert len(quantiser.calls) == 2
    open_bundle(artifact, SMALL_BOARD)
    assert len(quantiser.calls) == 2


def test_what_cannot_be_compiled_is_refused_before_the_work(
    quantiser: Quantiser, artifact: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="image height 7 is not a multiple of the patch size"):
        open_bundle(artifact, SMALL_BOARD, 7, 16)
    with pytest.raises(InputError, match="image height 0 is not a multiple"):
        open_bundle(artifact, SMALL_BOARD, 0, 16)
    with pytest.raises(InputError, match="nowhere is no folder"):
        open_bundle(artifact, SMALL_BOARD, pictures=tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="is no folder"):
        open_bundle(tmp_path / "no.gs", SMALL_BOARD)
    assert quantiser.calls == []
