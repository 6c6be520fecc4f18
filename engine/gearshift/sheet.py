"""One picture of several: panels side by side, a caption above and a legend below each."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PANEL = 256
_MARGIN = 10
_LINE = 18
_INK = (30, 30, 30)


@dataclass(frozen=True)
class Panel:
    """A picture with its caption and, where colours mean something, a legend."""

    caption: str
    picture: Image.Image
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()


def sheet(panels: list[Panel]) -> Image.Image:
    """The panels in a row on white, each fitted into a square of 256 pixels."""
    font = ImageFont.load_default(size=14)
    legend_rows = max((len(panel.legend) + 1) // 2 for panel in panels)
    size = (
        _MARGIN + len(panels) * (PANEL + _MARGIN),
        2 * _MARGIN + _LINE + PANEL + legend_rows * _LINE,
    )
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, panel in enumerate(panels):
        left, top = _MARGIN + column * (PANEL + _MARGIN), _MARGIN + _LINE
        draw.text((left, _MARGIN - 4), panel.caption, fill=_INK, font=font)
        canvas.paste(_fitted(panel.picture), (left, top))
        for place, (name, colour) in enumerate(panel.legend):
            x = left + (place % 2) * PANEL // 2
            y = top + PANEL + 4 + place // 2 * _LINE
            draw.rectangle((x, y + 2, x + 11, y + 13), fill=colour, outline=_INK)
            draw.text((x + 17, y - 1), name, fill=_INK, font=font)
    return canvas


def _fitted(picture: Image.Image) -> Image.Image:
    scale = PANEL / max(picture.size)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    # Enlarging a small result smoothly would invent detail between its pixels.
    smooth = scale < 1
    method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    fitted = Image.new("RGB", (PANEL, PANEL), "white")
    resized = picture.convert("RGB").resize((width, height), method)
    fitted.paste(resized, ((PANEL - width) // 2, (PANEL - height) // 2))
    return fitted
