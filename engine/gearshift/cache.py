"""The folder for everything that can be made again: built models, packed weights, checks passed."""

from __future__ import annotations

import os
from pathlib import Path

from gearshift.errors import GearshiftError


def cache_folder() -> Path:
    """$GEARSHIFT_CACHE, else $XDG_CACHE_HOME/gearshift, else ~/.cache/gearshift; made on demand.

    Raises:
        GearshiftError: it cannot be made.
    """
    if chosen := os.environ.get("GEARSHIFT_CACHE"):
        folder = Path(chosen)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "gearshift"
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise GearshiftError(
            f"cache folder {folder} cannot be made ({error}); set GEARSHIFT_CACHE to a folder "
            "that you may write"
        ) from None
    return folder
