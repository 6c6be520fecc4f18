"""Compiled kernels in a folder that may be moved, in the layout of Triton's cache.

Triton keeps each kernel in a folder named by a hash of all that it depends on. A file in it, the
group, names the others by absolute path: a folder that was moved would be passed over, and every
kernel compiled again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from triton import knobs

GROUP = "__grp__*.json"
"""What Triton calls the files that name a kernel's other files."""


def pack(compiled: Iterable[Path], folder: Path) -> int:
    """Copy kernels out of Triton's cache into `folder`, all of them or none.

    Args:
        compiled: the folders of the kernels (`Resources.folder`).
        folder: made if need be; kernels that it already holds stay as they are.

    Returns:
        How many kernels were added.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    added: list[Path] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pack-") as workshop:
        copies = []
        for kernel in dict.fromkeys(compiled):
            if not _is_whole(folder / kernel.name):
                copy = Path(workshop) / kernel.name
                shutil.copytree(kernel, copy)
                _point_groups_to(folder / kernel.name, copy)
                copies.append(copy)
        try:
            for copy in copies:
                place = folder / copy.name
                shutil.rmtree(place, ignore_errors=True)
                copy.rename(place)
                added.append(place)
        except BaseException:
            for place in added:
                shutil.rmtree(place, ignore_errors=True)
            raise
    return len(added)


def use_pack(folder: Path) -> None:
    """Let Triton look kernels up in `folder`, and keep there what it compiles from now on.

    Raises:
        OSError: the folder was moved here and cannot be written.
    """
    folder = folder.resolve()
    for kernel in folder.iterdir() if folder.is_dir() else ():
        if kernel.is_dir() and not _is_whole(kernel):
            _point_groups_to(kernel, kernel)
    knobs.cache.dir = str(folder)


def _is_whole(kernel: Path) -> bool:
    """Whether the groups of a kernel's folder name files that are in it."""
    groups = list(kernel.glob(GROUP))
    return bool(groups) and all(
        Path(path).parent == kernel and Path(path).is_file()
        for group in groups
        for path in _members(group).values()
    )


def _point_groups_to(place: Path, kernel: Path) -> None:
    """Let the groups in `kernel` name the files as they will be in `place`."""
    for group in kernel.glob(GROUP):
        paths = {name: str(place / name) for name in _members(group)}
        partial = group.with_suffix(".partial")
        partial.write_text(json.dumps({"child_paths": paths}))
        partial.replace(group)


def _members(group: Path) -> dict[str, str]:
    """The paths that a group names. A damaged one names no file, as Triton reads it."""
    try:
        paths = json.loads(group.read_text())["child_paths"]
        return {str(name): str(path) for name, path in paths.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"damaged": ""}
