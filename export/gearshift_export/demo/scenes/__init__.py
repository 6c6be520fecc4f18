"""Procedural rooms with exact labels, depth, normals and edges."""

from gearshift_export.demo.scenes.elements import CLASS_COLOURS, CLASSES
from gearshift_export.demo.scenes.render import Scene, render_scene

__all__ = ["CLASSES", "CLASS_COLOURS", "Scene", "render_scene"]
