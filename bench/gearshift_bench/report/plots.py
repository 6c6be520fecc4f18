"""The report's pictures as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gearshift.errors import InputError
from gearshift.output import make_folder
from gearshift_bench.report.document import check_document
from gearshift_bench.report.files import need, write
from gearshift_bench.report.pictures import draw
from gearshift_bench.report.svg import Picture

ZOOM = 2.0
"""PNG pixels for one of SVG: sharp in print at the width of a column."""


def write_plots(document: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write every picture of the report as SVG and as PNG; returns the files.

    Raises:
        InputError: the document does not follow the schema, the folder cannot be written, resvg-py
            is not installed, or the system has no font.
    """
    check_plots()
    pictures = draw(check_document(document)).every()
    folder = Path(folder)
    make_folder(folder)
    written = []
    for picture in pictures:
        svg = picture.alone()
        for suffix, content in ((".svg", svg.encode()), (".png", png(svg))):
            path = folder / f"{picture.name}{suffix}"
            write(path, content)
            written.append(path)
    return written


def png(svg: str) -> bytes:
    """A picture as it is printed, with the system's fonts."""
    from resvg_py import svg_to_bytes

    return svg_to_bytes(svg_string=svg, zoom=ZOOM)


def check_plots() -> None:
    """Whether pictures could be written, to be known before anything is measured.

    Without a font a renderer leaves out all text and says nothing.

    Raises:
        InputError: resvg-py is not installed, or the system has no font.
    """
    need("resvg_py")
    empty, written = Picture("", "", 40, 20), Picture("", "M", 40, 20)
    if png(empty.alone()) == png(written.alone()):
        raise InputError("no font for the pictures' text: install one, such as fonts-dejavu-core")
