"""The OpenAPI document as a page without scripts: `/docs`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from starlette.routing import Route

from gearshift.server.openapi import document
from gearshift.server.site import page


def routes() -> list[Route]:
    """`/openapi.json` and `/docs`."""
    made = document()
    return [
        page("/openapi.json", json.dumps(made, indent=1).encode(), ".json"),
        page("/docs", _html(made).encode(), ".html"),
    ]


def _html(made: dict[str, Any]) -> str:
    """The document as a page: a line an operation, which opens."""
    tags: dict[str, list[str]] = {}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append(_entry(path, method, operation))
    sections = "\n".join(
        f"<section><h2>{escape(tag)}</h2>\n{''.join(entries)}</section>"
        for tag, entries in tags.items()
    )
    info = made["info"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>gearshift API</title>
<link rel="icon" href="/pages/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/pages/style.css">
</head>
<body>
<header class="top">
<a class="brand" href="/"><img src="/pages/icon.svg" alt="" width="28" height="28">gearshift</a>
<nav><a href="/openapi.json">OpenAPI</a><a href="/metrics">Metrics</a></nav>
</header>
<main class="doc">
<h1>API of gearshift {escape(info["version"])}</h1>
<p>{escape(info["description"])} Where the server asks for a key, send
<code>Authorization: Bearer KEY</code> or <code>x-api-key: KEY</code>.</p>
{sections}
</main>
</body>
</html>
"""


def _entry(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = []
    if "description" in operation:
        parts.append(f"<pre>{escape(operation['description'])}</pre>")
    if "parameters" in operation:
        rows = [
            (one["name"], one["in"], _choices(one["schema"]), one.get("description", ""))
            for one in operation["parameters"]
        ]
        parts.append(_table(("Parameter", "in", "values", ""), rows))
    if "requestBody" in operation:
        parts.append(f"<p>Body: {_kinds(operation['requestBody']['content'])}</p>")
    answers = [
        (status, answer["description"], ", ".join(answer["content"]))
        for status, answer in operation["responses"].items()
    ]
    parts.append(_table(("Answer", "", "type"), answers))
    return (
        f"<details><summary><b>{method.upper()}</b><code>{escape(path)}</code>"
        f"<span>{escape(operation['summary'])}</span></summary><div>{''.join(parts)}</div>"
        "</details>\n"
    )


def _choices(schema: dict[str, Any]) -> str:
    return " or ".join(schema["enum"]) if "enum" in schema else str(schema["type"])


def _kinds(content: dict[str, Any]) -> str:
    return ", ".join(f"<code>{escape(kind)}</code>" for kind in content)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'
