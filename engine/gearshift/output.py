"""Files that commands write: checked before the work, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gearshift.errors import InputError


def check_file(output: Path) -> None:
    """Raises InputError for a place where no file can be written."""
    if not output.parent.is_dir():
        raise InputError(
            f"output {output} cannot be written: make the folder {output.parent} first"
        )
    if output.is_dir():
        raise InputError(f"output {output} is a folder: choose another name")


@contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """A temporary name beside `output`, with its ending; it becomes `output` at the end."""
    partial = output.with_name(f".{output.stem}.partial{output.suffix}")
    try:
        yield partial
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for output, if need be. Raises InputError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"folder {folder} cannot be made ({reason}): choose another") from None
