"""The application's routes: pages, documents, probes, and models that come and go."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.routing import Router

from gearshift.server.openapi import document


def routes(application: Any) -> dict[str, set[str]]:
    """Methods by path, as the application has them."""
    router = application.app.app
    assert isinstance(router, Router)
    found: dict[str, set[str]] = {}
    for route in router.routes:
        found.setdefault(route.path, set()).update(route.methods - {"HEAD"})  # type: ignore[attr-defined]
    return found


def test_the_document_describes_what_there_is(application: Any) -> None:
    described = {
        path: {method.upper() for method in methods}
        for path, methods in document()["paths"].items()
    }
    served = routes(application)
    for path, methods in described.items():
        assert served.get(path) == methods, path
    undescribed = set(served) - set(described)
    pages = {path for path in undescribed if path.startswith("/pages/")}
    shared_memory = {path for path in undescribed if "sharedmemory" in path}
    assert undescribed - pages - shared_memory == {"/", "/docs", "/openapi.json"}


def test_the_document_is_whole(application: Any) -> None:
    made = application.ask("GET", "/openapi.json").json()
    assert made["openapi"].startswith("3.1")
    known = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert set(re.findall(r"'\$ref': '([^']+)'", str(made))) == known
    for path, methods in made["paths"].items():
        for operation in methods.values():
            names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert names == set(re.findall(r"{(\w+)}", path))
            assert operation["responses"]
            assert operation["summary"]


def test_the_docs_page_names_every_path_and_needs_no_script(application: Any) -> None:
    text = application.ask("GET", "/docs").body.decode()
    for path in document()["paths"]:
        assert f"<code>{path}</code>" in text
    assert "<script" not in text
    assert "://" not in text.replace("http://", "")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_allow_nothing_from_elsewhere_and_nothing_inline(path: str, application: Any) -> None:
    answer = application.ask("GET", path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    text = answer.body.decode()
    assert not re.findall(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text)
    for source in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert source.startswith("/")
        assert application.ask("GET", source).status == 200


def test_a_page_that_the_browser_has_is_not_sent_again(application: Any) -> None:
    first = application.ask("GET", "/pages/playground.js")
    again = application.ask(
        "GET", "/pages/playground.js", b"", {"if-none-match": first.headers["etag"]}
    )
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert first.body


@pytest.mark.parametrize(
    "path",
    ["/pages/", "/pages/playground.html", "/pages/../auth.py", "/pages/%2e%2e/auth.py",
     "/pages//etc/passwd", "/pages/style.css/", "/Pages/style.css", "//pages/style.css"],
)  # fmt: skip
def test_no_other_file_is_ever_sent(path: str, application: Any) -> None:
    assert application.ask("GET", path).status == 404


def test_probes_follow_the_service(
    make_application: Callable[..., Any], start_service: Callable[..., Any], loop_thread: Any
) -> None:
    service = start_service()
    app = make_application(service=service)
    assert app.ask("GET", "/ready").json() == {"ready": True}
    loop_thread.run(service.drain(1))
    refused = app.ask("GET", "/ready")
    assert (refused.status, refused.json()) == (503, {"ready": False})
    assert app.ask("GET", "/live").json() == {"live": True}


def test_clients_reload_only_where_they_may(
    make_application: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    app = make_application(allow_reload=False)
    load = "/v2/repository/models/random/load"
    refused = app.ask("POST", load)
    assert (refused.status, "--allow-reload" in refused.error) == (403, True)
    allowed = make_application(allow_reload=True, service=app.service)
    assert allowed.ask("POST", load).status == 200
    said = app.ask("POST", "/v1/random/depth?format=json", photo()).json()
    assert said["version"] == "2"
    assert allowed.ask("POST", "/v2/repository/models/random/unload").status == 200
    gone = app.ask("POST", "/v1/random/depth", photo())
    assert (gone.status, "unloaded" in gone.error) == (503, True)
    (model,) = app.ask("GET", "/v1").json()["models"]
    assert (model["state"], model["tasks"]) == ("UNAVAILABLE", [])


def test_a_client_that_leaves_frees_its_place(
    make_application: Callable[..., Any],
    photo: Callable[..., bytes],
    ask_asgi: Any,
    loop_thread: Any,
) -> None:
    """Many ask and leave at once; the queue is empty afterwards, and others are served."""
    app = make_application()

    async def ask_and_leave() -> list[int]:
        leave = asyncio.Event()
        target = "/v1/random/depth"
        asked = [
            asyncio.create_task(ask_asgi(app.app, "POST", target, [], [photo()], leave))
            for _ in range(20)
        ]
        await asyncio.sleep(0.003)
        leave.set()
        return [answer.status for answer in await asyncio.gather(*asked)]

    statuses = loop_thread.run(ask_and_leave())
    assert set(statuses) <= {0, 200, 429}
    assert sum(app.service.queued.values()) == 0
    assert app.app.held.size == 0
    assert app.ask("POST", "/v1/random/depth", photo()).status == 200


def test_a_full_queue_is_told_at_once_with_a_time_to_come_again(
    make_application: Callable[..., Any],
    photo: Callable[..., bytes],
    ask_asgi: Any,
    loop_thread: Any,
) -> None:
    from gearshift.scheduler import SchedulerSettings
    from gearshift.server.requests import ServiceSettings

    settings = ServiceSettings(SchedulerSettings(most_queued=2, most_queued_task=2, most_batch=1))
    app = make_application(settings=settings)

    async def ask_all() -> list[Any]:
        asked = [ask_asgi(app.app, "POST", "/v1/random/depth", [], [photo()]) for _ in range(40)]
        return list(await asyncio.gather(*asked))

    answers = loop_thread.run(ask_all())
    assert {answer.status for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
