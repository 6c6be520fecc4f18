"""Random rooms: size, surfaces, furniture, camera and lights drawn from a seed.

The camera is placed first and everything else is put where it can be seen, so that few scenes
are wasted on an empty corner.
"""

from __future__ import annotations

import math

import numpy as np

from gearshift_export.demo.scenes.elements import (
    CLASSES,
    FLOOR,
    Camera,
    Light,
    Panel,
    Room,
    view_direction,
)
from gearshift_export.demo.scenes.furniture import Furnisher
from gearshift_export.demo.scenes.palette import linear, pale, salt, scaled, timber, vivid
from gearshift_export.demo.scenes.textures import Texture


def describe_room(seed: int) -> Room:
    """Draw a room; the same seed gives the same room."""
    rng = np.random.default_rng(seed)
    half_x, half_y = rng.uniform(1.6, 3.0), rng.uniform(1.6, 3.0)
    height = rng.uniform(2.4, 3.2)
    camera = _camera(rng, half_x, half_y)
    furnisher = Furnisher(rng, camera, half_x, half_y)
    furnisher.furnish()
    warm = rng.uniform(-0.1, 0.1)
    return Room(
        half_x=half_x,
        half_y=half_y,
        height=height,
        faces=_room_textures(rng),
        panels=_panels(rng, camera, half_x, half_y, height),
        solids=tuple(furnisher.solids),
        camera=camera,
        lights=_lights(rng, half_x, half_y, height),
        ambient=rng.uniform(0.35, 0.6),
        tint=(1 + warm, 1 + 0.2 * rng.uniform(-0.1, 0.1), 1 - warm),
        brightness=rng.uniform(0.24, 0.42),
        noise=rng.uniform(0.004, 0.014),
    )


def _camera(rng: np.random.Generator, half_x: float, half_y: float) -> Camera:
    """Stand close to a wall and look across the room, a little downwards."""
    angle, share = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1.0)
    x, y = math.cos(angle), math.sin(angle)
    share /= max(abs(x), abs(y))
    position = ((half_x - 0.3) * share * x, (half_y - 0.3) * share * y, rng.uniform(1.05, 1.7))
    target_x, target_y = rng.uniform(-0.3, 0.3) * half_x, rng.uniform(-0.3, 0.3) * half_y
    heading = math.atan2(target_y - position[1], target_x - position[0])
    pitch = -math.radians(rng.uniform(5, 18))
    return Camera(
        position=position,
        forward=(
            math.cos(heading) * math.cos(pitch),
            math.sin(heading) * math.cos(pitch),
            math.sin(pitch),
        ),
        right=(math.sin(heading), -math.cos(heading), 0.0),
        up=(
            -math.cos(heading) * math.sin(pitch),
            -math.sin(heading) * math.sin(pitch),
            math.cos(pitch),
        ),
        tan_half_fov=math.tan(math.radians(rng.uniform(55, 80)) / 2),
    )


def _lights(
    rng: np.random.Generator, half_x: float, half_y: float, height: float
) -> tuple[Light, ...]:
    lights = []
    for intensity in (1.0, 0.5)[: 1 + int(rng.random() < 0.35)]:
        x, y = rng.uniform(-0.7, 0.7) * half_x, rng.uniform(-0.7, 0.7) * half_y
        lights.append(Light((x, y, height - rng.uniform(0.2, 0.6)), intensity))
    return tuple(lights)


def _room_textures(rng: np.random.Generator) -> tuple[Texture, ...]:
    paint = pale(rng)
    pattern = str(rng.choice(["plain", "plain", "clouds", "stripes"]))
    contrast = rng.uniform(0.82, 0.92)
    walls = [Texture(pattern, paint, scaled(paint, contrast), rng.uniform(1.5, 4), 1)] * 4
    if rng.random() < 0.3:
        walls[int(rng.integers(4))] = Texture("plain", pale(rng), paint)
    kind = str(rng.choice(["wood", "wood", "wood", "tiles", "tiles", "clouds", "checker"]))
    if kind == "wood":
        floor = Texture(kind, *timber(rng), rng.uniform(1.0, 2.0), salt(rng))
    else:
        tone = scaled(pale(rng), rng.uniform(0.35, 0.9))
        scale = 1.0 if kind == "clouds" else rng.uniform(1.5, 3.5)
        floor = Texture(kind, tone, scaled(tone, rng.uniform(0.5, 0.75)), scale, salt(rng))
    grey = rng.uniform(0.78, 0.92)
    ceiling = Texture("plain", (grey, grey, 0.98 * grey), (grey, grey, grey))
    return (*walls, floor, ceiling)


