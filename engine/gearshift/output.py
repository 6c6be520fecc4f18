"""Files that commands write: checked before the work, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from gearshift.errors import GearshiftError, InputError


def check_file(output: Path) -> None:
    """Raises InputError for a place where no file can be written."""
    if not output.parent.is_dir():
        raise InputError(
            f"output {output} cannot be written: make the folder {output.parent} first"
        )
    if output.is_dir():
        raise InputError(f"output {output} is a folder: choose another name")
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"output {output} cannot be written: folder {output.parent} is read-only")


def check_folder(
    folder: Path, files: Collection[str], thing: str, error: type[GearshiftError] = InputError
) -> None:
    """Refuse to replace a file, or a folder with anything but `files`, those of `thing`.

    Raises:
        error: `folder` is one of these.
    """
    if folder.is_dir():
        others = {entry.name for entry in folder.iterdir()} - set(files)
        if others:
            raise error(
                f"{folder} holds {min(others)!r}, which is no part of {thing}; choose another "
                "folder, or move it away"
            )
    elif folder.exists():
        raise error(f"{folder} is not a folder; choose another name")


@contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """A temporary name beside `output`, with its ending; it becomes `output` at the end."""
    partial = output.with_name(f".{output.stem}.{os.getpid()}.partial{output.suffix}")
    try:
        yield partial
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A fresh folder on the same disk; it becomes `output` at the end.

    What stood there is deleted only after that, and stays when anything fails.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        # One level deeper, because mkdtemp makes a folder that only its owner may enter.
        inner = outer / output.name
        inner.mkdir()
        yield inner
        _put_in_place(inner, output)
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _put_in_place(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what stood there is deleted only after that."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f"{new.parent.name}.old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def make_folder(folder: Path) -> None:
    """Make a folder for output, if need be. Raises InputError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"folder {folder} cannot be made ({reason}): choose another") from None
