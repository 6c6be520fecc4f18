"""Result documents from strangers: read, checked, made safe to write as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from gearshift.errors import InputError
from gearshift_bench.report.files import need, write

LARGEST, SMALLEST = 1e30, 1e-30
"""Whatever is larger, or smaller and not zero, was not measured, in any unit."""
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What neither XML nor UTF-8 can carry."""
MOST_BYTES = 256_000_000
"""A million latencies are 25 MB."""


def read_document(path: str | Path) -> dict[str, Any]:
    """A file that `gearshift bench --json` wrote; see `check_document`.

    Raises:
        InputError: no such file, no JSON, or not what the schema says.
    """
    path = Path(path)
    content = _content(path)
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    try:
        return check_document(found)
    except RecursionError:
        raise InputError(f"{path}: nested too deeply for a result of gearshift bench") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        # A pipe or a device could go on for ever.
        if not path.is_file():
            raise InputError(f"{path} cannot be read: it is not a file")
        if size > MOST_BYTES:
            raise InputError(f"{path} has more than {MOST_BYTES:,} bytes: that is no result")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def write_document(document: object, path: Path) -> None:
    """Write what `read_document` reads.

    Raises:
        InputError: the document does not follow the schema, or the path cannot be written.
    """
    checked = check_document(document)
    write(path, f"{json.dumps(checked, indent=1, allow_nan=False)}\n".encode())


def check_document(document: object) -> dict[str, Any]:
    """A copy whose text can be printed, once the schema has nothing against it.

    Raises:
        InputError: names the first entry that the schema refuses.
    """
    need("jsonschema")
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads(files("gearshift_bench").joinpath("result_schema.json").read_text("utf-8"))
    error = best_match(Draft202012Validator(schema).iter_errors(document))
    if error is not None:
        place = error.json_path.removeprefix("$").removeprefix(".") or "document"
        raise InputError(
            f"{place} is not as in a result of gearshift bench: {_short(error.message)}"
        )
    return _checked(document)


def _checked(value: Any) -> Any:
    if isinstance(value, int | float) and value and not SMALLEST <= abs(value) <= LARGEST:
        raise InputError(f"a figure is not between {SMALLEST:g} and {LARGEST:g}: measure again")
    if isinstance(value, str):
        return UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_checked(name): _checked(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(one) for one in value]
    return value


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:200]}…"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
