"""What a room is made of: classes and plain records, no randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gearshift_export.demo.scenes.geometry import Placement, Shape, Vector
from gearshift_export.demo.scenes.textures import Colour, Texture

CLASSES: tuple[str, ...] = (
    "wall",
    "floor",
    "ceiling",
    "rug",
    "window",
    "picture",
    "box",
    "ball",
    "cylinder",
    "table",
)

# Paul Tol's "muted" palette, which stays apart under the common kinds of colour blindness.
CLASS_COLOURS: tuple[tuple[int, int, int], ...] = (
    (221, 221, 221),
    (221, 204, 119),
    (153, 153, 51),
    (136, 34, 85),
    (136, 204, 238),
    (170, 68, 153),
    (51, 34, 136),
    (204, 102, 119),
    (68, 170, 153),
    (17, 119, 51),
)

SHAPE_LABELS: dict[Shape, int] = {
    "box": CLASSES.index("box"),
    "sphere": CLASSES.index("ball"),
    "cylinder": CLASSES.index("cylinder"),
}
SHAPES: tuple[Shape, ...] = ("box", "sphere", "cylinder")
FLOOR, CEILING = 4, 5  # face numbers; 0 to 3 are the walls


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; `tan_half_fov` belongs to the vertical field of view."""

    position: Vector
    forward: Vector
    right: Vector
    up: Vector
    tan_half_fov: float


@dataclass(frozen=True)
class Light:
    """A point light."""

    position: Vector
    intensity: float


@dataclass(frozen=True)
class Solid:
    """One convex piece of an object."""

    label: int
    placement: Placement
    texture: Texture
    shine: float


@dataclass(frozen=True)
class Panel:
    """A flat thing on a room face: rug, picture or window. Centre and half size in metres."""

    label: int
    face: int
    centre: tuple[float, float]
    half: tuple[float, float]
    texture: Texture
    accent: Colour
    yaw: float = 0.0
    is_round: bool = False


@dataclass(frozen=True)
class Room:
    """Everything the renderer needs; the floor is z = 0, the middle of the floor the origin."""

    half_x: float
    half_y: float
    height: float
    faces: tuple[Texture, ...]  # four walls, floor, ceiling
    panels: tuple[Panel, ...]
    solids: tuple[Solid, ...]
    camera: Camera
    lights: tuple[Light, ...]
    ambient: float
    tint: Colour
    brightness: float  # mean linear value the exposure aims at
    noise: float  # standard deviation of the sensor noise, sRGB in [0, 1]


def view_direction(rng: np.random.Generator, camera: Camera, spread: float) -> tuple[float, float]:
    """Return a horizontal unit direction inside a share of the (square) field of view."""
    heading = math.atan2(camera.forward[1], camera.forward[0])
    heading += math.atan(camera.tan_half_fov * rng.uniform(-spread, spread))
    return math.cos(heading), math.sin(heading)
