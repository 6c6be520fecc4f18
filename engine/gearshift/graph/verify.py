"""The slow check of an artifact, done once: do the weights' bytes have the card's hash?"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from os import stat_result
from pathlib import Path

from gearshift.cache import cache_folder
from gearshift.errors import ArtifactError, GearshiftError
from gearshift.graph.layout import CARD_FILE, WEIGHTS_FILE
from gearshift.graph.read import artifact_file, blame, read_card_file


def verify_artifact(folder: Path) -> None:
    """Compare the sha256 of `weights.bin` with the card's.

    Success is remembered in the cache folder under the file's path, size, time of change, inode
    and expected hash, so that the next call reads nothing.

    Raises:
        ArtifactError: the hash differs, or card or weights cannot be read.
    """
    folder = folder.expanduser()
    expected = read_card_file(folder).weights.sha256
    with blame(folder / WEIGHTS_FILE, "fetch an undamaged copy, or export the model again"):
        path = artifact_file(folder, WEIGHTS_FILE).resolve()
        before = path.stat()
        mark = _mark(path, before, expected)
        if mark is not None and mark.exists():
            return
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected:
            raise ArtifactError(f"sha256 {digest}, but {CARD_FILE} says {expected}")
        if mark is not None and mark == _mark(path, path.stat(), expected):
            # An unwritable cache only means that the next call hashes again.
            with suppress(OSError):
                mark.parent.mkdir(exist_ok=True)
                mark.touch()


def _mark(path: Path, status: stat_result, expected: str) -> Path | None:
    """The empty file whose presence means that this very file was found good; None: no cache."""
    identity = (str(path), status.st_size, status.st_mtime_ns, status.st_ino, expected)
    name = hashlib.sha256(repr(identity).encode()).hexdigest()
    try:
        return cache_folder() / "verified" / name
    except GearshiftError:
        return None
