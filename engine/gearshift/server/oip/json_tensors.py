"""JSON with tensors in it, read and written so that nobody else waits for long.

Python's JSON parser holds the interpreter for as long as it runs: half a second for ten million
characters of numbers, in which no other request moves. So the numbers of `"data": [...]` are cut
out first and read piece by piece; what is left is small.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.server.errors import InvalidRequest, TooLarge
from gearshift.server.limits import Limits, parse_json

MOST_BRACKETS = 2**20
"""Of one tensor's nested arrays."""
PIECE = 2**16
"""Characters read, and a quarter as many numbers written, without letting others run."""

_BEGIN = re.compile(rb'"data"\s{0,64}:\s{0,64}\[')
_TO_SPACES = bytes.maketrans(b"[]", b"  ")
_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]")
_NO_ARRAY = "a tensor's data is no array of numbers"
_MARK = secrets.token_hex(8)


class JsonText:
    """One JSON value whose `data` arrays are read when asked for."""

    value: Any
    """The value; each array of numbers under a key `data` is a mark, see `numbers`."""

    def __init__(self, text: bytes | memoryview, limits: Limits) -> None:
        """Raises InvalidRequest and TooLarge as `gearshift.server.limits.parse_json`."""
        text = bytes(text)
        self._arrays: dict[str, bytes] = {}
        rest: list[bytes] = []
        end = 0
        for begin, after in _arrays(text):
            mark = f"{_MARK}-{len(self._arrays)}"
            self._arrays[mark] = text[begin:after]
            rest += text[end:begin], b'"' + mark.encode() + b'"'
            end = after
            if len(self._arrays) > limits.tensors:
                raise TooLarge(f"the JSON holds more than {limits.tensors} tensors")
        self.value = parse_json(b"".join([*rest, text[end:]]), limits)

    def numbers(self, mark: object) -> NDArray[np.generic]:
        """The numbers (n,) of an array under `data`, flat or nested, as int64 or float64.

        Raises:
            InvalidRequest: there was no array, or others than numbers in it.
        """
        text = self._arrays.get(mark) if isinstance(mark, str) else None
        if text is None or not _is_one_array(text):
            raise InvalidRequest(_NO_ARRAY)
        pieces = [_read(piece) for piece in _pieces(text)]
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]


def _arrays(text: bytes) -> Iterator[tuple[int, int]]:
    """Where each array of numbers under a key `data` begins and ends.

    A quotation mark inside a string has a backslash before it, so that this finds keys only.
    """
    at = 0
    while found := _BEGIN.search(text, at):
        begin = found.end() - 1
        at = _find(text, b"}", begin, _find(text, b'"', begin, len(text)))
        after = text.rfind(b"]", begin, at) + 1
        if after > 0:
            yield begin, after


def _find(text: bytes, sign: bytes, begin: int, end: int) -> int:
    """Where `sign` is between `begin` and `end`; `end` where it is not."""
    found = text.find(sign, begin, end)
    return end if found < 0 else found


def _is_one_array(text: bytes) -> bool:
    """Whether the first bracket is closed by the last character, and every other in between."""
    brackets = text.translate(None, _BUT_BRACKETS)
    if len(brackets) > MOST_BRACKETS:
        raise TooLarge(
            f"a tensor's data has {len(brackets):,} brackets, over the limit of {MOST_BRACKETS:,}: "
            "send its numbers in one flat array"
        )
    depth = np.where(np.frombuffer(brackets, np.uint8) == ord("["), 1, -1).cumsum()
    return bool(depth[-1] == 0 and (depth[:-1] > 0).all())


def _pieces(text: bytes) -> Iterator[bytes]:
    """Whole numbers with the commas between them, about `PIECE` characters at a time."""
    at = 0
    while at <= len(text):
        comma = text.find(b",", at + PIECE)
        end = len(text) if comma < 0 else comma
        yield text[at:end]
        at = end + 1


def _read(piece: bytes) -> NDArray[np.generic]:
    flat = b"[" + piece.translate(_TO_SPACES) + b"]"
    try:
        numbers = np.asarray(json.loads(flat, parse_constant=_refuse))
    except (ValueError, RecursionError):
        raise InvalidRequest(_NO_ARRAY) from None
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iuf"):
        raise InvalidRequest("a tensor's data holds others than numbers")
    return numbers


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def number_text(tensor: NDArray[np.float32]) -> Iterator[bytes]:
    """A tensor's numbers as the inside of a flat JSON array, in pieces; float32 comes back exact.

    Raises:
        ValueError: NaN or infinity, which JSON has not.
    """
    flat = tensor.reshape(-1)
    step = PIECE // 4
    for piece in range(math.ceil(flat.size / step)):
        text = json.dumps(flat[piece * step : (piece + 1) * step].tolist(), allow_nan=False)
        yield (b"," if piece else b"") + text[1:-1].encode()
