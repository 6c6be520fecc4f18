"""Compiled bundles in the cache folder: quantising takes minutes, and is done once.

Under `fpga/` lies a folder for every artifact, board and image size, as they are and as this code
quantises and compiles them; in it a bundle for every set of calibration pictures, and a file that
names the set that the user chose.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import gearshift_hls
from gearshift.cache import cache_folder
from gearshift.errors import ArtifactError, InputError
from gearshift.expert_profile import card_shares
from gearshift.graph.card import Card
from gearshift.graph.read import read_artifact, read_card_file
from gearshift.output import whole_file
from gearshift.specialise import specialise
from gearshift_hls.board import Board
from gearshift_hls.bundle import Bundle
from gearshift_hls.compile.compiler import compile_bundle
from gearshift_hls.compile.files import load_bundle, save_bundle
from gearshift_hls.compile.listing import listing

DEFAULT = "default-pictures"
"""Calibrated on pictures that come with gearshift."""
CHOSEN = "chosen"
"""The file that names the set of pictures."""
CONTRACT = (
    "build",
    "bundle",
    "command_fields",
    "descriptor",
    "fixed_point",
    "operations",
    "records",
    "regions",
)
"""Modules that say what a bundle means."""


def open_bundle(
    artifact: Path,
    board: Board,
    height: int | None = None,
    width: int | None = None,
    pictures: Path | None = None,
) -> Bundle:
    """All tasks of an artifact, compiled for a board; from the cache if it was done before.

    Args:
        height, width: pixels; None: the card's.
        pictures: a folder to calibrate on, for this call and for all later ones without one; None:
            the pictures that were chosen so, else those that come with gearshift.

    Raises:
        ArtifactError: the artifact is missing or damaged.
        BackendError: the accelerator cannot run the model.
        InputError: a size that patches cannot tile, or no pictures.
    """
    shelf = shelf_of(artifact, board, height, width)
    name = _chosen(shelf) if pictures is None else _fingerprint(pictures)
    try:
        bundle = load_bundle(shelf / name)
    except ArtifactError:  # it is not there, or not whole
        bundle = _compile(artifact, board, height, width, pictures, shelf / name)
    if pictures is not None:
        with whole_file(shelf / CHOSEN) as partial:
            partial.write_text(name)
    return bundle


def forget_pictures(artifact: Path, board: Board, height: int | None, width: int | None) -> None:
    """Back to the pictures that come with gearshift."""
    (shelf_of(artifact, board, height, width) / CHOSEN).unlink(missing_ok=True)


def shelf_of(artifact: Path, board: Board, height: int | None, width: int | None) -> Path:
    """The folder for all bundles of an artifact at one size, there or not.

    Raises:
        ArtifactError: there is no such artifact.
    """
    content = read_card_file(artifact.expanduser())
    size = _size(content.card, height, width)
    identity = repr((content, board, size, version("gearshift"), _sources_hash()))
    key = sha256(identity.encode()).hexdigest()[:16]
    return cache_folder() / "fpga" / f"{_plain(content.card.name)}-{board.name}-{key}"


def _compile(
    artifact: Path,
    board: Board,
    height: int | None,
    width: int | None,
    pictures: Path | None,
    folder: Path,
) -> Bundle:
    from gearshift_hls.quantise import quantise_model
    from gearshift_hls.quantise.pictures import calibration_pictures

    graph = read_artifact(artifact)
    size = _size(graph.card, height, width)
    specialise(graph, 0, 1, *size)  # raises for a size that patches cannot tile, before the work
    seen = calibration_pictures(graph.card, *size, pictures)
    if pictures is None:
        logging.getLogger("gearshift").warning(
            f"calibrating on {len(seen)} pictures that come with gearshift: "
            "gearshift synth compile MODEL --pictures FOLDER takes some that suit the model better"
        )
    tasks = quantise_model(graph, board.build, seen)
    bundle = compile_bundle(graph.card.name, board, tasks)
    save_bundle(bundle, listing(bundle, board, card_shares(graph)), folder)
    return bundle


def _size(card: Card, height: int | None, width: int | None) -> tuple[int, int]:
    """In pixels."""
    return (
        card.image_height if height is None else height,
        card.image_width if width is None else width,
    )


def _chosen(shelf: Path) -> str:
    """The set of pictures that the user chose last."""
    file = shelf / CHOSEN
    name = file.read_text() if file.is_file() else DEFAULT
    # Without its bundle the choice means nothing: the pictures may be gone.
    is_name = re.fullmatch("pictures-[0-9a-f]{16}", name)
    return name if is_name and (shelf / name).is_dir() else DEFAULT


def _fingerprint(pictures: Path) -> str:
    """A name for a folder of pictures, by their contents."""
    if not pictures.is_dir():
        raise InputError(f"{pictures} is no folder: give a folder of pictures")
    digest = sha256()
    for path in sorted(path for path in pictures.iterdir() if path.is_file()):
        digest.update(sha256(path.read_bytes()).digest())
    return f"pictures-{digest.hexdigest()[:16]}"


def _sources_hash() -> str:
    """Of all code that a bundle depends on."""
    digest = sha256()
    for path in _sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    package = Path(gearshift_hls.__file__).parent
    yield from (package / f"{name}.py" for name in CONTRACT)
    for folder in ("quantise", "compile"):
        yield from sorted((package / folder).glob("*.py"))


def _plain(name: str) -> str:
    """A card's name as part of a folder's."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)[:40]
