"""Procedural textures. Positions are metres along a surface; colours are linear RGB, (3, N)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gearshift_export.demo.scenes.geometry import FloatArray

Colour = tuple[float, float, float]
Pattern = Callable[[FloatArray, FloatArray, int], FloatArray]

_LATTICE_SIZE = 64
_LATTICE: FloatArray = np.random.default_rng(20).random(_LATTICE_SIZE**2, np.float32)


@dataclass(frozen=True)
class Texture:
    """A blend of two colours by a pattern; `scale` is repeats a metre, `salt` picks the noise."""

    pattern: str
    first: Colour
    second: Colour
    scale: float = 1.0
    salt: int = 0


def colour_of(texture: Texture, u: FloatArray, v: FloatArray) -> FloatArray:
    """Return the (3, N) colours of a texture at surface positions (N,), in metres."""
    if texture.pattern == "plain":
        return np.repeat(as_column(texture.first), u.size, axis=1)
    amount = PATTERNS[texture.pattern](u * texture.scale, v * texture.scale, texture.salt)
    return blend(texture.first, texture.second, amount)


def as_column(colour: Colour) -> FloatArray:
    """Return a colour as a (3, 1) array."""
    return np.array(colour, np.float32)[:, None]


def blend(first: Colour, second: Colour, amount: FloatArray) -> FloatArray:
    """Mix two colours: amount 0 gives the first, 1 the second."""
    start = as_column(first)
    mixed: FloatArray = start + (as_column(second) - start) * amount
    return mixed


def value_noise(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    """Return smooth noise in [0, 1] with one random value at each integer position."""
    floor_u, floor_v = np.floor(u), np.floor(v)
    part_u, part_v = u - floor_u, v - floor_v
    part_u *= part_u * (3 - 2 * part_u)
    part_v *= part_v * (3 - 2 * part_v)
    mask = _LATTICE_SIZE - 1
    left = floor_u.astype(np.int32) + salt
    low = floor_v.astype(np.int32) + (salt >> 6)
    right, high = ((left + 1) & mask) * _LATTICE_SIZE, (low + 1) & mask
    left, low = (left & mask) * _LATTICE_SIZE, low & mask
    bottom: FloatArray = _LATTICE[left + low]
    bottom += (_LATTICE[right + low] - bottom) * part_u
    top: FloatArray = _LATTICE[left + high]
    top += (_LATTICE[right + high] - top) * part_u
    bottom += (top - bottom) * part_v
    return bottom


def _checker(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)


def _stripes(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    position = u if salt % 2 else v
    return (position % 1 < 0.5).astype(np.float32)


def _clouds(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    noise: FloatArray = 0.6 * value_noise(u * 2, v * 2, salt)
    noise += 0.4 * value_noise(u * 7, v * 7, salt + 17)
    return noise


def _wood(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    """Planks along v, each with its own shade, long grain and dark joints."""
    plank: FloatArray = np.floor(u * 4)
    along: FloatArray = v * 0.5 + plank * 0.37
    fine_u: FloatArray = u * 24
    fine_v: FloatArray = v * 1.5 + plank * 5
    shade = value_noise(plank * 3, np.floor(along), salt)
    grain = value_noise(fine_u, fine_v, salt + 5)
    joint = (u * 4 % 1 < 0.07) | (along % 1 < 0.015)
    return np.where(joint, np.float32(0.9), (0.5 * shade + 0.4 * grain).astype(np.float32))


def _tiles(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    """Square tiles of slightly different shade with joints between them."""
    shade = 0.3 * value_noise(np.floor(u) * 3, np.floor(v) * 3, salt)
    joint = (u % 1 < 0.06) | (v % 1 < 0.06)
    return np.where(joint, np.float32(1), shade.astype(np.float32))


def _rings(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    """Concentric rings, squarish or round."""
    radius = np.hypot(u, v) if salt % 2 else np.maximum(np.abs(u), np.abs(v))
    return (radius % 1 < 0.5).astype(np.float32)


def _diamonds(u: FloatArray, v: FloatArray, salt: int) -> FloatArray:
    return _checker(u + v, u - v, salt)


PATTERNS: dict[str, Pattern] = {
    "checker": _checker,
    "stripes": _stripes,
    "clouds": _clouds,
    "wood": _wood,
    "tiles": _tiles,
    "rings": _rings,
    "diamonds": _diamonds,
}


def picture_colour(
    texture: Texture, accent: Colour, u: FloatArray, v: FloatArray, half: tuple[float, float]
) -> FloatArray:
    """Return the colours of a framed picture: three colours mixed by a pattern and by noise."""
    colour = colour_of(texture, u, v)
    spots = value_noise(u * 5 + 7, v * 5, texture.salt + 29) > 0.58
    colour[:, spots] = as_column(accent)
    return _framed(colour, u, v, half, (0.03, 0.02, 0.015), 0.04)


def window_colour(
    sky: Colour, frame: Colour, u: FloatArray, v: FloatArray, half: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Return the colours of a window and the (N,) share of its own light (1 sky, 0 frame).

    The sky is white at the horizon; below it lies a hazy strip of land.
    """
    height = v / (2 * half[1]) + 0.5
    colour = blend((1.0, 1.0, 0.98), sky, np.clip(1.3 * height - 0.3, 0, 1).astype(np.float32))
    hills = 0.14 + 0.12 * value_noise(u * 2.5, np.zeros_like(v), int(1000 * sky[0]))
    colour[:, height < hills] = as_column((0.30, 0.46, 0.27))
    bar = (np.abs(u) < 0.02) | (np.abs(v - 0.25 * half[1]) < 0.02)
    colour = np.where(bar, as_column(frame), colour)
    border = _border_distance(u, v, half) < 0.055
    colour = np.where(border, as_column(frame), colour)
    return colour, (~(bar | border)).astype(np.float32)


def _framed(
    colour: FloatArray,
    u: FloatArray,
    v: FloatArray,
    half: tuple[float, float],
    frame: Colour,
    width: float,
) -> FloatArray:
    return np.where(_border_distance(u, v, half) < width, as_column(frame), colour)


def _border_distance(u: FloatArray, v: FloatArray, half: tuple[float, float]) -> FloatArray:
    return np.minimum(half[0] - np.abs(u), half[1] - np.abs(v))
