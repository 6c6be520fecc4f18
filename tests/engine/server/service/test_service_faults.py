"""A fault in one request, in a batch or in an observer stays there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gearshift.errors import BackendError, InputError
from gearshift.server.errors import InvalidRequest, RequestError, Unavailable
from gearshift.server.observer import NoObserver
from gearshift.session import Session

Fixture = Callable[..., Any]
POISON = np.float32(1234.5)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """From now on, whatever runs with `POISON` in it raises this error."""
    run_checked = Session.run_checked

    def poison(error: Exception) -> None:
        def run(session: Session, image: np.ndarray, task: str) -> np.ndarray:
            if (image == POISON).any():
                raise error
            return run_checked(session, image, task)

        monkeypatch.setattr(Session, "run_checked", run)

    return poison


@pytest.mark.parametrize(
    ("error", "told", "status"),
    [
        (InputError("no such thing"), InvalidRequest, 400),
        (BackendError("no such kernel"), Unavailable, 503),
        (ZeroDivisionError("secret /home/path"), RequestError, 500),
        (MemoryError(), RequestError, 500),
    ],
)
def test_only_the_culprit_of_a_batch_fails(
    error: Exception,
    told: type[RequestError],
    status: int,
    serve: Fixture,
    gate: Any,
    ask: Fixture,
    run: Fixture,
    make_image: Fixture,
    poisoned: Callable[[Exception], None],
) -> None:
    async def test() -> None:
        async with serve() as service:
            expected = await ask(service)
            poisoned(error)
            gate.close()
            first = ask(service)
            await gate.until_batches(2)
            bad_image = make_image(2, seed=0)
            bad_image[1, 2, 3, 4] = POISON
            jobs = [ask(service), ask(service, image=bad_image), ask(service)]
            await asyncio.sleep(0)
            gate.open()
            answers = await asyncio.gather(first, *jobs, return_exceptions=True)
            assert gate.batches[-1] == ("1", "depth", [1, 2, 1])
            failure = answers.pop(2)
            assert type(failure) is told
            assert failure.status == status
            assert failure.__cause__ is error
            assert "secret" not in str(failure)
            for answer in answers:
                assert np.array_equal(answer.output, expected.output)
            assert answers[1].experts is None
            alone = ask(service, image=bad_image)
            with pytest.raises(told):
                await alone
            assert (await ask(service)).experts is not None
            (version,) = service.statistics("random").versions
            assert (version.success.count, version.fail.count) == (5, 2)

    run(test())


class Broken(NoObserver):
    def accepted(self, *_: object) -> None:
        raise RuntimeError("accepted")

    batch_started = batch_finished = request_finished = model_changed = accepted


def test_an_observer_that_fails_disturbs_nobody(
    serve: Fixture, ask: Fixture, run: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with serve(observer=Broken()) as service:
            await asyncio.gather(*(ask(service) for _ in range(3)))

    run(test())
    events = {record.getMessage().rpartition(" ")[2] for record in caplog.records}
    assert {"accepted", "batch_started", "batch_finished", "request_finished"} <= events


class Diary(NoObserver):
    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def accepted(self, request: Any, queued: int) -> None:
        self.lines.append(("accepted", request.id, request.task, request.images, queued))

    def rejected(self, request: Any, reason: str) -> None:
        self.lines.append(("rejected", request.id))

    def batch_started(self, batch: Any) -> None:
        self.lines.append(("started", batch.task, batch.requests, batch.switched))

    def batch_finished(self, batch: Any, seconds: float, stats: Any, error: Any) -> None:
        assert seconds > 0
        self.lines.append(("finished", batch.requests, stats and stats.task, error))

    def request_finished(self, request: Any, outcome: str, queue: float, compute: float) -> None:
        assert queue >= 0
        self.lines.append((outcome, request.id))

    def model_changed(self, name: str, version: str | None, state: str) -> None:
        self.lines.append((name, version, state))


def test_what_an_observer_sees(serve: Fixture, gate: Any, ask: Fixture, run: Fixture) -> None:
    diary = Diary()

    async def test() -> None:
        async with serve(observer=diary, most_queued=2) as service:
            gate.close()
            jobs = [ask(service, id="a")]
            await gate.until_batches(1)
            jobs += [ask(service, id="b", batch=2), ask(service, id="c"), ask(service, id="d")]
            await asyncio.sleep(0.01)
            jobs[2].cancel()
            gate.open()
            await asyncio.gather(*jobs, return_exceptions=True)
            await service.unload("random")

    run(test())
    assert diary.lines == [
        ("random", None, "LOADING"),
        ("random", "1", "READY"),
        ("accepted", "a", "depth", 1, 1),
        ("started", "depth", ("a",), True),
        ("accepted", "b", "depth", 2, 1),
        ("accepted", "c", "depth", 1, 2),
        ("rejected", "d"),
        ("cancelled", "c"),
        ("started", "depth", ("b",), False),
        ("success", "a"),
        ("finished", ("a",), "depth", None),
        ("success", "b"),
        ("finished", ("b",), "depth", None),
        ("random", None, "UNAVAILABLE"),
    ]
