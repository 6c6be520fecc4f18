"""Pictures to calibrate on: the user's, or those that come with gearshift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gearshift.entries import find_entries
from gearshift.errors import InputError
from gearshift.graph.card import Card
from gearshift.pictures import load_pictures

GROUP = "gearshift.pictures"
"""Entry points of this group are functions (height, width, count) -> uint8 (count, H, W, 3)."""

MOST_PICTURES = 32
FEWEST_PICTURES = 4
MOST_PIXELS = 1 << 20
"""Of all pictures together: their maps in the decoder are in memory at the same time."""


def calibration_pictures(
    card: Card, height: int, width: int, folder: Path | None = None
) -> NDArray[np.float32]:
    """Pictures of one size, normalised as the card says: (N, 3, height, width).

    Args:
        folder: its pictures, evenly chosen if they are more than calibration needs; None: the
            pictures that come with gearshift.

    Raises:
        InputError: the folder holds no picture or one that cannot be read; or none is given and
            none came with gearshift.
    """
    count = min(max(MOST_PIXELS // (height * width), FEWEST_PICTURES), MOST_PICTURES)
    if folder is not None:
        paths = _picture_files(folder)
        chosen = paths[:: -(-len(paths) // count)]
        return load_pictures(chosen, replace(card, image_height=height, image_width=width))
    for _, entry in sorted(find_entries(GROUP).items()):
        return load_pictures(entry.load()(height, width, count), card)
    raise InputError(
        "no calibration pictures are installed: give a folder of pictures like those that the "
        "model will see to gearshift synth compile MODEL --pictures FOLDER"
    )


def _picture_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"calibration pictures {folder} are not a folder: give one with pictures")
    endings = Image.registered_extensions().keys()
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not paths:
        raise InputError(f"folder {folder} holds no pictures (files like .png or .jpg)")
    return paths
