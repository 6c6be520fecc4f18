"""The pictures as files."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from gearshift.errors import InputError
from gearshift_bench.report import plots, write_plots
from gearshift_bench.report.pictures import draw
from gearshift_bench.report.svg import Picture

from .conftest import colours, make_document, make_mix, make_run

DOCUMENT = make_document([make_run(), make_mix()])


def test_every_picture_is_an_svg_and_a_png(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "plots"
    written = write_plots(DOCUMENT, folder)
    names = {picture.name for picture in draw(DOCUMENT).every()}
    expected = {f"{name}{suffix}" for name in names for suffix in (".svg", ".png")}
    assert {path.name for path in written} == {path.name for path in folder.iterdir()} == expected
    for path in written:
        if path.suffix == ".svg":
            size = ElementTree.parse(path).getroot()
            with Image.open(path.with_suffix(".png")) as image:
                pixels = np.asarray(image.convert("RGB"))
            wide, high = (float(size.get(name, 0)) for name in ("width", "height"))
            assert pixels.shape == (round(plots.ZOOM * high), round(plots.ZOOM * wide), 3)
            assert colours(pixels) > 10, f"{path} is blank"
            assert (pixels[0, 0] == 255).all(), "files are on white paper"


def test_text_is_drawn() -> None:
    """In the colour of the ink, not in the picture's only other colour."""
    picture = Picture("one", "MMMMMMMM", 200, 30)
    with Image.open(io.BytesIO(plots.png(picture.alone()))) as image:
        assert np.asarray(image.convert("L")).min() < 60


def test_a_system_without_fonts_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plots, "png", lambda svg: b"no text")
    with pytest.raises(InputError, match="install one, such as fonts-dejavu-core"):
        write_plots(DOCUMENT, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("mine")
    with pytest.raises(InputError, match="plots cannot be made"):
        write_plots(DOCUMENT, tmp_path / "plots")
    assert (tmp_path / "plots").read_text() == "mine"


@pytest.mark.parametrize("package", ["resvg_py", "jsonschema"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    from gearshift_bench.report import files

    monkeypatch.setattr(files, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(InputError, match=rf"needs {package}: pip install 'gearshift\[report\]'"):
        write_plots(DOCUMENT, "plots")