def _panels(
    rng: np.random.Generator, camera: Camera, half_x: float, half_y: float, height: float
) -> tuple[Panel, ...]:
    """Draw an optional rug and one to four windows or pictures that do not overlap."""
    panels: list[Panel] = []
    for _ in range(int(rng.integers(1, 5))):
        label = CLASSES.index("window" if rng.random() < 0.5 else "picture")
        panel = _wall_panel(rng, label, camera, half_x, half_y, height)
        if panel is not None and not any(_overlap(panel, other) for other in panels):
            panels.append(panel)
    if rng.random() < 0.8:
        panels.append(_rug(rng, camera, half_x, half_y))
    return tuple(panels)


def _wall_panel(
    rng: np.random.Generator,
    label: int,
    camera: Camera,
    half_x: float,
    half_y: float,
    height: float,
) -> Panel | None:
    """Hang a window or picture where a random horizontal line of sight meets a wall."""
    x, y = view_direction(rng, camera, 0.9)
    reach_x = (math.copysign(half_x, x) - camera.position[0]) / (x or 1e-9)
    reach_y = (math.copysign(half_y, y) - camera.position[1]) / (y or 1e-9)
    on_x = reach_x < reach_y
    along = camera.position[1] + reach_x * y if on_x else camera.position[0] + reach_y * x
    window = CLASSES[label] == "window"
    half = (rng.uniform(0.4, 0.75), rng.uniform(0.4, 0.65))
    if not window:
        half = (rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.45))
    limit = (half_y if on_x else half_x) - half[0] - 0.1
    level = min(rng.uniform(1.3, 1.75), height - half[1] - 0.12)
    kind = str(rng.choice(["clouds", "checker", "stripes", "diamonds", "rings"]))
    texture = Texture(kind, vivid(rng), vivid(rng), rng.uniform(2.0, 5.0), salt(rng))
    accent = vivid(rng)
    if window:
        sky = linear(rng.uniform(0.35, 0.6), rng.uniform(0.6, 0.8), rng.uniform(0.9, 1.0))
        accent = (0.75, 0.75, 0.72) if rng.random() < 0.6 else timber(rng)[1]
        texture = Texture("plain", sky, sky)
    if limit < 0:
        return None
    face = (0 if on_x else 2) + int((x if on_x else y) > 0)
    return Panel(label, face, (max(-limit, min(limit, along)), level), half, texture, accent)


def _overlap(first: Panel, second: Panel) -> bool:
    gaps = (
        abs(a - b) - (c + d + 0.08)
        for a, b, c, d in zip(first.centre, second.centre, first.half, second.half, strict=True)
    )
    return first.face == second.face and all(gap < 0 for gap in gaps)


def _rug(rng: np.random.Generator, camera: Camera, half_x: float, half_y: float) -> Panel:
    """Lay a rug on the floor in front of the camera, inside the room."""
    half = (rng.uniform(0.8, 1.3), rng.uniform(0.6, 1.0))
    is_round = bool(rng.random() < 0.3)
    reach = max(half) if is_round else math.hypot(*half)
    x, y = view_direction(rng, camera, 0.4)
    distance = rng.uniform(1.6, 2.8)
    limits = (max(0.0, half_x - reach), max(0.0, half_y - reach))
    centre = (
        max(-limits[0], min(limits[0], camera.position[0] + distance * x)),
        max(-limits[1], min(limits[1], camera.position[1] + distance * y)),
    )
    kind = str(rng.choice(["stripes", "checker", "rings", "diamonds"]))
    texture = Texture(kind, vivid(rng), vivid(rng), rng.uniform(2.0, 5.0), salt(rng))
    yaw = rng.uniform(0, math.pi) if min(limits) > 0 else 0.0
    label = CLASSES.index("rug")
    return Panel(label, FLOOR, centre, half, texture, vivid(rng), yaw, is_round)
