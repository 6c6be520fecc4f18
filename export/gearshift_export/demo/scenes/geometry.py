"""Ray intersections with boxes, spheres, upright cylinders and the inside of a room.

All rays of a bundle start at one point: camera rays at the eye, shadow rays at the light. Each
solid is then moved into the ray frame once, as plain numbers, and only directions are arrays.

World frame: x and y span the floor, z is up, metres. Arrays of vectors are (3, N), float32.
Distances are multiples of the direction vector, which need not have unit length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
IndexArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]
Vector = tuple[float, float, float]
Shape = Literal["box", "sphere", "cylinder"]

# Components below this are replaced by it, sign kept: a parallel ray meets a plane very far away.
_TINY = 1e-6
# Hits nearer than this are the surface a ray starts on.
_NEAREST = 1e-3


@dataclass(frozen=True)
class Rays:
    """A bundle of N rays with a common origin."""

    origin: Vector
    directions: FloatArray  # (3, N)
    squared_length: FloatArray  # (N,)

    @staticmethod
    def through(origin: Vector, directions: FloatArray) -> Rays:
        """Build a bundle from (3, N) directions."""
        return Rays(origin, directions, dot(directions, directions))

    def take(self, index: IndexArray) -> Rays:
        """Return the rays at the given positions."""
        return Rays(self.origin, self.directions[:, index], self.squared_length[index])

    def points(self, distance: FloatArray) -> FloatArray:
        """Return the (3, N) points at a distance along each ray."""
        return column(self.origin) + self.directions * distance


@dataclass(frozen=True)
class Placement:
    """A convex solid standing in the room; `half` holds half sizes (radius, radius, half height
    for a cylinder, three times the radius for a sphere) and `yaw` turns it about z, in radians."""

    shape: Shape
    centre: Vector
    half: Vector
    yaw: float = 0.0

    @property
    def bounding_radius(self) -> float:
        """Radius of a sphere about the centre that holds the solid."""
        if self.shape == "sphere":
            return self.half[0]
        if self.shape == "cylinder":
            return math.hypot(self.half[0], self.half[2])
        return math.hypot(*self.half)


@dataclass(frozen=True)
class Patch:
    """What a bundle of hits looks like on one solid."""

    normals: FloatArray  # (3, N) world frame, unit length
    u: FloatArray  # (N,) metres along the surface
    v: FloatArray
    face: IntArray  # (N,) 0..5


def column(vector: Vector) -> FloatArray:
    """Return a vector as a (3, 1) array."""
    return np.array(vector, np.float32)[:, None]


def dot(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the (N,) scalar products of two (3, N) arrays."""
    total: FloatArray = first[0] * second[0]
    total += first[1] * second[1]
    total += first[2] * second[2]
    return total


def candidates(rays: Rays, placement: Placement) -> IndexArray:
    """Return the positions of the rays that pass through a solid's bounding sphere."""
    ox, oy, oz = (c - o for c, o in zip(placement.centre, rays.origin, strict=True))
    dx, dy, dz = rays.directions
    along: FloatArray = dx * ox + dy * oy + dz * oz
    outside = ox * ox + oy * oy + oz * oz - placement.bounding_radius**2
    if outside <= 0:  # the origin lies inside the bounding sphere
        return np.arange(along.size)
    return np.flatnonzero((along > 0) & (along * along >= outside * rays.squared_length))


def hit_solid(rays: Rays, placement: Placement) -> FloatArray:
    """Return the (N,) distance at which each ray enters a solid, infinite where it misses."""
    if placement.shape == "sphere":
        enter, leave = _sphere_span(rays, placement)
    else:
        slabs = _box_slabs if placement.shape == "box" else _cylinder_slabs
        entries, exits = slabs(*_to_local(rays, placement), placement.half)
        enter, leave = entries.max(0), exits.min(0)
    return np.where((enter < leave) & (enter > _NEAREST), enter, np.float32(np.inf))


def hit_room(
    rays: Rays, half_x: float, half_y: float, height: float
) -> tuple[FloatArray, IntArray]:
    """Return distance and face of the room's inside; the face is 2 * axis + (upper side).

    The floor lies at z = 0 and the room is centred on the z axis.
    """
    inverse = _reciprocal(rays.directions)
    upper = column((half_x, half_y, height)) - column(rays.origin)
    lower = column((-half_x, -half_y, 0.0)) - column(rays.origin)
    leave = np.maximum(upper * inverse, lower * inverse)
    axis = leave.argmin(0)
    forward = np.take_along_axis(inverse, axis[None], 0)[0] > 0
    return leave.min(0), (2 * axis + forward).astype(np.int32)


def patch_of(rays: Rays, distance: FloatArray, placement: Placement) -> Patch:
    """Describe the surface of a solid where rays known to hit it do so."""
    if placement.shape == "sphere":
        return _sphere_patch(rays.points(distance), placement)
    origin, directions = _to_local(rays, placement)
    local: FloatArray = column(origin) + directions * distance
    slabs = _box_slabs if placement.shape == "box" else _cylinder_slabs
    # The face is the slab entered last. Asking the ray, not the hit point, keeps faces that look
    # away from the viewer out, however close to an edge the hit is.
    axis = slabs(origin, directions, placement.half)[0].argmax(0)
    if placement.shape == "box":
        return _box_patch(local, directions, axis, placement.yaw)
    return _cylinder_patch(local, directions, axis, placement)


