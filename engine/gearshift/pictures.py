"""Pictures in: whatever a user has, as one normalised float32 (N, 3, H, W).

A PIL picture, or the path of a file, is a picture: turned as its EXIF tag says, made RGB, resized
(bicubic) to the model's size. An array or tensor is data: taken at its own size, (H,W,3) or
(N,H,W,3), or channels first when its last axis is not 3; uint8 0..255 or floating 0..1. A list of
pictures of one size is a batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gearshift.errors import InputError
from gearshift.graph.card import Card, Preprocessing

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
OnePicture: TypeAlias = "str | Path | Image.Image | NDArray[np.generic] | torch.Tensor"
Picture: TypeAlias = "OnePicture | Sequence[OnePicture]"

TOLERANCE = 1e-3
"""How far a floating picture may leave 0..1: interpolation overshoots a little."""

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"}) | {
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
}


def load_pictures(image: Picture, card: Card) -> Floats:
    """One picture or a batch -> float32 (N,3,H,W), normalised as the card says.

    Raises:
        InputError: one line that names what is wrong with the picture and what to give instead.
    """
    if isinstance(image, Sequence) and not isinstance(image, str | bytes):
        if not image:
            raise InputError("the list of pictures is empty: give at least one")
        loaded = [load_pictures(one, card) for one in image]
        if len({one.shape[1:] for one in loaded}) > 1:
            sizes = sorted({f"{one.shape[2]}x{one.shape[3]}" for one in loaded})
            raise InputError(f"pictures of different sizes in one batch: {', '.join(sizes)}")
        return np.concatenate(loaded)
    if isinstance(image, str | Path):
        image = open_picture(Path(image))
    if isinstance(image, Image.Image):
        image = _pixels(image, card.image_height, card.image_width)
    return _normalise(_channels_first(_array(image)), card.preprocessing)


def open_picture(path: Path) -> Image.Image:
    """A file's picture, decoded and turned as its EXIF tag says.

    Raises:
        InputError: no such file, not a picture, truncated, or too large to be decoded safely.
    """
    try:
        with Image.open(os.path.expanduser(path)) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError as error:
        raise InputError(f"picture {path} does not exist") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a picture in a format that Pillow knows") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"picture {path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels: shrink it"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"picture {path} cannot be read: {error}") from error


def _pixels(picture: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 3)."""
    if picture.mode not in _EIGHT_BIT_MODES:
        raise InputError(
            f"picture of mode {picture.mode} has no 8-bit channels: "
            "convert it, or give its data as a float array in 0..1"
        )
    if 0 in picture.size:
        raise InputError(f"picture is empty: its size is {picture.width}x{picture.height}")
    try:
        picture = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"picture cannot be decoded: {error}") from error
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _array(image: object) -> NDArray[np.generic]:
    """A numpy array or torch tensor as numpy; torch is asked for only if it is loaded already."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        if image.layout != torch.strided or image.is_quantized or image.is_meta:
            raise InputError("a sparse, quantised or meta tensor is not a picture: make it dense")
        tensor = image.detach().cpu()
        return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    if isinstance(image, np.ndarray):
        return image
    raise InputError(
        f"{type(image).__name__} is not a picture: give a path, a PIL picture, a numpy array or "
        "a torch tensor"
    )


def _channels_first(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """(H,W,3), (N,H,W,3), (3,H,W) or (N,3,H,W) -> (N,3,H,W), checked for shape and dtype."""
    shape = "x".join(map(str, array.shape)) or "scalar"
    if array.ndim not in (3, 4):
        raise InputError(f"image of shape {shape}: give (H,W,3), (3,H,W) or a batch of them")
    if 0 in array.shape:
        empty_batch = array.ndim == 4 and array.shape[0] == 0
        what = "batch is empty: give at least one image" if empty_batch else "image has no pixels"
        raise InputError(f"{what} (shape {shape})")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"image of {array.dtype}: give uint8 in 0..255 or floats in 0..1")
    batch = array if array.ndim == 4 else array[None]
    if batch.shape[-1] == 3:
        return np.moveaxis(batch, -1, 1)
    if batch.shape[1] == 3:
        return batch
    raise InputError(
        f"image of shape {shape} has no axis of 3 channels: give RGB, last or before the height"
    )


def _normalise(batch: NDArray[np.generic], preprocessing: Preprocessing) -> Floats:
    """(N,3,H,W) uint8 or floating -> (x / divisor - mean) / standard deviation, C-contiguous."""
    values = np.ascontiguousarray(batch, dtype=np.float32)
    if batch.dtype == np.uint8:
        values = values / np.float32(preprocessing.divisor)
    else:
        low, high = float(batch.min()), float(batch.max())
        if not np.isfinite(low + high):
            raise InputError("image holds NaN or infinity")
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise InputError(
                f"floating image has values from {low:g} to {high:g}, outside 0..1: "
                "divide it first, or give uint8 for 0..255"
            )
    mean = np.array(preprocessing.mean, np.float32).reshape(3, 1, 1)
    deviation = np.array(preprocessing.standard_deviation, np.float32).reshape(3, 1, 1)
    return (values - mean) / deviation
