"""What one request and one client may cost, and the checks that hold them to it.

Every refusal names the limit, the value that was over it and the option that raises it. Each check
looks at a size before anything of that size is made: a body's length before it is read, a picture's
header before its pixels are decoded, a JSON text's depth before it is parsed.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gearshift.errors import GearshiftError
from gearshift.server.errors import InvalidRequest, TimedOut, TooLarge, Unavailable

PICTURE_FORMATS = ("JPEG", "PNG")
"""What is decoded: fewer decoders are fewer ways in."""

# Never goes back, and takes one that does not end as well: else a text of escaped quotation marks
# would be read once for each of them.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


@dataclass(frozen=True)
class Limits:
    """Of one server. Sizes in bytes, times in seconds."""

    body_bytes: int = 64 * 10**6
    """Of a request's body, as sent and after decompression, and of a gRPC message."""
    all_bodies_bytes: int = 10**9
    """Of the bodies of all requests that are at work: one beyond it is told to come again."""
    image_pixels: int = 25 * 10**6
    """Of one encoded picture, by its header."""
    tensors: int = 16
    """Inputs, and outputs asked for, of one request."""
    json_bytes: int = 10**6
    """Of a request's JSON, the numbers of its tensors aside."""
    json_depth: int = 32
    """How deep arrays and objects may stand in one another."""
    header_bytes: int = 32 * 10**3
    """Of a request's line and headers, and of a gRPC call's metadata."""
    connections: int = 512
    """HTTP connections, and concurrent gRPC calls, at a time."""
    header_seconds: float = 10.0
    """From a connection's first byte, or from its opening, to the end of the headers."""
    body_seconds: float = 60.0
    """To receive a body, and to take in an answer that the client reads slowly."""
    idle_seconds: float = 75.0
    """How long a connection stays open between two requests."""
    stream_seconds: float = 600.0
    """How long a gRPC stream may send nothing: it holds the place of a call."""


class Receives(Protocol):
    """The part of a Starlette request that `read_body` needs."""

    @property
    def headers(self) -> Any: ...

    def stream(self) -> AsyncIterator[bytes]: ...


async def read_body(request: Receives, limits: Limits) -> bytes:
    """The whole body, as it was sent.

    Raises:
        TooLarge: it is, or says that it is, longer than the limit.
        TimedOut: it did not arrive in time.
        InvalidRequest: its length is no number.
    """
    declared = request.headers.get("content-length")
    if declared is not None:
        if not (declared.isascii() and declared.isdigit()):
            raise InvalidRequest(f"Content-Length {declared[:40]!r} is no number of bytes")
        check_body_size(int(declared[:20]), limits)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                size += len(piece)
                check_body_size(size, limits)
                if piece:
                    pieces.append(piece)
    except TimeoutError:
        raise TimedOut(
            f"the body did not arrive within {limits.body_seconds:g} s ({size:,} bytes did): "
            "send it faster, or send less"
        ) from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def check_body_size(size: int, limits: Limits) -> None:
    """Raises TooLarge for a body longer than the limit."""
    if size > limits.body_bytes:
        raise TooLarge(
            f"the body has {size:,} bytes or more, over the limit of {limits.body_bytes:,} bytes: "
            "send less, or start the server with a larger --max-body"
        )


class HeldBytes:
    """What the bodies of all requests at work hold in memory, whatever their transport."""

    def __init__(self, limits: Limits) -> None:
        self.size = 0
        self._most = limits.all_bodies_bytes

    def add(self, size: int) -> None:
        """Counts also what is refused: who adds must `remove` it in the end.

        Raises:
            Unavailable: all together are over the limit.
        """
        self.size += size
        if self.size > self._most:
            raise Unavailable(
                f"the requests at work hold over {self._most:,} bytes: come again when some have "
                "ended"
            )

    def remove(self, size: int) -> None:
        """They are let go."""
        self.size -= size


