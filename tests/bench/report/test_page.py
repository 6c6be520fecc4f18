"""The page in a real browser, offline: nothing is fetched, nothing is blank, names are text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gearshift.errors import InputError
from gearshift_bench.report import write_report
from gearshift_bench.report.page import render
from gearshift_bench.report.pictures import draw

from .conftest import colours, make_document, make_mix, make_record, make_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "</title></svg><script>window.bad=1</script><img src=x onerror='window.bad=1'>{{7*7}}"
SWITCHES = {
    "count": 9,
    "median_same": 0.008,
    "median_after_switch": 0.009,
    "ratio": 1.125,
    "by_pair": [],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} is not there")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


class Opened:
    """A page and what it complained of and asked for."""

    def __init__(
        self, browser: Browser, path: Path, scheme: Literal["light", "dark"], width: int = 1200
    ) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(
            color_scheme=scheme, offline=True, viewport={"width": width, "height": 900}
        )
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.context.close()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    noisy = make_document(accuracy=[make_record(), make_record(task="semseg", routed_alike=None)])
    noisy["machine"] |= {"warnings": ["the load was 1.7"], "noise": {"spread": 0.2, "noisy": True}}
    return noisy


@pytest.fixture(scope="module")
def report(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(document, path)
    return path


def pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    ("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")]
)
def test_every_picture_is_there_and_not_blank(
    browser: Browser,
    document: dict[str, Any],
    report: Path,
    scheme: Literal["light", "dark"],
    media: Literal["screen", "print"],
) -> None:
    with Opened(browser, report, scheme) as opened:
        opened.page.emulate_media(media=media, color_scheme=scheme)
        screen = pixels(opened.page.screenshot(full_page=True))
        is_dark = scheme == "dark" and media == "screen"
        assert (screen[0, 0].mean() < 60) == is_dark, "paper is white, whatever the screen likes"
        boxes = [figure.bounding_box() for figure in opened.page.locator("figure svg").all()]
        assert len(boxes) == len(draw(document).every())
        for index, box in enumerate(boxes):
            assert box is not None, f"picture {index} is hidden"
            left, top = round(box["x"]), round(box["y"])
            cut = screen[top : top + round(box["height"]), left : left + round(box["width"])]
            assert min(cut.shape[:2]) > 50, f"picture {index} has no room"
            assert colours(cut) > 10, f"picture {index} is blank"
        assert opened.complaints == []
        assert opened.requests == [report.as_uri()], "the page is all there is"


def test_no_table_is_wider_than_the_page_or_the_paper(browser: Browser, report: Path) -> None:
    with Opened(browser, report, "light", width=688) as opened:
        opened.page.emulate_media(media="print")
        too_wide = (
            "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth)"
        )
        assert opened.page.evaluate(f"{too_wide}.map(e => e.ariaLabel)") == []
        opened.page.emulate_media(media="screen")
        opened.page.set_viewport_size({"width": 1280, "height": 900})
        assert opened.page.evaluate(f"{too_wide}.map(e => e.ariaLabel)") == []


def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Browser, report: Path) -> None:
    with Opened(browser, report, "light", width=390) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 390


def test_it_prints(browser: Browser, report: Path) -> None:
    with Opened(browser, report, "dark") as opened:
        printed = opened.page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 2


def test_a_click_sorts_by_figure(browser: Browser, document: dict[str, Any], report: Path) -> None:
    with Opened(browser, report, "light") as opened:
        button = opened.page.locator("#runs th button", has_text="median")
        numbers = opened.page.locator("#runs tbody tr td:first-child")
        assert numbers.all_inner_texts() == [str(index) for index in range(1, 8)]
        medians = [run["latency"]["median"] for run in document["runs"]]
        for signs in (1, -1):
            button.press("Enter")
            order = [int(one) - 1 for one in numbers.all_inner_texts()]
            sorted_medians = [signs * medians[index] for index in order]
            assert sorted_medians == sorted(sorted_medians)
        head = opened.page.locator("#runs th[aria-sort]")
        assert head.get_attribute("aria-sort") == "descending"


def test_names_of_a_stranger_are_text(browser: Browser, tmp_path: Path) -> None:
    mix = make_mix(
        mix={"kind": "trace", "description": HOSTILE},
        backend=HOSTILE,
        energy={"not_measured": HOSTILE},
        nodes={HOSTILE: 1.0, f"blocks.{HOSTILE}": 0.5},
        experts={HOSTILE: [1, 2]},
        switches=SWITCHES,
    )
    spoilt = make_document([make_run(HOSTILE), mix], software={HOSTILE: HOSTILE})
    spoilt["machine"] |= {"processor": HOSTILE, "warnings": [HOSTILE]}
    spoilt["model"]["name"] = HOSTILE
    path = tmp_path / "report.html"
    write_report(spoilt, path)
    with Opened(browser, path, "light") as opened:
        assert opened.page.evaluate("window.bad") is None
        assert opened.page.title() == f"{HOSTILE}: gearshift bench"
        assert opened.page.locator("h1").inner_text() == HOSTILE
        assert opened.page.locator("img").count() == 0
        assert opened.page.locator("script").count() == 1
        assert opened.page.locator("td", has_text=HOSTILE).count() >= 4
        assert opened.complaints == []


def test_scripts_of_a_stranger_would_not_run(browser: Browser, tmp_path: Path) -> None:
    """Even if an escape were forgotten: the page's policy allows its own script only."""
    path = tmp_path / "report.html"
    page = render(make_document([make_run()]))
    path.write_text(page.replace("<main>", "<main><script>window.bad = 1</script>"))
    with Opened(browser, path, "light") as opened:
        assert opened.page.evaluate("window.bad") is None
        assert any("Content Security Policy" in one for one in opened.complaints)
        assert opened.page.locator("#runs th button").count() > 0, "its own still runs"


def test_what_was_not_measured_is_said() -> None:
    page = render(make_document([make_run(nodes={}, experts={}, backend="onnxruntime")]))
    assert "Not measured: no RAPL on this machine, no NVIDIA driver" in page
    assert "Not measured on onnxruntime, which tells no time of its parts" in page
    assert "No run told which experts its tokens went to" in page


def test_assumed_energy_stands_apart() -> None:
    assumed = {"watts": 10.0, "joules_per_request": 0.08}
    page = render(make_document([make_run(assumed_energy=assumed)]))
    _, _, after = page.partition("An assumption, not a measurement")
    assert "80.0 mJ" in after
    assert "80.0 mJ" not in page.partition("An assumption, not a measurement")[0]


def test_a_quiet_machine_has_no_warning(document: dict[str, Any]) -> None:
    assert "This machine was noisy" in render(document)
    assert 'class="warnings"' not in render(make_document())


def test_nothing_is_left_of_a_report_that_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_report({"format": "other"}, tmp_path / "report.html")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(make_document([make_run()]), tmp_path / "no" / "report.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(make_document([make_run()]), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
