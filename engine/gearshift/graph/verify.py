"""The slow check of an artifact, done once: do the weights' bytes have the card's hash?"""

from __future__ import annotations

import hashlib
from os import stat_result
from pathlib import Path

from gearshift.cache import Mark
from gearshift.errors import ArtifactError
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
        if mark.is_set():
            return
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected:
            raise ArtifactError(f"sha256 {digest}, but {CARD_FILE} says {expected}")
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
            mark.set()


def _mark(path: Path, status: stat_result, expected: str) -> Mark:
    return Mark(str(path), status.st_size, status.st_mtime_ns, status.st_ino, expected)
