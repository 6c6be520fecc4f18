"""Random colours, as linear RGB."""

from __future__ import annotations

import colorsys
import math

import numpy as np

from gearshift_export.demo.scenes.textures import Colour


def vivid(rng: np.random.Generator) -> Colour:
    """Return a strong colour."""
    hue, saturation, value = rng.random(), rng.uniform(0.35, 0.9), rng.uniform(0.35, 0.95)
    return linear(*colorsys.hsv_to_rgb(hue, saturation, value))


def pale(rng: np.random.Generator) -> Colour:
    """Return a wall-paint colour."""
    hue, saturation, value = rng.random(), rng.uniform(0.02, 0.22), rng.uniform(0.7, 0.95)
    return linear(*colorsys.hsv_to_rgb(hue, saturation, value))


def timber(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a light and a dark wood colour."""
    hue, saturation, value = rng.uniform(0.05, 0.11), rng.uniform(0.3, 0.65), rng.uniform(0.45, 0.8)
    light = colorsys.hsv_to_rgb(hue, saturation, value)
    return linear(*light), linear(*colorsys.hsv_to_rgb(hue, saturation, 0.55 * value))


def scaled(colour: Colour, factor: float) -> Colour:
    """Return a colour times a factor."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def salt(rng: np.random.Generator) -> int:
    """Return a number that picks a noise pattern."""
    return int(rng.integers(1 << 12))


def linear(red: float, green: float, blue: float) -> Colour:
    """Turn sRGB values in [0, 1] into (approximately) linear light."""
    return (math.pow(red, 2.2), math.pow(green, 2.2), math.pow(blue, 2.2))
