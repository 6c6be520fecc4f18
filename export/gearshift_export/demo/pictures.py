"""The demo's two pictures: a rendered room that was never trained on, and a photograph.

`python -m gearshift_export.demo.pictures FOLDER` writes room.png and photo.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gearshift_export.demo.dataset import SIZE, SPLIT_FIRST_SEED
from gearshift_export.demo.scenes import render_scene

ROOM_SEED = SPLIT_FIRST_SEED["test"]
"""The first room of the test split happens to show all ten classes."""


def room() -> Image.Image:
    """A room of the test split."""
    return Image.fromarray(render_scene(ROOM_SEED, SIZE, SIZE).image)


def photograph() -> Image.Image:
    """A motorcycle in a garage, centre square: Middlebury stereo 2014, from scikit-image.

    Source: Scharstein et al., "High-resolution stereo datasets with subpixel-accurate ground
    truth" (GCPR 2014).

    Raises:
        SystemExit: scikit-image is not installed.
    """
    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        sys.exit("the demo's photograph comes from scikit-image: pip install 'gearshift[demo]'")
    picture = Image.fromarray(np.asarray(stereo_motorcycle()[0]))
    side = min(picture.size)
    left = (picture.width - side) // 2
    return picture.crop((left, 0, left + side, side))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    room().save(folder / "room.png")
    photograph().save(folder / "photo.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m gearshift_export.demo.pictures FOLDER")
    main(Path(sys.argv[1]))
