"""The folder for everything that can be made again: built models, packed weights, checks passed."""

from __future__ import annotations

import os
from collections.abc import Hashable
from contextlib import suppress
from hashlib import sha256
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


class Mark:
    """A check that was passed, remembered as an empty file in the cache folder.

    Without a cache folder that can be written nothing is remembered, and checks are made again.
    """

    def __init__(self, *identity: Hashable) -> None:
        """`identity`: everything that the outcome of the check depends on, as its `repr` says."""
        name = sha256(repr(identity).encode()).hexdigest()
        self._file: Path | None = None
        with suppress(GearshiftError):
            self._file = cache_folder() / "verified" / name

    def is_set(self) -> bool:
        """Whether the check was passed before."""
        return self._file is not None and self._file.exists()

    def set(self) -> None:
        """Remember that it was passed."""
        if self._file is not None:
            with suppress(OSError):
                self._file.parent.mkdir(exist_ok=True)
                self._file.touch()
