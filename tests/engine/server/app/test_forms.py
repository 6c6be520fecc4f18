"""Pictures in HTML forms, well made and not."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from gearshift.server.errors import InvalidRequest, TooLarge
from gearshift.server.forms import MOST_PARTS, form_file, is_form

CONTENT = b"\x89PNG\r\n--not-the-boundary\r\n\r\n" + bytes(range(256))


def encoded(**files: bytes) -> tuple[bytes, str]:
    """A form as httpx makes it: another implementation than ours."""
    request = httpx.Request("POST", "http://x", files=[(k, (k, v)) for k, v in files.items()])
    return request.read(), request.headers["content-type"]


def test_the_field_image_is_found_among_others() -> None:
    body, kind = encoded(before=b"x", image=CONTENT, after=b"")
    assert is_form(kind)
    assert form_file(body, kind) == CONTENT


def test_an_only_field_may_have_any_name() -> None:
    assert form_file(*encoded(picture=CONTENT)) == CONTENT


def test_any_bytes_pass_unchanged() -> None:
    random = np.random.default_rng(5)
    for size in (0, 1, 2, 3, 1000, 65537):
        content = random.bytes(size) + b"\r\n--"
        assert form_file(*encoded(image=content)) == content


@pytest.mark.parametrize("quoted", ['boundary="a b"', "boundary=xyz", 'charset=x; boundary="a b"'])
def test_boundaries_may_be_quoted_and_stand_anywhere(quoted: str) -> None:
    boundary = "a b" if "a b" in quoted else "xyz"
    head = 'Content-Disposition: form-data; name=image; filename="x"'
    body = f"--{boundary}\r\n{head}\r\n\r\ncontent\r\n--{boundary}--\r\n"
    assert form_file(body.encode(), f"Multipart/Form-Data; {quoted}") == b"content"


def test_damaged_forms_are_refused_in_words() -> None:
    body, kind = encoded(image=CONTENT)
    two, two_kind = encoded(a=b"1", b=b"2")
    plain, plain_kind = encoded(image=b"x")
    cases: list[tuple[bytes, str, str]] = [
        (body, "multipart/form-data", "no boundary"),
        (body, "multipart/form-data; boundary=", "no boundary"),
        (body, f"multipart/form-data; boundary={'x' * 71}", "damaged"),
        (body, "multipart/form-data; boundary=other", "damaged"),
        (body[:-10], kind, "cut off"),
        (b"", kind, "cut off"),
        (body.replace(b"form-data; name", b"form-data; nome"), kind, "no name"),
        (plain.replace(b"\r\n\r\n", b"\r\n"), plain_kind, "damaged"),
        (two, two_kind, "0 fields 'image', of 2"),
    ]
    for damaged, content_type, words in cases:
        with pytest.raises(InvalidRequest, match=words):
            form_file(damaged, content_type)


def test_two_fields_image_are_one_too_many() -> None:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n%d\r\n' % i for i in range(2)
    )
    with pytest.raises(InvalidRequest, match="2 fields 'image'"):
        form_file(body + b"--b--", "multipart/form-data; boundary=b")


def test_many_parts_are_refused() -> None:
    part = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n"
    with pytest.raises(InvalidRequest):
        form_file(part * MOST_PARTS + b"--b--", "multipart/form-data; boundary=b")
    with pytest.raises(TooLarge, match="16 parts"):
        form_file(part * (MOST_PARTS + 1) + b"--b--", "multipart/form-data; boundary=b")
    with pytest.raises(TooLarge, match="16 parts"):
        form_file(part * 100_000, "multipart/form-data; boundary=b")


@pytest.mark.parametrize("kind", ["", "image/png", "application/x-www-form-urlencoded", "form"])
def test_other_content_types_are_no_form(kind: str) -> None:
    assert not is_form(kind)
