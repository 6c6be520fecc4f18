"""Answers, what they tell, and every request that is refused before it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gearshift.server.service as service_module
from gearshift import Session
from gearshift.errors import ArtifactError, InputError
from gearshift.graph import write_artifact
from gearshift.server.errors import (
    InvalidRequest,
    NotFound,
    RequestError,
    TooLarge,
    Unavailable,
)
from gearshift.server.requests import ModelSpec, ServiceSettings
from gearshift.server.service import Service

Fixture = Callable[..., Any]


def test_every_answer_is_that_of_the_session_bit_for_bit(
    artifact: Path, serve: Fixture, ask: Fixture, run: Fixture, make_image: Fixture
) -> None:
    async def test() -> None:
        session = Session(artifact)
        random = np.random.default_rng(2)
        async with serve(most_queued=100, most_queued_task=100, most_sizes=9) as service:
            jobs = []
            for seed in range(60):
                task = session.tasks[random.integers(4)]
                height, width = 8 * random.integers(1, 4, 2)
                image = make_image(int(random.integers(1, 4)), height, width, seed)
                jobs.append((task, image, ask(service, task, image)))
            answers = await asyncio.gather(*(job for _, _, job in jobs))
        assert any(
            answer.batch > len(image) for answer, (_, image, _) in zip(answers, jobs, strict=True)
        )
        for answer, (task, image, _) in zip(answers, jobs, strict=True):
            assert answer.task.name == task
            assert np.array_equal(answer.output, session.run_normalised(image, task))

    run(test())


def test_what_an_answer_tells(
    artifact: Path, serve: Fixture, ask: Fixture, run: Fixture, make_image: Fixture
) -> None:
    async def test() -> None:
        session = Session(artifact)
        session.run_normalised(make_image(2), "normals")
        async with serve() as service:
            first = await ask(service, "normals", make_image(2))
            second = await ask(service, "normals")
            third = await ask(service, "edges")
        assert (first.model, first.version, first.task) == ("random", "1", session.card.tasks[2])
        assert (first.batch, second.batch) == (2, 1)
        assert first.experts == session.stats.tokens_per_expert
        assert (first.switched, second.switched, third.switched) == (True, False, True)
        for answer in (first, second, third):
            assert answer.queue_seconds >= 0
            assert answer.compute_seconds > 0

    run(test())


def test_what_the_service_tells_of_its_models(artifact: Path, run: Fixture) -> None:
    async def test() -> None:
        service = Service([ModelSpec("a", artifact, "torch"), ModelSpec("b", artifact)])
        assert not service.ready
        assert [info.state for info in service.models()] == ["LOADING", "LOADING"]
        with pytest.raises(Unavailable, match="model b is loading"):
            service.model("b")
        await service.start()
        assert service.ready
        first, second = service.models()
        assert (first.name, first.version, first.state) == ("a", "1", "READY")
        assert (first.backend, first.precision, first.patch_size) == ("torch", "float32", 8)
        assert first.card is not None
        assert first.card == Session(artifact).card
        assert service.model("b", "1") == second
        with pytest.raises(NotFound, match="no version '2'"):
            service.model("b", "2")
        with pytest.raises(NotFound, match="no model 'c': choose from a, b"):
            service.model("c")
        await service.close()
        assert not service.ready

    run(test())


def test_services_that_cannot_be(artifact: Path) -> None:
    with pytest.raises(InputError, match="no model"):
        Service([])
    with pytest.raises(InputError, match="two models have the name 'a'"):
        Service([ModelSpec("a", artifact), ModelSpec("a", artifact)])
    for wrong in (
        {"most_pixels": 0},
        {"most_sizes": -1},
        {"default_timeout": 0.0},
        {"default_timeout": np.nan},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ServiceSettings(**wrong)


def test_a_model_that_cannot_be_opened_ends_the_start(
    artifact: Path, tmp_path: Path, run: Fixture
) -> None:
    async def test() -> None:
        service = Service([ModelSpec("good", artifact), ModelSpec("bad", tmp_path / "none.gs")])
        with pytest.raises(ArtifactError, match=r"none\.gs"):
            await service.start()
        assert not service.ready
        good, bad = service.models()
        assert (good.state, bad.state) == ("READY", "UNAVAILABLE")
        assert "none.gs" in bad.reason
        with pytest.raises(Unavailable, match=r"bad is not loaded: .*none\.gs"):
            service.model("bad")
        await service.close()

    run(test())


IMAGE = np.zeros((1, 3, 24, 40), np.float32)
NAN, INFINITE = IMAGE.copy(), IMAGE.copy()
NAN[0, 1, 5, 7] = np.nan
INFINITE[0, 2, 0, 0] = -np.inf
BOTH_INFINITE = -INFINITE
BOTH_INFINITE[0, 0, 3, 1] = -np.inf
LARGE = np.full_like(IMAGE, np.finfo(np.float32).max)

REFUSED: list[tuple[dict[str, Any], type[RequestError], str]] = [
    ({"model": "other"}, NotFound, "no model 'other'"),
    ({"model": "x" * 10_000}, NotFound, "no model"),
    ({"version": "2"}, NotFound, "no version '2': 1 is served"),
    ({"task": "colours"}, NotFound, "no task 'colours': choose from rooms, depth, normals, edges"),
    ({"task": None}, InvalidRequest, "name a task: model random has rooms, depth"),
    ({"image": IMAGE.astype(np.float64)}, InvalidRequest, "float64 .*: give float32"),
    ({"image": IMAGE[0]}, InvalidRequest, r"float32 \(3, 24, 40\): give"),
    ({"image": IMAGE.tolist()}, InvalidRequest, "the image is list"),
    ({"image": np.zeros((1, 4, 24, 40), np.float32)}, InvalidRequest, r"\(1, 4, 24, 40\)"),
    ({"image": np.zeros((0, 3, 24, 40), np.float32)}, InvalidRequest, r"\(0, 3, 24, 40\)"),
    ({"image": np.zeros((1, 3, 0, 40), np.float32)}, InvalidRequest, "0x40 .* patch size 8"),
    ({"image": np.zeros((1, 3, 24, 41), np.float32)}, InvalidRequest, "24x41 .* patch size 8"),
    ({"image": np.zeros((9, 3, 24, 40), np.float32)}, TooLarge, "9 images .* limit of 8"),
    ({"image": np.zeros((1, 3, 64, 72), np.float32)}, TooLarge, "4,608 pixels, over .* 3,840"),
    ({"image": NAN}, InvalidRequest, "NaN or infinity"),
    ({"image": INFINITE}, InvalidRequest, "NaN or infinity"),
    ({"image": BOTH_INFINITE}, InvalidRequest, "NaN or infinity"),
    ({"image": NAN + LARGE}, InvalidRequest, "NaN or infinity"),
    ({"priority": -1}, InvalidRequest, "priority -1: give 1"),
    ({"priority": 6}, InvalidRequest, "priority 6: give 1"),
    ({"timeout": 0.0}, InvalidRequest, "timeout 0"),
    ({"timeout": -1.0}, InvalidRequest, "timeout -1"),
    ({"timeout": float("nan")}, InvalidRequest, "timeout nan"),
    ({"timeout": float("inf")}, InvalidRequest, "timeout inf"),
]


@pytest.mark.parametrize("inline", [0, 2**20], ids=["on a thread", "inline"])
def test_requests_that_cannot_be_run_never_wait(
    inline: int,
    serve: Fixture,
    gate: Any,
    ask: Fixture,
    run: Fixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_module, "INLINE_NUMBERS", inline)

    async def test() -> None:
        async with serve() as service:
            for values, error, message in REFUSED:
                with pytest.raises(error, match=message) as caught:
                    await ask(service, **{"image": IMAGE, **values})
                assert len(str(caught.value)) < 300
            assert gate.batches == []
            await ask(service, image=IMAGE)
            await ask(service, image=LARGE)
            (version,) = service.statistics("random").versions
            assert (version.success.count, version.fail.count, version.rejected) == (2, 0, 0)

    run(test())


def test_sizes_are_served_in_bounded_number(
    serve: Fixture, ask: Fixture, run: Fixture, make_image: Fixture
) -> None:
    async def test() -> None:
        async with serve(most_sizes=2, most_pixels=2000) as service:
            await ask(service, image=make_image(1, 16, 8))
            await ask(service, image=make_image(1, 8, 16))
            message = "an image of 8x8 .* resize it to one of 8x16, 16x8, 24x40"
            with pytest.raises(TooLarge, match=message):
                await ask(service, image=make_image(1, 8, 8))
            with pytest.raises(TooLarge, match=r"over the limit of 2,000: .* best to 24x40"):
                await ask(service, image=make_image(1, 40, 56))
            for height, width in ((24, 40), (8, 16), (16, 8)):
                await ask(service, image=make_image(1, height, width))
            # A new version begins anew.
            await service.load("random")
            await ask(service, image=make_image(1, 8, 8))

    run(test())


def test_the_loop_goes_on_while_a_batch_runs(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            job = ask(service)
            await gate.until_batches(1)
            # A loop that waited for the batch would never come to open the gate.
            for _ in range(20):
                await asyncio.sleep(0)
                assert service.ready
                assert service.model("random").state == "READY"
            assert not job.done()
            gate.open()
            await job

    run(test())


def test_a_model_with_one_task_needs_no_name(
    make_graph: Fixture, tmp_path: Path, run: Fixture, ask: Fixture
) -> None:
    graph = make_graph(seed=4)
    card = replace(graph.card, tasks=graph.card.tasks[:1])
    weights = dict(graph.weights)
    for name, value in weights.items():
        if ".router." in name:
            weights[name] = value[:1]
    used = {name for node in (*graph.trunk, *graph.decoders[0]) for name in node.inputs}
    weights = {name: value for name, value in weights.items() if name in used}
    single = replace(graph, card=card, decoders=graph.decoders[:1], weights=weights)
    write_artifact(single, tmp_path / "one.gs")

    async def test() -> None:
        service = Service([ModelSpec("random", tmp_path / "one.gs")])
        await service.start()
        answer = await ask(service, None)
        assert answer.task.name == "rooms"
        await service.close()

    run(test())
