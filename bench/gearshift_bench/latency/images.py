"""What the requests carry: pictures like those that a model sees, since routing depends on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gearshift.entries import find_entries
from gearshift.graph.card import Card
from gearshift.pictures import load_pictures, open_picture

GROUP = "gearshift.pictures"
"""Entry points of this group are functions (height, width, count) -> uint8 (count, H, W, 3)."""


def request_image(
    card: Card, batch: int, picture: Path | None = None
) -> tuple[NDArray[np.float32], str]:
    """Normalised (batch, 3, H, W) at the card's size, and what it shows.

    Args:
        picture: a file, repeated for the batch; None: rendered rooms that come with gearshift, or
            where those are not installed, noise.

    Raises:
        InputError: the picture cannot be read.
    """
    if picture is not None:
        return load_pictures([open_picture(picture)] * batch, card), picture.name
    size = card.image_height, card.image_width
    for name, entry in sorted(find_entries(GROUP).items()):
        return load_pictures(entry.load()(*size, batch), card), name
    noise = np.random.default_rng(0).standard_normal((batch, 3, *size), dtype=np.float32)
    return noise, "noise"
