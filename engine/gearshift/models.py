"""A model by folder or by name."""

from __future__ import annotations

import os
from pathlib import Path

from gearshift.entries import find_entries
from gearshift.errors import ArtifactError

GROUP = "gearshift.models"
"""Entry points of this group are zero-argument functions that return an artifact's folder."""


def find_model(name_or_path: str | Path) -> Path:
    """The folder of a model.

    A registered name (`demo`, `tiny`, ...) goes first; it may build the artifact on first use.
    Anything else is a path: write `./demo` for a folder of that name.

    Raises:
        ArtifactError: neither; the message lists the known names.
    """
    known = find_entries(GROUP)
    if str(name_or_path) in known:
        return Path(known[str(name_or_path)].load()())
    path = Path(os.path.expanduser(name_or_path))
    if path.is_dir():
        return path
    names = ", ".join(sorted(known)) or "none are installed"
    raise ArtifactError(f"model {str(name_or_path)!r} is neither a folder nor a name ({names})")
