"""Models by name: the trained demo, and published sizes with seeded weights for benchmarks.

Registered under the entry-point group `gearshift.models`. Finding one that is there already loads
no torch: a session that opens it need not wait for that.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from gearshift.cache import cache_folder
from gearshift.errors import ArtifactError
from gearshift.graph.layout import MODEL_FILE, WEIGHTS_FILE
from gearshift.graph.read import read_card_file


def demo() -> Path:
    """The trained model that ships with gearshift."""
    return Path(__file__).parent / "demo" / "demo.gs"


def tiny() -> Path:
    """Edge-MoE's size (Cityscapes, 128x256), seeded weights; built on first use."""
    return _cached("tiny", "cityscapes-tiny", width=192, expert_hidden=384)


def small() -> Path:
    """M3ViT's small size (NYUD, 480x640), seeded weights; built on first use."""
    return _cached("small", "nyud-small", width=384, expert_hidden=384)


def _cached(name: str, recipe_name: str, width: int, expert_hidden: int) -> Path:
    """The artifact in the cache folder, named with the version; the first to build it wins.

    Raises:
        ArtifactError: the cache folder cannot be written.
    """
    artifact = cache_folder() / "models" / f"{name}-{version('gearshift')}.gs"
    if not _is_whole(artifact):
        from gearshift_export.published import build

        build(artifact, name, recipe_name, width, expert_hidden)
    return artifact


def _is_whole(artifact: Path) -> bool:
    """Whether the cache holds it; one that is damaged or of another format is removed."""
    if not artifact.is_dir():
        return False
    try:
        card = read_card_file(artifact)
        sizes = {MODEL_FILE: card.model.size, WEIGHTS_FILE: card.weights.size}
        if all((artifact / file).stat().st_size == size for file, size in sizes.items()):
            return True
    except (ArtifactError, OSError):
        pass
    shutil.rmtree(artifact, ignore_errors=True)
    return False
