"""The procedural rooms: repeatable, well formed and true to their own geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from gearshift_export.demo.scenes import CLASS_COLOURS, CLASSES, Scene, render_scene
from gearshift_export.demo.scenes.room import describe_room

FloatArray = NDArray[np.float64]
pytestmark = pytest.mark.filterwarnings("error")

SEEDS = range(12)
ROOM_DIAGONAL = math.hypot(6.0, 6.0, 3.2)


@pytest.fixture(scope="module")
def scenes() -> dict[int, Scene]:
    return {seed: render_scene(seed, 96, 96) for seed in SEEDS}


def back_project(seed: int, scene: Scene) -> tuple[FloatArray, FloatArray]:
    """Return (H, W, 3) rays and points in the camera frame, written out independently."""
    height, width = scene.depth.shape
    focal = height / 2 / describe_room(seed).camera.tan_half_fov
    rays = np.empty((height, width, 3))
    rays[..., 0] = (np.arange(width) + 0.5 - width / 2)[None, :] / focal
    rays[..., 1] = -(np.arange(height) + 0.5 - height / 2)[:, None] / focal
    rays[..., 2] = -1
    return rays, rays * scene.depth[..., None]


def same_face_pairs(scene: Scene, axis: int) -> NDArray[np.bool_]:
    """Mark pixels whose next neighbour along an axis is on the same flat face, by label,
    normal and the lack of an edge."""
    here = np.take(scene.normals, range(scene.normals.shape[axis] - 1), axis)
    there = np.take(scene.normals, range(1, scene.normals.shape[axis]), axis)
    edge = np.take(scene.edges, range(scene.edges.shape[axis] - 1), axis)
    same: NDArray[np.bool_] = (np.abs(here - there).max(-1) < 1e-6) & ~edge
    return same


def label(name: str) -> int:
    return CLASSES.index(name)


def test_class_tables() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == len(set(CLASS_COLOURS)) == 10
    assert all(0 <= value <= 255 for colour in CLASS_COLOURS for value in colour)


def test_same_seed_gives_same_bytes() -> None:
    first, second = render_scene(5, 40, 48), render_scene(5, 40, 48)
    for name, array in vars(first).items():
        assert array.tobytes() == getattr(second, name).tobytes(), name


def test_seeds_differ(scenes: dict[int, Scene]) -> None:
    assert len({scene.depth.tobytes() for scene in scenes.values()}) == len(scenes)
    assert len({scene.image.tobytes() for scene in scenes.values()}) == len(scenes)


@pytest.mark.parametrize(("height", "width"), [(33, 57), (57, 33), (16, 16), (16, 130)])
def test_shapes_and_types(height: int, width: int) -> None:
    scene = render_scene(3, height, width)
    expected = {
        "image": ((height, width, 3), np.uint8),
        "labels": ((height, width), np.uint8),
        "depth": ((height, width), np.float32),
        "normals": ((height, width, 3), np.float32),
        "edges": ((height, width), np.bool_),
    }
    for name, (shape, kind) in expected.items():
        array = getattr(scene, name)
        assert (array.shape, array.dtype) == (shape, kind), name
        assert array.flags.c_contiguous, name
    assert scene.labels.max() < len(CLASSES)


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        render_scene(0, 15, 64)


def test_numbers_are_sane(scenes: dict[int, Scene]) -> None:
    with np.errstate(all="raise", under="ignore"):
        render_scene(77, 64, 64)
    for seed, scene in scenes.items():
        assert np.isfinite(scene.depth).all()
        assert np.isfinite(scene.normals).all()
        assert 0.2 < scene.depth.min() <= scene.depth.max() < ROOM_DIAGONAL
        assert np.abs(np.linalg.norm(scene.normals, axis=-1) - 1).max() < 1e-4
        rays, _ = back_project(seed, scene)
        assert (scene.normals * rays).sum(-1).max() < 1e-3, "a surface looks away"
        assert 50 < scene.image.mean() < 220
        assert scene.image.std() > 15


def test_flat_faces_are_flat(scenes: dict[int, Scene]) -> None:
    """Steps between neighbouring points of a flat face are at right angles to its normal."""
    for seed, scene in scenes.items():
        _, points = back_project(seed, scene)
        for axis in (0, 1):
            same = same_face_pairs(scene, axis)
            step = np.diff(points, axis=axis)[same]
            normal = np.take(scene.normals, range(points.shape[axis] - 1), axis)[same]
            assert same.mean() > 0.5
            assert np.abs((step * normal).sum(-1)).max() < 2e-4


def test_balls_are_round(scenes: dict[int, Scene]) -> None:
    """All points of a ball are one radius from a centre found from points and normals alone."""
    checked = 0
    for seed, scene in scenes.items():
        camera = describe_room(seed).camera
        axes = np.array([camera.right, camera.up, [-value for value in camera.forward]])
        _, points = back_project(seed, scene)
        ball = scene.labels == label("ball")
        for solid in describe_room(seed).solids:
            if solid.placement.shape != "sphere":
                continue
            radius = solid.placement.half[0]
            centre = axes @ (np.array(solid.placement.centre) - camera.position)
            inside = ball & (
                np.linalg.norm(points - radius * scene.normals - centre, axis=-1) < 0.01
            )
            checked += int(inside.sum())
            distance = np.linalg.norm(points[inside] - centre, axis=-1)
            assert np.abs(distance - radius).max(initial=0) < 1e-3
            ball &= ~inside
        assert not ball.any(), "a ball pixel belongs to no ball"
    assert checked > 2000


def test_room_faces_are_where_they_should_be(scenes: dict[int, Scene]) -> None:
    for seed, scene in scenes.items():
        room = describe_room(seed)
        _, points = back_project(seed, scene)
        up = np.array([room.camera.right[2], room.camera.up[2], -room.camera.forward[2]])
        level = points @ up + room.camera.position[2]
        for name, height in (("floor", 0.0), ("rug", 0.0), ("ceiling", room.height)):
            found = scene.labels == label(name)
            assert np.abs(level[found] - height).max(initial=0) < 1e-3, name
        assert -1e-3 < level.min() <= level.max() < room.height + 1e-3


def test_edges_lie_on_changes(scenes: dict[int, Scene]) -> None:
    for seed, scene in scenes.items():
        _, points = back_project(seed, scene)
        jump = np.zeros(scene.edges.shape, bool)
        label_jump = jump.copy()
        for axis in (0, 1):
            to = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
            step = np.diff(points, axis=axis)
            normal = scene.normals[to]
            bend = (normal * np.roll(scene.normals, -1, axis)[to]).sum(-1) < 0.97
            label_jump[to] |= np.diff(scene.labels.astype(int), axis=axis) != 0
            jump[to] |= bend | (np.abs((step * normal).sum(-1)) > 0.02)
        assert scene.edges[label_jump].all(), "an outline is missing"
        assert (label_jump | jump)[scene.edges].mean() > 0.98, "an edge inside a face"
        assert 0.01 < scene.edges.mean() < 0.2


def test_creases_between_walls_and_box_faces_are_edges(scenes: dict[int, Scene]) -> None:
    """Flat things: wherever the normal turns within one label there is an edge."""
    flat = [label(name) for name in ("wall", "box")]
    for scene in scenes.values():
        for axis in (0, 1):
            to = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
            turn = np.abs(np.diff(scene.normals, axis=axis)).max(-1) > 1e-3
            turn &= np.isin(scene.labels[to], flat)
            assert scene.edges[to][turn].all()


def test_colours_are_smoothed_along_outlines() -> None:
    """A finer picture, averaged down, is closer at edges than its own centre samples are."""
    coarse, fine = render_scene(8, 48, 48), render_scene(8, 240, 240)
    blocks = fine.image.reshape(48, 5, 48, 5, 3).astype(float)
    mean, centre = blocks.mean((1, 3)), blocks[:, 2, :, 2]
    edges = coarse.edges
    smooth = np.abs(coarse.image - mean)[edges].mean()
    assert smooth < 0.75 * np.abs(centre - mean)[edges].mean()


def test_every_class_is_common() -> None:
    shares = np.zeros((150, len(CLASSES)))
    for row, seed in zip(shares, range(1000, 1150), strict=True):
        row[:] = np.bincount(render_scene(seed, 48, 48).labels.ravel(), minlength=row.size)
    common = (shares >= 0.01 * 48 * 48).mean(0)
    sometimes = {"rug", "window", "picture", "table"}
    for name, share in zip(CLASSES, common, strict=True):
        assert share > (0.45 if name in sometimes else 0.6), name


def test_objects_keep_apart_and_off_the_camera() -> None:
    for seed in range(200):
        room = describe_room(seed)
        for solid in room.solids:
            place = solid.placement
            gap = math.dist(place.centre, room.camera.position) - place.bounding_radius
            assert gap > 0.15, seed
            assert place.centre[2] + place.half[2] < min(lamp.position[2] for lamp in room.lights)
        balls = [s.placement for s in room.solids if s.placement.shape == "sphere"]
        for number, first in enumerate(balls):
            for second in balls[:number]:
                assert math.dist(first.centre, second.centre) > first.half[0] + second.half[0]
