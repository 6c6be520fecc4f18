"""The playground's files, held in memory, and the headers under which a browser may use them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).with_name("pages")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline, in nobody's frame."""


def routes() -> list[Route]:
    """`/`, and `/pages/NAME` for each file of the folder; no other path is ever opened."""
    files = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.suffix in TYPES}
    playground = page("/", files.pop("playground.html"), ".html")
    return [playground, *(page(f"/pages/{name}", files[name], Path(name).suffix) for name in files)]


def page(path: str, content: bytes, ending: str) -> Route:
    """One file of the site, of the type that `ending` has; 304 to a browser that has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "cross-origin-opener-policy": "same-origin",
        "etag": tag,
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    }

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=TYPES[ending], headers=headers)

    return Route(path, answer, methods=["GET"])
