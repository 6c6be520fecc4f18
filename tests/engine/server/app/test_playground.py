"""The playground and the documentation in a real browser."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from gearshift.server.auth import ApiKeys
from gearshift.server.listeners import ListenerOptions

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
KEY = "a-key-of-enough-length"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        arguments = [
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page whose console must stay silent, and that may load nothing from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    hosts: set[str] = set()
    opened.on("console", lambda message: message.type == "error" and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
    opened.problems, opened.hosts = problems, hosts
    yield opened
    context.close()
    assert hosts <= {"127.0.0.1", ""}


def pixels(page: Any, selector: str) -> np.ndarray:
    """(H,W,3) of a part of the page, as a user sees it."""
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"))


def choose(page: Any, task: str) -> None:
    """Click a task, and wait for its answer."""
    before = page.locator("#history tr").count()
    page.locator(f"#tasks label:has-text('{task}')").click()
    sync_api.expect(page.locator("#history tr")).to_have_count(before + 1)
    sync_api.expect(page.locator("#stage")).not_to_have_class("stage busy")


def test_a_click_on_another_task_changes_the_picture_and_reloads_nothing(
    page: Any, live: Any
) -> None:
    page.goto(live.url)
    sync_api.expect(page.locator("#state")).to_have_text("ready")
    sync_api.expect(page.locator("#tasks label")).to_have_count(4)
    page.locator("#use-example").click()
    sync_api.expect(page.locator("#history tr")).to_have_count(1)
    sync_api.expect(page.locator("#result")).to_be_visible()
    shown = {"rooms": pixels(page, "#frame")}
    assert page.locator("#legend li").count() >= 1
    for task in ("depth", "normals", "edges"):
        choose(page, task)
        shown[task] = pixels(page, "#frame")
        assert shown[task].std() > 5, f"{task} is blank"
    names = list(shown)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            difference = np.abs(shown[first].astype(int) - shown[second]).mean()
            assert difference > 2, f"{first} and {second} look alike"
    sync_api.expect(page.locator("#switches")).to_have_text("3")
    sync_api.expect(page.locator("#reloads")).to_have_text("nothing reloaded")
    # Two mixtures of five experts each.
    assert page.locator("#heat tbody tr").count() == 2
    assert page.locator("#heat tbody td").count() == 10
    assert float(page.locator("#total").inner_text()) > 0
    choose(page, "rooms")
    again = pixels(page, "#frame").astype(int)
    assert np.abs(again - shown["rooms"]).mean() < 1
    assert not page.problems


def test_the_slider_blends_result_and_image(page: Any, live: Any) -> None:
    page.goto(live.url)
    page.locator("#use-example").click()
    sync_api.expect(page.locator("#result")).to_be_visible()
    views = []
    for value in ("0", "100"):
        page.locator("#blend").fill(value)
        views.append(pixels(page, "#frame").astype(int))
    assert np.abs(views[0] - views[1]).mean() > 5


def test_a_file_of_ones_own_is_taken_and_a_bad_one_is_named(
    page: Any, live: Any, tmp_path: Path, photo: Callable[..., bytes]
) -> None:
    page.goto(live.url)
    sync_api.expect(page.locator("#tasks label")).to_have_count(4)
    for name, data in {"a.png": photo(), "b.jpg": photo("JPEG"), "c.webp": photo("WEBP")}.items():
        (tmp_path / name).write_bytes(data)
        page.locator("#file").set_input_files(tmp_path / name)
        sync_api.expect(page.locator("#message")).to_contain_text("labels")
        count = page.locator("#history tr").count()
        assert count >= 1
    (tmp_path / "d.png").write_bytes(b"no picture")
    page.locator("#file").set_input_files(tmp_path / "d.png")
    sync_api.expect(page.locator("#message")).to_contain_text("d.png is not an image")
    sync_api.expect(page.locator("#message")).to_have_class("message bad")


def test_the_camera_runs_until_it_is_stopped(page: Any, live: Any) -> None:
    page.goto(live.url)
    sync_api.expect(page.locator("#tasks label")).to_have_count(4)
    page.locator("#use-camera").click()
    sync_api.expect(page.locator("#history tr").nth(4)).to_be_visible()
    page.locator("#use-camera").click()
    sync_api.expect(page.locator("#use-camera")).to_have_text("Camera")
    sync_api.expect(page.locator("#camera")).to_be_hidden()
    assert not page.problems


def test_a_key_is_asked_for_and_then_used(page: Any, make_live: Callable[..., Any]) -> None:
    live = make_live(ListenerOptions(keys=ApiKeys(frozenset({KEY}))))
    page.goto(live.url)
    sync_api.expect(page.locator("#key-form")).to_be_visible()
    page.locator("#key").fill(KEY)
    page.locator("#key-form button").click()
    sync_api.expect(page.locator("#tasks label")).to_have_count(4)
    sync_api.expect(page.locator("#key-form")).to_be_hidden()
    page.locator("#use-example").click()
    sync_api.expect(page.locator("#result")).to_be_visible()


def test_it_fits_a_narrow_screen(page: Any, live: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(live.url)
    page.locator("#use-example").click()
    sync_api.expect(page.locator("#result")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_documentation_needs_no_script_and_opens_entries(page: Any, live: Any) -> None:
    page.goto(f"{live.url}/docs")
    entry = page.locator("details", has_text="/v1/{model}/{task}")
    assert not entry.locator("table").first.is_visible()
    entry.locator("summary").click()
    assert entry.locator("table").first.is_visible()
    assert pixels(page, "main").std() > 5
    assert not page.problems
