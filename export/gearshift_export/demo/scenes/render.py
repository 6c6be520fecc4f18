"""Ray casting of a room into colours, labels, depth, normals and edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gearshift_export.demo.scenes.elements import (
    CEILING,
    CLASSES,
    FLOOR,
    Camera,
    Light,
    Panel,
    Room,
)
from gearshift_export.demo.scenes.geometry import (
    BoolArray,
    FloatArray,
    IntArray,
    Rays,
    candidates,
    column,
    dot,
    hit_room,
    hit_solid,
    patch_of,
)
from gearshift_export.demo.scenes.room import describe_room
from gearshift_export.demo.scenes.textures import (
    as_column,
    colour_of,
    picture_colour,
    window_colour,
)

_FACE_LABELS = tuple(
    CLASSES.index({FLOOR: "floor", CEILING: "ceiling"}.get(face, "wall")) for face in range(6)
)
_WINDOW = CLASSES.index("window")
_SKY_GAIN = 1.6
# A rotated grid: no two of the four rays of a pixel share a row or a column.
_SUBPIXELS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))


@dataclass(frozen=True)
class Scene:
    """One picture with its exact ground truth, H x W pixels."""

    image: NDArray[np.uint8]  # (H, W, 3) sRGB
    labels: NDArray[np.uint8]  # (H, W) index into CLASSES
    depth: FloatArray  # (H, W) metres along the optical axis
    normals: FloatArray  # (H, W, 3) camera frame: x right, y up, z towards the camera
    edges: BoolArray  # (H, W) outlines and creases, one pixel thin


@dataclass(frozen=True)
class _Surface:
    """What N rays see, before light falls on it."""

    depth: FloatArray  # (N,)
    points: FloatArray  # (3, N) world frame
    normals: FloatArray  # (3, N) world frame
    albedo: FloatArray  # (3, N)
    shine: FloatArray  # (N,)
    glow: FloatArray  # (N,) 1 where the surface gives light itself
    labels: NDArray[np.uint8]  # (N,)
    identity: IntArray  # (N,) equal on one face of one piece


def render_scene(seed: int, height: int = 128, width: int = 128) -> Scene:
    """Render the room that belongs to a seed; the same seed gives the same bytes."""
    if min(height, width) < 16:
        raise ValueError("a scene needs at least 16 pixels in both directions")
    room = describe_room(seed)
    camera = room.camera
    rows, columns = (grid.ravel() for grid in np.indices((height, width), np.float32))
    rays = _camera_rays(camera, rows, columns, height, width)
    surface = _look(room, rays)
    colour = _shade(room, rays, surface)
    exposure = room.brightness / max(float(colour.mean()), 1e-3)
    colour = _expose(colour, room, exposure)

    identity = surface.identity.reshape(height, width)
    ragged = np.flatnonzero(_beside_change(identity))
    colour[:, ragged] = _supersample(room, rows[ragged], columns[ragged], (height, width), exposure)
    axes = np.array([camera.right, camera.up, [-c for c in camera.forward]], np.float32)
    normals = np.ascontiguousarray((axes @ surface.normals).T)
    return Scene(
        image=_develop(colour, room, seed).T.reshape(height, width, 3).copy(),
        labels=surface.labels.reshape(height, width),
        depth=surface.depth.reshape(height, width),
        normals=normals.reshape(height, width, 3),
        edges=_boundaries(identity),
    )


def _camera_rays(
    camera: Camera, rows: FloatArray, columns: FloatArray, height: int, width: int
) -> Rays:
    """Return rays through pixel positions; a step of 1 along a ray is a metre of depth."""
    scale = 2 * camera.tan_half_fov / height
    right = (columns + (0.5 - width / 2)) * scale
    up = ((height / 2 - 0.5) - rows) * scale
    directions = column(camera.forward) + column(camera.right) * right + column(camera.up) * up
    return Rays.through(camera.position, directions)


def _look(room: Room, rays: Rays) -> _Surface:
    """Find what each ray sees first."""
    depth, face = hit_room(rays, room.half_x, room.half_y, room.height)
    owner = np.full(depth.size, -1, np.int16)
    for number, solid in enumerate(room.solids):
        index = candidates(rays, solid.placement)
        if index.size == 0:
            continue
        distance = hit_solid(rays.take(index), solid.placement)
        nearer = np.flatnonzero(distance < depth[index])
        depth[index[nearer]] = distance[nearer]
        owner[index[nearer]] = number
    count = depth.size
    surface = _Surface(
        depth=depth,
        points=rays.points(depth),
        normals=np.zeros((3, count), np.float32),
        albedo=np.empty((3, count), np.float32),
        shine=np.zeros(count, np.float32),
        glow=np.zeros(count, np.float32),
        labels=np.empty(count, np.uint8),
        identity=np.empty(count, np.int32),
    )
    _cover_room(room, surface, np.where(owner < 0, face, -1).astype(np.int8))
    _cover_solids(room, rays, surface, owner)
    return surface


def _cover_room(room: Room, surface: _Surface, face: NDArray[np.int8]) -> None:
    """Fill in walls, floor and ceiling and what lies flat on them; other pixels have face -1."""
    for number in range(6):
        index = np.flatnonzero(face == number)
        if index.size == 0:
            continue
        x, y, z = surface.points[:, index]
        u, v = ((y, z), (x, z), (x, y))[number // 2]
        surface.normals[number // 2, index] = -1 if number % 2 else 1
        surface.labels[index] = _FACE_LABELS[number]
        surface.identity[index] = number
        surface.albedo[:, index] = colour_of(room.faces[number], u, v)
        for place, panel in enumerate(room.panels):
            if panel.face != number:
                continue
            local_u, local_v = _panel_position(panel, u, v)
            inside = np.flatnonzero(_inside_panel(panel, local_u, local_v))
            chosen = index[inside]
            surface.labels[chosen] = panel.label
            surface.identity[chosen] = 8 * (1 + place)
            colour, glow = _panel_colour(panel, local_u[inside], local_v[inside])
            surface.albedo[:, chosen], surface.glow[chosen] = colour, glow


def _panel_position(panel: Panel, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn positions on a room face into positions on a panel, both in metres."""
    u, v = u - panel.centre[0], v - panel.centre[1]
    if panel.yaw == 0.0:
        return u, v
    cosine, sine = float(np.cos(panel.yaw)), float(np.sin(panel.yaw))
    return cosine * u + sine * v, cosine * v - sine * u


