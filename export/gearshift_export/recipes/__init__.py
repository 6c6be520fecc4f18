"""The recipes of published models, one TOML file each; `gearshift_export.recipe` reads them."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def built_in_recipes() -> list[str]:
    """Names that stand for a file of this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
