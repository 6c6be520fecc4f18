"""Pictures: well-formed whatever they are told to write."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gearshift_bench.report.svg import DARK, LIGHT, Picture, shorten

HOSTILE = "</text><script>alert('1')</script>&amp;\"<!-- ]]> var(--ink)"


def test_strangers_words_are_text() -> None:
    picture = Picture("one", HOSTILE, 400, 100, HOSTILE)
    picture.text(0, 50, HOSTILE, whole=HOSTILE + "!")
    picture.box(0, 0, 1, 1, "heat", tip=HOSTILE)
    for written in (picture.inline(), picture.alone()):
        root = ElementTree.fromstring(written)
        assert {one.tag.split("}")[1] for one in root.iter()} <= {"svg", "text", "title", "rect"}
        assert HOSTILE in "".join(root.itertext())


def test_files_have_colours_for_variables() -> None:
    picture = Picture("one", "var(--ink)", 100, 50)
    for colour in LIGHT:
        picture.line([(0, 0), (9, 9)], colour)
    written = picture.alone(DARK)
    assert set(re.findall(r'stroke="(.*?)"', written)) == set(DARK.values())
    assert "var(--ink)</text>" in written, "only what is a colour is replaced"
    assert "var(--ink)" in picture.inline()


def test_a_files_paper_holds_its_margin() -> None:
    root = ElementTree.fromstring(Picture("one", "", 100, 50).alone(margin=10))
    assert root.get("viewBox") == "-10 -10 120 70"
    assert (root.get("width"), root.get("height")) == ("120", "70")


@pytest.mark.parametrize(("room", "text"), [(1000, "semseg"), (34, "semse…"), (8, ""), (-5, "")])
def test_long_words_are_shortened(room: float, text: str) -> None:
    assert shorten("semseg" if room == 1000 else "semsegment", room, 10) == text


def contrast(one: str, other: str) -> float:
    """Of two colours, after WCAG 2.2: (lighter + 0.05) / (darker + 0.05)."""

    def luminance(colour: str) -> float:
        parts = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_text_can_be_read(colours: dict[str, str]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    for name in colours.keys() - {"paper", "line", "wash"}:
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    assert contrast(colours["ink"], colours["line"]) >= 4.5
