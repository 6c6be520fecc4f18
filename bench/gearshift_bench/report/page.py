"""The page: one HTML file that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from gearshift_bench.report import records, tables
from gearshift_bench.report.document import check_document
from gearshift_bench.report.files import need, write
from gearshift_bench.report.pictures import draw
from gearshift_bench.report.svg import DARK, LIGHT
from gearshift_bench.report.words import Names


def write_report(document: Mapping[str, Any], path: str | Path) -> None:
    """Write the report of a result document as one HTML file.

    Raises:
        InputError: the document does not follow the schema, the path cannot be written, or jinja2
            is not installed.
    """
    write(Path(path), render(document).encode())


def render(document: Mapping[str, Any]) -> str:
    """The page's text.

    Raises:
        InputError: as in `write_report`.
    """
    need("jinja2")
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    document = check_document(document)
    room = files(__package__)
    script = room.joinpath("sort.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Pictures are escaped by the XML library that writes them.
    environment.filters["drawn"] = lambda picture: Markup(picture.inline())
    template = environment.from_string(room.joinpath("page.html.jinja").read_text("utf-8"))
    runs = document["runs"]
    return template.render(
        document=document,
        names=(names := Names(runs)),
        pictures=draw(document),
        tables=_tables(document, names),
        environment=tables.environment(document),
        unmeasured=tables.unmeasured_energy(runs, names),
        routing=records.routing(document["accuracy"]),
        unmeasured_trades=records.unmeasured(document["accuracy"]),
        published=records.beside_published(document, names),
        light=LIGHT,
        dark=DARK,
        style=Markup(room.joinpath("page.css").read_text("utf-8")),
        script=Markup(script),
        script_digest=digest,
    )


def _tables(document: Mapping[str, Any], names: Names) -> dict[str, tables.Table | None]:
    runs = document["runs"]
    return {
        "summary": tables.summary(runs, names),
        "starts": tables.starts(runs, names),
        "work": tables.work(runs, names),
        "switches": tables.switches(runs, names),
        "energy": tables.energy(runs, names),
        "assumed": tables.assumed_energy(runs, names),
        "accuracy": records.accuracy(document["accuracy"]),
    }
