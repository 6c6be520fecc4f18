"""What a request may cost: bodies, compression, JSON, pictures."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gearshift.server.errors import InvalidRequest, TimedOut, TooLarge
from gearshift.server.limits import (
    Limits,
    check_tensors,
    decode_picture,
    inflate,
    json_depth,
    parse_json,
    read_body,
)

LIMITS = Limits(body_bytes=1000, image_pixels=5000, json_depth=5)


class Sender:
    """A request that sends these pieces, each after a moment."""

    def __init__(self, *pieces: bytes, wait: float = 0.0, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.sent = 0
        self._pieces = pieces
        self._wait = wait

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await asyncio.sleep(self._wait)
            self.sent += 1
            yield piece


def test_a_body_of_just_the_limit_is_read_whole() -> None:
    pieces = (b"a" * 400, b"", b"b" * 600)
    sender = Sender(*pieces, content_length="1000")
    assert asyncio.run(read_body(sender, LIMITS)) == b"".join(pieces)


def test_a_longer_one_is_refused_before_it_is_read() -> None:
    sender = Sender(b"a" * 1001, content_length="1001")
    with pytest.raises(TooLarge, match="--max-body"):
        asyncio.run(read_body(sender, LIMITS))
    assert sender.sent == 0


def test_one_without_length_is_read_only_to_the_limit() -> None:
    sender = Sender(*[b"a" * 300] * 100)
    with pytest.raises(TooLarge):
        asyncio.run(read_body(sender, LIMITS))
    assert sender.sent == 4


@pytest.mark.parametrize("length", ["-1", "1e3", "", "٣", "0x10", "9" * 400 + "x"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequest, match="no number"):
        asyncio.run(read_body(Sender(content_length=length), LIMITS))


def test_a_slow_body_times_out() -> None:
    limits = replace(LIMITS, body_seconds=0.05)
    with pytest.raises(TimedOut, match="did not arrive within"):
        asyncio.run(read_body(Sender(*[b"x"] * 100, wait=0.02), limits))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies_grow_back(encoding: str) -> None:
    plain = np.random.default_rng(0).bytes(700)
    packed = gzip.compress(plain, mtime=0) if encoding == "gzip" else zlib.compress(plain)
    assert inflate(packed, encoding, LIMITS) == plain
    assert inflate(plain, "", LIMITS) is plain
    for damaged in (packed[:-1], packed + b"x", packed[:-20] + b"x" * 20, b"", plain):
        with pytest.raises(InvalidRequest):
            inflate(damaged, encoding, LIMITS)


def test_a_compressed_bomb_is_stopped_at_the_limit() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(TooLarge):
        inflate(bomb, "deflate", LIMITS)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(InvalidRequest, match="'br' is not known"):
        inflate(b"", "br", LIMITS)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "", "[", "{]", "\xff"])
def test_json_is_strict(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(text.encode("latin-1"), LIMITS)


def test_deep_json_is_refused_before_it_is_parsed() -> None:
    assert parse_json(b"[[[[[1]]]]]", LIMITS) == [[[[[1]]]]]
    assert parse_json(b"[[],[],[],[],[],[]]", LIMITS) == [[]] * 6
    assert parse_json(b'["[[[[[[", "{{{{{{"]', LIMITS) == ["[[[[[[", "{{{{{{"]
    for text in (b"[" * 6 + b"]" * 6, b"[" * 1_000_000, b'{"a":' * 6 + b"1" + b"}" * 6):
        with pytest.raises(TooLarge, match="deep"):
            parse_json(text, LIMITS)


def test_long_json_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(TooLarge, match="over the limit of 1,000,000"):
        parse_json(b'"' + b"x" * 1_000_000 + b'"', LIMITS)


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 400_000, b'"\\' * 300_000, b'"' * 900_001])
def test_a_string_that_does_not_end_is_read_but_once(text: bytes) -> None:
    """Read again from each of its quotation marks, it would take hours."""
    with pytest.raises(InvalidRequest, match="no valid JSON"):
        parse_json(text + b"[" * 50, LIMITS)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(alphabet='[]{}"\\ab\n'),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
@settings(deadline=None)
def test_depth_is_that_of_the_parsed_value(value: object) -> None:
    def depth(value: object) -> int:
        if isinstance(value, dict):
            return 1 + max(map(depth, value.values()), default=0)
        if isinstance(value, list):
            return 1 + max(map(depth, value), default=0)
        return 0

    assert json_depth(json.dumps(value).encode()) == depth(value)


def test_tensors_are_counted() -> None:
    check_tensors(16, "inputs", LIMITS)
    with pytest.raises(TooLarge, match="16 inputs, not 17"):
        check_tensors(17, "inputs", LIMITS)


def encode(form: str, width: int = 40, height: int = 30, **options: object) -> bytes:
    random = np.random.default_rng(width)
    pixels = random.integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_jpeg_and_png_are_decoded(form: str) -> None:
    data = encode(form)
    assert np.array_equal(decode_picture(data, LIMITS), Image.open(io.BytesIO(data)))


def test_a_turned_picture_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert decode_picture(encode("JPEG", exif=exif), LIMITS).size == (30, 40)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"])
def test_other_formats_are_not(form: str) -> None:
    with pytest.raises(InvalidRequest, match="not a JPEG or PNG"):
        decode_picture(encode(form), LIMITS)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces these pixels, and which has none."""
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(100)),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(5001, 1), (50_000, 50_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_over_the_limit_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match=r"pixels|too large"):
        decode_picture(bomb(*size), LIMITS)


@pytest.mark.filterwarnings("ignore")
def test_every_cut_and_many_changed_bytes_are_named_or_decoded() -> None:
    """Nothing but our own two errors comes out of a damaged file."""
    random = np.random.default_rng(3)
    lines: list[str] = []
    for form in ("JPEG", "PNG"):
        whole = encode(form)
        for _ in range(400):
            data = bytearray(whole[: random.integers(1, len(whole) + 1)])
            for place in random.integers(0, len(data), random.integers(0, 6)):
                data[place] = random.integers(256)
            try:
                assert decode_picture(bytes(data), LIMITS).width > 0
            except (InvalidRequest, TooLarge) as error:
                lines += [str(error)]
    assert len(lines) > 200
    assert not any("\n" in line for line in lines)
