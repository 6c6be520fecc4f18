"""API keys and pages of other sites."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearshift.errors import InputError
from gearshift.server.auth import ApiKeys, is_cross_site, read_keys
from gearshift.server.errors import Unauthorized

KEY = "a-key-of-enough-length"
OTHER = "another-key-of-enough-length"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {OTHER} "},
        {"x-api-key": OTHER},
        {"authorization": "Basic abc", "x-api-key": KEY},
    ],
)
def test_either_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    ApiKeys(frozenset({KEY, OTHER})).check(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": KEY + "x"},
        {"x-api-key": f" {KEY}"},
        {"authorization": KEY},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong", "x-api-key": KEY},
        {"x-api-key": "\udcff"},
    ],
)
def test_anything_else_is_refused_without_naming_a_key(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as error:
        ApiKeys(frozenset({KEY})).check(headers)
    assert KEY not in str(error.value)


def test_without_keys_everybody_may_ask() -> None:
    keys = ApiKeys()
    assert not keys
    keys.check({})


def test_a_file_holds_a_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the cameras\n{KEY}\n\n{OTHER}  \n")
    keys = read_keys(file)
    keys.check({"x-api-key": KEY})
    keys.check({"x-api-key": OTHER})
    with pytest.raises(Unauthorized):
        keys.check({"x-api-key": "# of the cameras"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no key"),
        (b"# nothing\n\n", "holds no key"),
        (b"short\n", "fewer than 16"),
        (b"a key with spaces in it\n", "without spaces"),
        ("kéy-of-enough-length".encode(), "ASCII"),
        (b"\xff\xfe" * 20, "cannot be read"),
    ],
)
def test_a_file_without_good_keys_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_keys(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere cannot be read: No such file"):
        read_keys(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("origin", "host", "cross"),
    [
        (None, "localhost:8000", False),
        ("http://localhost:8000", "localhost:8000", False),
        ("http://LOCALHOST:8000", "localhost:8000", False),
        ("http://localhost:8001", "localhost:8000", True),
        ("https://elsewhere.example", "localhost:8000", True),
        ("null", "localhost:8000", True),
        ("", "localhost:8000", True),
    ],
)
def test_pages_of_other_sites_are_told_by_their_origin(
    origin: str | None, host: str, cross: bool
) -> None:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert is_cross_site(headers) is cross