def check_tensors(number: int, what: str, limits: Limits) -> None:
    """Raises TooLarge for more inputs or outputs than the limit; `what` names them."""
    if number > limits.tensors:
        raise TooLarge(f"a request has at most {limits.tensors} {what}, not {number}")


def inflate(data: bytes, encoding: str, limits: Limits) -> bytes:
    """A body as it was before the client compressed it (`gzip`, `deflate`, `identity`).

    Raises:
        TooLarge: it grows beyond the body limit.
        InvalidRequest: another encoding, or damaged data.
    """
    if encoding in ("", "identity"):
        return data
    if encoding not in ("gzip", "deflate"):
        raise InvalidRequest(
            f"Content-Encoding {encoding[:40]!r} is not known: use gzip, deflate or none"
        )
    # HTTP's deflate is the zlib format; 32 lets zlib tell zlib from gzip by its header.
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = stream.decompress(data, limits.body_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the {encoding} body is damaged: {error}") from None
    check_body_size(len(plain), limits)
    if not stream.eof or stream.unused_data:
        raise InvalidRequest(f"the {encoding} body is cut off, or goes on behind its end")
    return plain


def parse_json(text: bytes | memoryview, limits: Limits) -> Any:
    """A JSON value, strictly: no NaN, no Infinity, no more length or depth than the limits.

    Raises:
        InvalidRequest: the text is no such JSON.
        TooLarge: it is too long, or arrays or objects are nested too deeply.
    """
    if len(text) > limits.json_bytes:
        raise TooLarge(
            f"the JSON has {len(text):,} bytes, numbers of tensors aside, over the limit of "
            f"{limits.json_bytes:,}"
        )
    text = bytes(text)
    if text.count(b"[") + text.count(b"{") > limits.json_depth:
        # Only then can it be too deep.
        depth = json_depth(text)
        if depth > limits.json_depth:
            raise TooLarge(f"JSON is nested {depth} deep, over the limit of {limits.json_depth}")
    try:
        return _STRICT.decode(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is no valid JSON: {error}") from None


def json_depth(text: bytes) -> int:
    """The deepest nesting of brackets outside strings; of broken JSON, some upper estimate."""
    brackets = np.frombuffer(_STRING.sub(b"", text).translate(None, _NO_BRACKETS), np.uint8)
    opens = (brackets == ord("[")) | (brackets == ord("{"))
    return int(np.where(opens, 1, -1).cumsum().max(initial=0))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_STRICT = json.JSONDecoder(parse_constant=_no_constant)


def decode_picture(data: bytes | memoryview, limits: Limits) -> Image.Image:
    """A JPEG or PNG file's picture, turned as its EXIF tag says.

    Takes a tenth of a second or more for a large picture: the caller keeps it off the event loop.

    Raises:
        InvalidRequest: no such picture, or a damaged one.
        TooLarge: its header announces more pixels than the limit.
    """
    with _named_damage(), Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as picture:
        check_pixels(picture.width, picture.height, limits)
        picture.load()
        return ImageOps.exif_transpose(picture)


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """Raises TooLarge for a picture with more pixels than the limit."""
    if width * height > limits.image_pixels:
        raise TooLarge(
            f"the picture is {width}x{height} = {width * height:,} pixels, over the limit of "
            f"{limits.image_pixels:,}: shrink it, or start the server with a larger --max-pixels"
        )


@contextmanager
def _named_damage() -> Iterator[None]:
    """Whatever a decoder makes of a file whose parts contradict one another, in our words."""
    try:
        yield
    except GearshiftError:
        raise
    except UnidentifiedImageError:
        raise InvalidRequest("the picture is not a JPEG or PNG file") from None
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the picture is too large: {error}") from None
    except Exception as error:
        # Pillow's plugins let everything through that reading a damaged file can raise:
        # struct.error, KeyError, OverflowError, SyntaxError, ... No list of them is complete.
        raise InvalidRequest(f"the picture is damaged: {str(error)[:200]}") from None
