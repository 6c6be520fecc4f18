"""Furniture: boxes, balls, cylinders and tables that stand on the floor without touching."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gearshift_export.demo.scenes.elements import (
    CLASSES,
    SHAPE_LABELS,
    SHAPES,
    Camera,
    Solid,
    view_direction,
)
from gearshift_export.demo.scenes.geometry import Placement, Shape, Vector
from gearshift_export.demo.scenes.palette import pale, salt, timber, vivid
from gearshift_export.demo.scenes.textures import Texture


class Furnisher:
    """Puts objects on the floor so that none touches another, the camera or a wall."""

    def __init__(
        self, rng: np.random.Generator, camera: Camera, half_x: float, half_y: float
    ) -> None:
        self.rng, self.camera = rng, camera
        self.half_x, self.half_y = half_x, half_y
        self.solids: list[Solid] = []
        self._taken: list[tuple[float, float, float]] = []  # x, y, radius

    def furnish(self) -> None:
        """Draw a table (often), one object of each shape and up to three more."""
        rng = self.rng
        if rng.random() < 0.72:
            self._add_table()
        shapes = [SHAPES[int(k)] for k in rng.permutation(3)]
        shapes += [SHAPES[int(k)] for k in rng.integers(0, 3, int(rng.integers(0, 4)))]
        for shape in shapes:
            self._add_object(shape)

    def _place(self, radius: float) -> tuple[float, float] | None:
        """Find a free spot in view for a footprint, or None."""
        eye_x, eye_y, _ = self.camera.position
        for _ in range(40):
            x, y = view_direction(self.rng, self.camera, 0.85)
            distance = self.rng.uniform(1.1 + radius, 3.8)
            x, y = eye_x + distance * x, eye_y + distance * y
            if abs(x) > self.half_x - radius - 0.03 or abs(y) > self.half_y - radius - 0.03:
                continue
            if all(math.hypot(x - a, y - b) > radius + r + 0.04 for a, b, r in self._taken):
                self._taken.append((x, y, radius))
                return x, y
        return None

    def _texture(self) -> Texture:
        rng = self.rng
        kinds = ["plain", "plain", "plain", "checker", "stripes", "clouds"]
        kind = str(rng.choice(kinds))
        return Texture(kind, vivid(rng), vivid(rng), rng.uniform(2.0, 6.0), salt(rng))

    def _add_solid(self, shape: Shape, centre: Vector, half: Vector, yaw: float) -> None:
        placement = Placement(shape, centre, half, yaw if shape == "box" else 0.0)
        shine = self.rng.uniform(0.0, 0.6)
        self.solids.append(Solid(SHAPE_LABELS[shape], placement, self._texture(), shine))

    def _add_object(self, shape: Shape) -> None:
        """Add one object, smaller if the room is crowded."""
        rng, yaw = self.rng, self.rng.uniform(0, math.pi)
        half = _object_half(rng, shape)
        for shrink in (1.0, 0.75, 0.55):
            x_half, y_half, z_half = (shrink * size for size in half)
            radius = math.hypot(x_half, y_half) if shape == "box" else x_half
            spot = self._place(radius)
            if spot is not None:
                self._add_solid(shape, (*spot, z_half), (x_half, y_half, z_half), yaw)
                return

    def _add_table(self) -> None:
        rng = self.rng
        half_x, half_y = rng.uniform(0.45, 0.7), rng.uniform(0.3, 0.45)
        spot = self._place(math.hypot(half_x, half_y))
        if spot is None:
            return
        height, yaw = rng.uniform(0.45, 0.75), rng.uniform(0, math.pi)
        light, dark = timber(rng) if rng.random() < 0.7 else (vivid(rng), pale(rng))
        texture = Texture(str(rng.choice(["plain", "wood"])), light, dark, 1.5, salt(rng))
        frame = _Frame(*spot, yaw)
        pieces = _table_pieces(rng, frame, half_x, half_y, height)
        label, shine = CLASSES.index("table"), rng.uniform(0.0, 0.3)
        self.solids += [Solid(label, piece, texture, shine) for piece in pieces]
        self._add_table_things(frame, half_x, half_y, height)

    def _add_table_things(self, frame: _Frame, half_x: float, half_y: float, height: float) -> None:
        """Put up to three small objects side by side on a table."""
        rng = self.rng
        for slot in (-0.62, 0.0, 0.62):
            if rng.random() < 0.5:
                continue
            size = rng.uniform(0.08, 0.13)
            shape = SHAPES[int(rng.integers(3))]
            rise = size if shape == "sphere" else size * rng.uniform(0.8, 1.6)
            x, y = frame.at(slot * half_x, rng.uniform(-0.5, 0.5) * half_y)
            self._add_solid(shape, (x, y, height + rise), (size, size, rise), frame.yaw)


def _object_half(rng: np.random.Generator, shape: Shape) -> Vector:
    """Draw the half sizes of an object that stands on the floor."""
    if shape == "box":
        return rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.4), rng.uniform(0.15, 0.5)
    if shape == "sphere":
        radius = rng.uniform(0.22, 0.45)
        return radius, radius, radius
    radius = rng.uniform(0.18, 0.35)
    return radius, radius, rng.uniform(0.2, 0.6)


@dataclass(frozen=True)
class _Frame:
    """A turned coordinate frame on the floor."""

    x: float
    y: float
    yaw: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the floor position of a local point."""
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + cosine * x - sine * y, self.y + sine * x + cosine * y


def _table_pieces(
    rng: np.random.Generator, frame: _Frame, half_x: float, half_y: float, height: float
) -> list[Placement]:
    """Return a top on four round legs, on two side panels or on one column."""
    thick = rng.uniform(0.025, 0.04)
    under = height / 2 - thick
    top = Placement("box", (frame.x, frame.y, height - thick), (half_x, half_y, thick), frame.yaw)
    style = rng.random()
    if style < 0.6:
        leg = rng.uniform(0.03, 0.045)
        inset_x, inset_y = half_x - 1.5 * leg, half_y - 1.5 * leg
        corners = [(a * inset_x, b * inset_y) for a in (-1, 1) for b in (-1, 1)]
        feet = [frame.at(*corner) for corner in corners]
        return [top, *(Placement("cylinder", (*foot, under), (leg, leg, under)) for foot in feet)]
    if style < 0.8:
        sides = [frame.at(sign * (half_x - 0.06), 0.0) for sign in (-1, 1)]
        size = (0.03, half_y - 0.03, under)
        return [top, *(Placement("box", (*side, under), size, frame.yaw) for side in sides)]
    column = Placement("cylinder", (frame.x, frame.y, under), (0.08, 0.08, under))
    return [top, column]
