"""New versions beside old ones: no request is dropped, a failure changes nothing."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gearshift import Session
from gearshift.graph import write_artifact
from gearshift.server.errors import NotFound, Unavailable
from gearshift.server.service import Service
from gearshift.session import Session as SessionClass

Fixture = Callable[..., Any]


@pytest.fixture
def folder(artifact: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(artifact, tmp_path / "model.gs"))


def test_under_load_a_reload_drops_no_request(
    folder: Path, serve: Fixture, ask: Fixture, run: Fixture, make_graph: Fixture
) -> None:
    async def test() -> None:
        versions: list[str] = []
        stop = asyncio.Event()

        async def client(service: Service, task: str) -> None:
            while not stop.is_set():
                versions.append((await ask(service, task)).version)

        async with serve(folder) as service:
            old = (await ask(service)).output
            clients = [asyncio.ensure_future(client(service, task)) for task in ("depth", "edges")]
            write_artifact(make_graph(seed=9), folder)
            info = await service.load("random")
            assert (info.version, info.state, info.reason) == ("2", "READY", "")
            while versions.count("2") < 10:
                await asyncio.sleep(0.001)
            stop.set()
            await asyncio.gather(*clients)
            new = (await ask(service)).output
            assert versions == sorted(versions)
            assert versions.count("1") > 0
            assert not np.array_equal(old, new)
            with pytest.raises(NotFound, match="no version '1': 2 is served"):
                await ask(service, version="1")
            await ask(service, version="2")
            first, second = service.statistics("random").versions
            assert (first.version, second.version) == ("1", "2")
            assert first.success.count == 1 + versions.count("1")
            assert second.success.count == 2 + versions.count("2")

    run(test())


def test_requests_that_wait_are_answered_by_the_version_they_asked(
    folder: Path,
    serve: Fixture,
    gate: Any,
    ask: Fixture,
    run: Fixture,
    make_graph: Fixture,
    make_image: Fixture,
) -> None:
    async def test() -> None:
        async with serve(folder) as service:
            expected = Session(folder).run_normalised(make_image(seed=0), "edges")
            gate.close()
            jobs = [ask(service), ask(service, "edges"), ask(service, "edges", version="1")]
            await gate.until_batches(1)
            write_artifact(make_graph(seed=9), folder)
            await service.load("random")
            jobs.append(ask(service, "edges"))
            await asyncio.sleep(0)
            gate.open()
            answers = await asyncio.gather(*jobs)
            assert [answer.version for answer in answers] == ["1", "1", "1", "2"]
            assert np.array_equal(answers[1].output, expected)
            assert not np.array_equal(answers[3].output, expected)

    run(test())


def test_a_reload_that_fails_keeps_the_old_version(
    folder: Path, serve: Fixture, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve(folder) as service:
            expected = (await ask(service)).output
            weights = (folder / "weights.bin").read_bytes()
            damaged = bytearray(weights)
            damaged[len(damaged) // 2] ^= 1
            (folder / "new.bin").write_bytes(damaged)
            (folder / "new.bin").replace(folder / "weights.bin")
            with pytest.raises(Unavailable, match=r"not loaded \(.*\): version 1 goes on"):
                await service.load("random")
            info = service.model("random")
            assert (info.version, info.state) == ("1", "READY")
            assert "loading it failed" in info.reason
            assert service.ready
            assert np.array_equal((await ask(service)).output, expected)
            (folder / "new.bin").write_bytes(weights)
            (folder / "new.bin").replace(folder / "weights.bin")
            info = await service.load("random")
            assert (info.version, info.reason) == ("2", "")

    run(test())


def test_an_unloaded_model_finishes_what_it_has_and_can_come_back(
    serve: Fixture, gate: Any, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            gate.close()
            jobs = [ask(service), ask(service, "edges")]
            await gate.until_batches(1)
            await service.unload("random")
            (info,) = service.models()
            assert (info.state, info.reason, info.version) == (
                "UNAVAILABLE",
                "it was unloaded",
                None,
            )
            assert service.ready
            with pytest.raises(Unavailable, match="not loaded: it was unloaded"):
                await ask(service)
            gate.open()
            assert [answer.version for answer in await asyncio.gather(*jobs)] == ["1", "1"]
            await service.load("random")
            assert (await ask(service)).version == "2"
            for change in (service.load, service.unload):
                with pytest.raises(NotFound, match="no model 'other'"):
                    await change("other")

    run(test())


def test_loads_of_one_model_take_turns_and_are_finished_though_the_client_goes(
    serve: Fixture, ask: Fixture, run: Fixture
) -> None:
    async def test() -> None:
        async with serve() as service:
            jobs = [asyncio.ensure_future(service.load("random")) for _ in range(3)]
            await asyncio.sleep(0)
            jobs[0].cancel()
            infos = await asyncio.gather(*jobs[1:])
            assert [info.version for info in infos] == ["3", "4"]
            assert (await ask(service)).version == "4"

    run(test())


def test_an_old_version_leaves_memory(
    serve: Fixture, ask: Fixture, run: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[weakref.ref[SessionClass]] = []
    open_session = SessionClass.__init__

    def remember(session: SessionClass, *values: Any) -> None:
        sessions.append(weakref.ref(session))
        open_session(session, *values)

    monkeypatch.setattr(SessionClass, "__init__", remember)

    async def test() -> None:
        async with serve() as service:
            for _ in range(3):
                await asyncio.gather(*(ask(service, task) for task in ("depth", "edges")))
                await service.load("random")
            await ask(service)
            # The worker lets go of its last batch just after the answer.
            while [session() is not None for session in sessions] != [False, False, False, True]:
                await asyncio.sleep(0.01)
                gc.collect()

    run(test())
