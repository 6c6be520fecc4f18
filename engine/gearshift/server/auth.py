"""Who may ask: an API key in a header, and no pages of other sites in a user's browser."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gearshift.errors import InputError
from gearshift.server.errors import Unauthorized

SHORTEST_KEY = 16
"""Characters; a shorter one can be guessed by asking."""


class ApiKeys:
    """The keys that a server takes; without any, everybody may ask.

    Only their hashes are kept, and each is compared in constant time.
    """

    def __init__(self, keys: frozenset[str] = frozenset()) -> None:
        self._hashes = tuple(_hash(key) for key in sorted(keys))

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def check(self, headers: Mapping[str, str]) -> None:
        """By `Authorization: Bearer KEY` or `x-api-key: KEY`; names in lower case.

        Raises:
            Unauthorized: there are keys, and none of them was sent.
        """
        if not self._hashes:
            return
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        if not given:
            raise Unauthorized(
                "this server asks for an API key: send `Authorization: Bearer KEY` or "
                "`x-api-key: KEY`"
            )
        hashed = _hash(given)
        if not sum(hmac.compare_digest(hashed, known) for known in self._hashes):
            raise Unauthorized("the API key is not one of this server's")


def read_keys(path: Path) -> ApiKeys:
    """A file's keys: one a line, empty lines and lines that begin with # aside.

    Raises:
        InputError: the file cannot be read, or holds no key or one that is too short.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"API key file {path} cannot be read: {reason}") from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise InputError(f"API key file {path} holds no key: write one a line")
    if any(len(key) < SHORTEST_KEY or not key.isascii() or " " in key for key in keys):
        raise InputError(
            f"API key file {path} holds a key of fewer than {SHORTEST_KEY} characters, or with "
            "others than ASCII without spaces: make one with `openssl rand -hex 24`"
        )
    return ApiKeys(frozenset(keys))


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this for a page of another site.

    Such a page cannot read the answer, but it could load a model or keep the machine busy.
    Programs send no Origin.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