def _reciprocal(values: FloatArray) -> FloatArray:
    tiny = np.copysign(np.float32(_TINY), values)
    inverse: FloatArray = np.reciprocal(np.where(np.abs(values) < _TINY, tiny, values))
    return inverse


def _to_local(rays: Rays, placement: Placement) -> tuple[Vector, FloatArray]:
    """Return ray origin and (3, N) directions in the frame of a solid."""
    x, y, z = (o - c for o, c in zip(rays.origin, placement.centre, strict=True))
    if placement.yaw == 0.0:
        return (x, y, z), rays.directions
    cosine, sine = math.cos(placement.yaw), math.sin(placement.yaw)
    dx, dy, dz = rays.directions
    turned = np.stack([cosine * dx + sine * dy, cosine * dy - sine * dx, dz])
    return (cosine * x + sine * y, cosine * y - sine * x, z), turned


def _box_slabs(
    origin: Vector, directions: FloatArray, half: Vector
) -> tuple[FloatArray, FloatArray]:
    """Return (3, N) distances of entering and leaving the slab between each pair of faces."""
    inverse = _reciprocal(directions)
    middle: FloatArray = inverse * -column(origin)
    reach = np.abs(inverse) * column(half)
    return middle - reach, middle + reach


def _cylinder_slabs(
    origin: Vector, directions: FloatArray, half: Vector
) -> tuple[FloatArray, FloatArray]:
    """Return (2, N) distances of entering and leaving the round side and the slab of the caps."""
    dx, dy, dz = directions
    squared: FloatArray = np.maximum(dx * dx + dy * dy, np.float32(_TINY**2))
    nearest = -(dx * origin[0] + dy * origin[1]) / squared
    # The distance to the axis at the nearest point loses fewer digits than the usual discriminant.
    off_x, off_y = origin[0] + nearest * dx, origin[1] + nearest * dy
    room = half[0] ** 2 - off_x * off_x - off_y * off_y
    reach = np.sqrt(np.maximum(room, 0) / squared)
    inverse = _reciprocal(dz)
    middle, cap_reach = inverse * -origin[2], np.abs(inverse) * half[2]
    enter = np.stack([nearest - reach, middle - cap_reach])
    return enter, np.stack([nearest + reach, middle + cap_reach])


def _sphere_span(rays: Rays, placement: Placement) -> tuple[FloatArray, FloatArray]:
    """Return (N,) distances of entering and leaving a sphere, equal where it is missed."""
    offset = column(rays.origin) - column(placement.centre)
    nearest = -dot(rays.directions, offset) / rays.squared_length
    off = offset + rays.directions * nearest
    room = placement.half[0] ** 2 - dot(off, off)
    reach = np.sqrt(np.maximum(room, 0) / rays.squared_length)
    return nearest - reach, nearest + reach


def _sphere_patch(points: FloatArray, placement: Placement) -> Patch:
    radius = placement.half[0]
    normals = points - column(placement.centre)
    normals /= np.sqrt(dot(normals, normals))
    u = np.arctan2(normals[1], normals[0]) * radius
    v = np.arcsin(np.clip(normals[2], -1, 1)) * radius
    return Patch(normals, u, v, np.zeros(u.size, np.int32))


def _box_patch(local: FloatArray, directions: FloatArray, axis: IndexArray, yaw: float) -> Patch:
    side = np.take_along_axis(directions, axis[None], 0)[0] < 0
    sign = np.where(side, np.float32(1), np.float32(-1))
    x, y, z = (np.where(axis == k, sign, np.float32(0)) for k in range(3))
    cosine, sine = math.cos(yaw), math.sin(yaw)
    normals = np.stack([cosine * x - sine * y, sine * x + cosine * y, z])
    u = np.where(axis == 0, local[1], local[0])
    v = np.where(axis == 2, local[1], local[2])
    return Patch(normals, u, v, (2 * axis + side).astype(np.int32))


def _cylinder_patch(
    local: FloatArray, directions: FloatArray, axis: IndexArray, placement: Placement
) -> Patch:
    radius = placement.half[0]
    cap = axis == 1
    up = directions[2] < 0
    length = np.maximum(np.sqrt(local[0] ** 2 + local[1] ** 2), np.float32(_TINY))
    x, y = (np.where(cap, 0, local[k] / length) for k in range(2))
    z = np.where(cap, np.where(up, np.float32(1), np.float32(-1)), np.float32(0))
    u = np.where(cap, local[0], np.arctan2(local[1], local[0]) * radius)
    v = np.where(cap, local[1], local[2])
    return Patch(np.stack([x, y, z]), u, v, np.where(cap, 1 + up, 0).astype(np.int32))
