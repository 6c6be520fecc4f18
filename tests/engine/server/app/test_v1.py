"""Pictures in, pictures and numbers out."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from gearshift import Session
from gearshift.presentation import numbers, picture_at
from gearshift.scheduler import SchedulerSettings
from gearshift.server import v1
from gearshift.server.errors import InvalidRequest
from gearshift.server.requests import ServiceSettings
from gearshift.server.v1 import read_wish

TASKS = ("rooms", "depth", "normals", "edges")


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_gets_the_picture_that_a_session_makes(
    task: str, form: str, application: Any, session: Session, photo: Callable[..., bytes]
) -> None:
    data = photo(form)
    expected = picture_at(session.run(opened(data), task), (61, 37))
    answer = application.ask("POST", f"/v1/random/{task}", data)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert np.array_equal(answer.picture(), np.asarray(expected))
    timing = answer.headers["server-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == [
        "decode", "queue", "compute", "encode",
    ]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_json_says_what_a_session_says(
    task: str, application: Any, session: Session, photo: Callable[..., bytes]
) -> None:
    data = photo(seed=3)
    expected = session.run(opened(data), task)
    target = f"/v1/random/{task}?format=json&picture=true&size=model"
    said = application.ask("POST", target, data).json()
    assert said["result"] == numbers(expected)
    assert (said["model"], said["task"], said["version"]) == ("random", task, "1")
    assert said["kind"] == session.card.tasks[TASKS.index(task)].kind
    assert said["batch_size"] == 1
    assert all(value >= 0 for value in said["timing_ms"].values())
    assert set(said["timing_ms"]) == {"decode", "queue", "compute", "encode"}
    used = session.stats.tokens_per_expert
    assert used is not None
    assert said["experts"] == {name: list(counts) for name, counts in used.items()}
    kind, _, encoded = said["picture"].partition(",")
    assert kind == "data:image/png;base64"
    shown = opened(base64.b64decode(encoded))
    assert np.array_equal(np.asarray(shown), np.asarray(expected.picture()))


def test_a_legend_has_the_labels_that_occur_with_their_colours(
    application: Any, session: Session, photo: Callable[..., bytes]
) -> None:
    said = application.ask("POST", "/v1/random/rooms?format=json", photo()).json()
    result = session.run(opened(photo()), "rooms")
    assert said["scale"] is None
    assert sum(entry["share"] for entry in said["legend"]) == pytest.approx(1, abs=1e-3)
    shown = np.asarray(result.picture()).reshape(-1, 3)
    colours = {"#" + bytes(colour).hex() for colour in shown.tolist()}
    assert {entry["colour"] for entry in said["legend"]} == colours
    assert "picture" not in said


def test_a_depth_scale_goes_from_the_nearest_pixels_colour_to_the_farthest(
    application: Any, session: Session, photo: Callable[..., bytes]
) -> None:
    scale = application.ask("POST", "/v1/random/depth?format=json", photo()).json()["scale"]
    result = session.run(opened(photo()), "depth")
    depth, shown = result.values[0], np.asarray(result.picture())
    near = np.unravel_index(depth.argmin(), depth.shape)
    far = np.unravel_index(depth.argmax(), depth.shape)
    assert (scale["from"], scale["to"], scale["unit"]) == (depth[near], depth[far], "metre")
    ends = ["#" + bytes(shown[place].tolist()).hex() for place in (near, far)]
    assert [scale["colours"][0], scale["colours"][-1]] == ends


def test_forms_and_compressed_bodies_are_the_same_picture(
    application: Any, photo: Callable[..., bytes]
) -> None:
    data = photo()
    plain = application.ask("POST", "/v1/random/edges", data)
    form = httpx.Request("POST", "http://x", files={"image": ("x.png", data)})
    kind = {"content-type": form.headers["content-type"]}
    in_form = application.ask("POST", "/v1/random/edges", form.read(), kind)
    packed = application.ask(
        "POST", "/v1/random/edges", gzip.compress(data), {"content-encoding": "gzip"}
    )
    pieces = [data[:10], b"", data[10:11], data[11:]]
    in_pieces = application.ask("POST", "/v1/random/edges", pieces)
    assert plain.body == in_form.body == packed.body == in_pieces.body


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "", "image/png"),
        ("", "*/*", "image/png"),
        ("", "text/html", "image/png"),
        ("", "application/json", "application/json"),
        ("", "Application/JSON;q=0.9, image/png;q=0.5", "application/json"),
        ("", "application/json;q=0.5, image/*", "image/png"),
        ("", "application/json;q=x", "image/png"),
        ("?format=png", "application/json", "image/png"),
        ("?format=json", "image/png", "application/json"),
    ],
)
def test_the_form_follows_the_query_then_accept(
    query: str, accept: str, kind: str, application: Any, photo: Callable[..., bytes]
) -> None:
    answer = application.ask(
        "POST", f"/v1/random/depth{query}", photo(), {"accept": accept} if accept else {}
    )
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"format": "gif"}, "format 'gif' is not known: use png or json"),
        ({"colour": "red"}, "'colour' is not known"),
        ({"picture": "yes"}, "picture 'yes'"),
        ({"size": "10x10"}, "size '10x10'"),
        ({"timeout": "soon"}, "timeout 'soon' is no number"),
        ({"timeout": "0"}, "over 0"),
        ({"timeout": "nan"}, "over 0"),
        ({"timeout": "inf"}, "at most"),
        ({"timeout": "-1"}, "over 0"),
        ({"priority": "1.5"}, "priority '1.5' is no number"),
        ({"priority": "9" * 10_000}, None),
    ],
)
def test_a_strange_query_is_refused_by_name(query: dict[str, str], words: str | None) -> None:
    if words is None:
        assert read_wish(query, "").priority == int("9" * 20)
        return
    with pytest.raises(InvalidRequest, match=words):
        read_wish(query, "")


def test_what_is_unknown_is_refused_before_the_body_is_read(application: Any) -> None:
    for target, status, words in [
        ("/v1/other/depth", 404, "other"),
        ("/v1/random/other", 404, "it has rooms, depth, normals, edges"),
        ("/v1/random/depth?size=huge", 400, "size"),
    ]:
        answer = application.ask("POST", target, [b"x" * 1000] * 10)
        assert answer.status == status
        assert words in answer.error


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not a JPEG or PNG"),
        (b"GIF89a" + bytes(100), 400, "not a JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), 400, "JPEG or PNG|damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(50), 400, "JPEG or PNG|damaged"),
    ],
)
def test_what_is_no_picture_is_refused(
    body: bytes, status: int, words: str, application: Any
) -> None:
    answer = application.ask("POST", "/v1/random/depth", body)
    assert answer.status == status
    assert any(word in answer.error for word in words.split("|"))


def test_a_sixteen_bit_picture_is_refused_in_words(application: Any) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(file, "PNG")
    answer = application.ask("POST", "/v1/random/depth", file.getvalue())
    assert answer.status == 400
    assert "8-bit" in answer.error


def test_a_priority_outside_the_levels_is_refused(
    application: Any, photo: Callable[..., bytes]
) -> None:
    assert application.ask("POST", "/v1/random/depth?priority=1", photo()).status == 200
    answer = application.ask("POST", "/v1/random/depth?priority=99", photo())
    assert (answer.status, "priority 99" in answer.error) == (400, True)


def test_the_models_are_listed_for_the_playground(application: Any) -> None:
    (model,) = application.ask("GET", "/v1").json()["models"]
    assert (model["name"], model["state"], model["version"]) == ("random", "READY", "1")
    assert model["image"] == {"height": 24, "width": 40}
    assert [task["name"] for task in model["tasks"]] == list(TASKS)
    assert model["tasks"][1] == {"name": "depth", "kind": "depth", "unit": "metre", "labels": []}


def test_pictures_that_wait_to_be_decoded_are_bounded(
    make_application: Callable[..., Any],
    photo: Callable[..., bytes],
    ask_asgi: Any,
    loop_thread: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = v1.MOST_PICTURES + v1.PICTURE_THREADS
    scheduler = SchedulerSettings(most_queued=room, most_queued_task=room, overload_wait=1e6)
    app = make_application(settings=ServiceSettings(scheduler))
    decode, may_go_on = v1.decode_picture, threading.Event()

    def slow(data: bytes, limits: Any) -> Any:
        assert may_go_on.wait(60)
        return decode(data, limits)

    monkeypatch.setattr(v1, "decode_picture", slow)

    async def ask_all() -> list[Any]:
        target = "/v1/random/depth"
        asked = [
            asyncio.create_task(ask_asgi(app.app, "POST", target, [], [photo()]))
            for _ in range(room + 3)
        ]
        while sum(one.done() for one in asked) < 3:
            await asyncio.sleep(0.001)
        may_go_on.set()
        return list(await asyncio.gather(*asked))

    answers = loop_thread.run(ask_all())
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 3
    assert all("wait to be decoded" in answer.error for answer in refused)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert [answer.status for answer in answers].count(200) == room


def test_the_timeout_counts_from_the_requests_begin(
    application: Any, photo: Callable[..., bytes]
) -> None:
    answer = application.ask("POST", "/v1/random/depth?timeout=0.000001", photo())
    assert answer.status == 504
    assert "decoding the picture" in answer.error
