"""Pictures as SVG, one source for the page and for files.

A picture names its colours; the page gives them values through CSS variables, so that it follows
light and dark, and a file gets the values written in. Text is escaped by the XML library: whatever
a document calls its tasks stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2024",
    "quiet": "#59626b",
    "line": "#e1e5e9",
    "wash": "#f4f6f8",
    "heat": "#0b5fa5",
    "series-0": "#0072b2",
    "series-1": "#c94f00",
    "series-2": "#00805d",
    "series-3": "#a8467f",
    "series-4": "#946c00",
    "series-5": "#565c62",
}
DARK = {
    "paper": "#15181b",
    "ink": "#e8eaec",
    "quiet": "#a1abb4",
    "line": "#31373d",
    "wash": "#1d2125",
    "heat": "#6db8f2",
    "series-0": "#5cb0e8",
    "series-1": "#f2935a",
    "series-2": "#3fc79f",
    "series-3": "#e29ac6",
    "series-4": "#e0b84a",
    "series-5": "#b4bac0",
}
"""Blue, vermilion, green, purple, ochre and grey, after the palette of Okabe and Ito (Color
Universal Design, 2008), moved to a contrast of 4.5 with the paper, so that they can colour text."""
SERIES = 6

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"
TEXT = 12.0
"""Pixels."""
LETTER = 0.56
"""Mean width of a letter over the height of its font: text cannot be measured here."""

Attribute = str | float | None


class Picture:
    """A drawing of `width` x `height` pixels; y points down. Colours are names in `LIGHT`."""

    def __init__(self, name: str, title: str, width: float, height: float, note: str = "") -> None:
        """`name` is that of its file; `title` and `note` are drawn as its first line."""
        self.name = name
        self.title = title
        self.width, self.height = width, height
        self._root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {_number(width)} {_number(height)}",
                "role": "img",
                "aria-label": f"{title}. {note}" if note else title,
                "font-family": FONT,
                "font-size": _number(TEXT),
            },
        )
        heading = shorten(title, 0.97 * width / 1.08)
        self.text(0, 13, heading, weight="600", whole=title)
        if note:
            room = width - text_width(heading) * 1.08 - 14
            self.text(width, 13, shorten(note, room), "quiet", anchor="end", whole=note)

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: str = "line",
        width: float = 1.0,
        dash: str | None = None,
        tip: str = "",
    ) -> None:
        """Through the points."""
        steps = " ".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._add(
            "path",
            tip,
            d=f"M{steps}",
            fill="none",
            stroke=_variable(colour),
            stroke_width=width,
            stroke_dasharray=dash,
            stroke_linejoin="round",
        )

    def dots(self, points: Sequence[tuple[float, float]], colour: str, size: float = 2.4) -> None:
        """Many small ones, as one element."""
        steps = "".join(f"M{_number(x)} {_number(y)}h0" for x, y in points)
        self._add(
            "path", "", d=steps, stroke=_variable(colour), stroke_width=size, stroke_linecap="round"
        )

    def area(
        self, points: Sequence[tuple[float, float]], colour: str, opacity: float = 1.0
    ) -> None:
        steps = " ".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._add("path", "", d=f"M{steps}Z", fill=_variable(colour), fill_opacity=opacity)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        opacity: float | None = None,
        edge: str | None = None,
        tip: str = "",
    ) -> None:
        self._add(
            "rect",
            tip,
            x=x,
            y=y,
            width=max(width, 0.0),
            height=max(height, 0.0),
            fill=_variable(colour),
            fill_opacity=opacity,
            stroke=_variable(edge) if edge else None,
        )

    def circle(
        self, x: float, y: float, radius: float, colour: str, hollow: bool = False, tip: str = ""
    ) -> None:
        self._add(
            "circle",
            tip,
            cx=x,
            cy=y,
            r=radius,
            fill=_variable("paper" if hollow else colour),
            stroke=_variable(colour if hollow else "paper"),
            stroke_width=1.5 if hollow else 1.0,
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        colour: str = "ink",
        anchor: str | None = None,
        size: float | None = None,
        weight: str | None = None,
        turned: bool = False,
        whole: str = "",
    ) -> None:
        """`y` is the base line; `whole` is what `words` was shortened from."""
        place: dict[str, Attribute] = {"x": x, "y": y}
        if turned:
            place["transform"] = f"rotate(-90 {_number(x)} {_number(y)})"
        element = self._add(
            "text",
            "",
            **place,
            fill=_variable(colour),
            text_anchor=anchor,
            font_size=size,
            font_weight=weight,
        )
        element.text = words
        if whole and whole != words:
            # A title must come first to count, and the text of an element comes before it.
            element.text = None
            title = ElementTree.SubElement(element, "title")
            title.text, title.tail = whole, words

    def inline(self) -> str:
        """For a page that gives values to the variables."""
        return ElementTree.tostring(self._root, encoding="unicode")

    def alone(self, colours: Mapping[str, str] = LIGHT, margin: float = 12.0) -> str:
        """A whole file, on paper with a margin."""
        root = ElementTree.Element("svg", self._root.attrib)
        width, height = self.width + 2 * margin, self.height + 2 * margin
        edge = _number(-margin)
        root.set("viewBox", f"{edge} {edge} {_number(width)} {_number(height)}")
        root.set("width", _number(width))
        root.set("height", _number(height))
        size = {"width": _number(width), "height": _number(height)}
        ElementTree.SubElement(root, "rect", {"x": edge, "y": edge, "fill": "var(--paper)"} | size)
        for child in self._root:
            root.append(_coloured(child, colours))
        return ElementTree.tostring(_coloured(root, colours), encoding="unicode")

    def _add(self, tag: str, tip: str, **attributes: Attribute) -> ElementTree.Element:
        written = {
            name.replace("_", "-"): value if isinstance(value, str) else _number(value)
            for name, value in attributes.items()
            if value is not None
        }
        element = ElementTree.SubElement(self._root, tag, written)
        if tip:
            ElementTree.SubElement(element, "title").text = tip
        return element


def _coloured(element: ElementTree.Element, colours: Mapping[str, str]) -> ElementTree.Element:
    """A copy; only fills and strokes are looked at, not what the document says."""
    copy = ElementTree.Element(element.tag, element.attrib)
    copy.text, copy.tail = element.text, element.tail
    for name in ("fill", "stroke"):
        if found := re.fullmatch(r"var\(--(.+)\)", copy.get(name, "")):
            copy.set(name, colours[found[1]])
    copy.extend(_coloured(child, colours) for child in element)
    return copy


def _variable(colour: str) -> str:
    return f"var(--{colour})"


def _number(value: float) -> str:
    """A tenth of a pixel is enough."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def text_width(words: str, size: float = TEXT) -> float:
    """Pixels, roughly."""
    return LETTER * size * len(words)


def shorten(words: str, room: float, size: float = TEXT) -> str:
    """What fits into `room` pixels, the rest as an ellipsis."""
    most = int(room / (LETTER * size))
    if len(words) <= most:
        return words
    return words[: most - 1].rstrip() + "…" if most > 1 else ""
