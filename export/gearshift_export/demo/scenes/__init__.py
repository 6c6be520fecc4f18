"""Procedural rooms with exact labels, depth, normals and edges."""

from .elements import CLASS_COLOURS, CLASSES
from .render import Scene, render_scene

__all__ = ["CLASSES", "CLASS_COLOURS", "Scene", "render_scene"]
