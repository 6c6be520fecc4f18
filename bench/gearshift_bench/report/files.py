"""Writing files whole or not at all, and packages that a report needs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from gearshift.errors import InputError
from gearshift.output import whole_file


def need(package: str) -> None:
    """Raise an InputError that says what to install when `package` is missing."""
    if find_spec(package) is None:
        raise InputError(f"a report needs {package}: pip install 'gearshift[report]'")


def write(path: Path, content: bytes) -> None:
    """Under a temporary name first, so that nobody meets half a file.

    Raises:
        InputError: the folder is not there or cannot be written.
    """
    try:
        with whole_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