def _inside_panel(panel: Panel, u: FloatArray, v: FloatArray) -> BoolArray:
    inside: BoolArray = (np.abs(u) < panel.half[0]) & (np.abs(v) < panel.half[1])
    if panel.is_round:
        inside &= np.hypot(u / panel.half[0], v / panel.half[1]) < 1
    return inside


def _panel_colour(panel: Panel, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (3, N) colours and the (N,) share of own light of a panel."""
    if panel.label == _WINDOW:
        return window_colour(panel.texture.first, panel.accent, u, v, panel.half)
    dark = np.zeros(u.size, np.float32)
    if panel.face != FLOOR:
        return picture_colour(panel.texture, panel.accent, u, v, panel.half), dark
    return colour_of(panel.texture, u, v), dark


def _cover_solids(room: Room, rays: Rays, surface: _Surface, owner: NDArray[np.int16]) -> None:
    """Fill in the pixels that show a solid; `owner` is its number or -1."""
    first_identity = 8 * (1 + len(room.panels))
    for number, solid in enumerate(room.solids):
        index = np.flatnonzero(owner == number)
        if index.size == 0:
            continue
        patch = patch_of(rays.take(index), surface.depth[index], solid.placement)
        surface.normals[:, index] = patch.normals
        surface.albedo[:, index] = colour_of(solid.texture, patch.u, patch.v)
        surface.shine[index] = solid.shine
        surface.labels[index] = solid.label
        surface.identity[index] = first_identity + 8 * number + patch.face


def _shade(room: Room, rays: Rays, surface: _Surface) -> FloatArray:
    """Return the (3, N) linear light that comes back along each ray."""
    normals = surface.normals
    light: FloatArray = room.ambient * (0.8 + 0.2 * normals[2]) * _corner_dimming(room, surface)
    gloss = np.zeros_like(light)
    to_eye: FloatArray = rays.directions * -np.reciprocal(np.sqrt(rays.squared_length))
    for lamp in room.lights:
        diffuse, mirror = _lamp_light(room, lamp, surface, to_eye)
        light += diffuse
        gloss += mirror
    light += (np.float32(_SKY_GAIN) - light) * surface.glow
    returned: FloatArray = surface.albedo * light + gloss
    return returned


def _corner_dimming(room: Room, surface: _Surface) -> FloatArray:
    """Return the (N,) share of ambient light left near walls, floor and ceiling."""
    share = np.ones(surface.depth.size, np.float32)
    centres, halves = (0, 0, room.height / 2), (room.half_x, room.half_y, room.height / 2)
    for axis in range(3):
        gap = halves[axis] - np.abs(surface.points[axis] - centres[axis])
        facing = 1 - np.abs(surface.normals[axis])
        share *= 1 - 0.4 * facing * np.exp(gap * -4)
    return share


def _lamp_light(
    room: Room, lamp: Light, surface: _Surface, to_eye: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return (N,) diffuse and mirrored light of one lamp, shadows included."""
    # Starting a little above the surface keeps a face from shadowing itself.
    raised = surface.points + surface.normals * np.float32(2e-3)
    beam = raised - column(lamp.position)
    squared = dot(beam, beam)
    beam_rays = Rays(lamp.position, beam, squared)
    distance = np.sqrt(squared)
    cosine = -dot(surface.normals, beam) / distance
    lit = (cosine > 0) & ~_in_shadow(room, beam_rays)
    strength: FloatArray = lamp.intensity / (1 + 0.12 * squared) * lit
    mirror = np.zeros_like(distance)
    shiny = np.flatnonzero(surface.shine)
    beam /= -distance
    halfway: FloatArray = to_eye[:, shiny] + beam[:, shiny]
    mirror[shiny] = _glint(surface.normals[:, shiny], halfway) * surface.shine[shiny]
    return strength * np.maximum(cosine, 0) * 1.4, mirror * strength


def _glint(normals: FloatArray, halfway: FloatArray) -> FloatArray:
    """Return how nearly the (3, N) normals halve the angle between lamp and eye, to the 32."""
    length = np.sqrt(np.maximum(dot(halfway, halfway), np.float32(1e-6)))
    cosine: FloatArray = np.maximum(dot(normals, halfway) / length, np.float32(0))
    for _ in range(5):
        cosine *= cosine
    return cosine


def _in_shadow(room: Room, beams: Rays) -> BoolArray:
    """Return where a solid stands between the origin of the beams and their ends."""
    shadow = np.zeros(beams.squared_length.size, np.bool_)
    for solid in room.solids:
        index = candidates(beams, solid.placement)
        if index.size:
            distance = hit_solid(beams.take(index), solid.placement)
            shadow[index] |= distance < 0.999
    return shadow


def _supersample(
    room: Room, rows: FloatArray, columns: FloatArray, size: tuple[int, int], exposure: float
) -> FloatArray:
    """Return the (3, N) mean colours of four rays a pixel."""
    all_rows = np.concatenate([rows + np.float32(shift) for shift, _ in _SUBPIXELS])
    all_columns = np.concatenate([columns + np.float32(shift) for _, shift in _SUBPIXELS])
    rays = _camera_rays(room.camera, all_rows, all_columns, *size)
    colour = _expose(_shade(room, rays, _look(room, rays)), room, exposure)
    mean: FloatArray = colour.reshape(3, len(_SUBPIXELS), -1).mean(1)
    return mean


def _expose(colour: FloatArray, room: Room, exposure: float) -> FloatArray:
    """Scale linear light to [0, 1] and cut off what is brighter."""
    exposed: FloatArray = colour * as_column(room.tint) * exposure
    return np.clip(exposed, np.float32(0), np.float32(1))


def _develop(colour: FloatArray, room: Room, seed: int) -> NDArray[np.uint8]:
    """Turn (3, N) linear light into bytes: gamma and sensor noise."""
    noise = np.random.default_rng([seed, 1]).standard_normal(colour.shape, np.float32)
    encoded = np.power(colour, np.float32(1 / 2.2)) + noise * room.noise
    levels: NDArray[np.uint8] = (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)
    return levels


def _boundaries(identity: IntArray) -> BoolArray:
    """Mark pixels that differ from the one to the right or below; lines are one pixel thin."""
    edges = np.zeros(identity.shape, np.bool_)
    edges[:, :-1] = identity[:, :-1] != identity[:, 1:]
    edges[:-1] |= identity[:-1] != identity[1:]
    return edges


def _beside_change(identity: IntArray) -> BoolArray:
    """Mark the pixels on both sides of every change."""
    beside = _boundaries(identity)
    beside[:, 1:] |= identity[:, 1:] != identity[:, :-1]
    beside[1:] |= identity[1:] != identity[:-1]
    return beside
