"""The Ray Serve application on a local cluster of two replicas, on loopback alone."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.serve")

import ray
import tritonclient.http
from ray import serve
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from gearshift import Session
from gearshift.errors import InputError
from gearshift.graph import Graph, write_artifact
from gearshift.ray_serve import application, build
from gearshift.ray_serve.engine import Configuration
from gearshift.ray_serve.ingress import MOST_ATTEMPTS, Replicas, ReplicatedService
from gearshift.server.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    TimedOut,
    TooManyRequests,
    Unavailable,
)
from gearshift.server.observer import NoObserver
from gearshift.server.requests import InferRequest, ModelSpec
from gearshift_bench.serve.drive import closed_loop
from gearshift_bench.serve.http_client import HttpClient
from gearshift_bench.serve.payload import make_payloads

# One cluster, not one a worker.
pytestmark = pytest.mark.xdist_group("ray")

APPLICATION = "vision"
MOST_KILLED = 8
MOST_STARTS = 3
TASKS = ("rooms", "depth", "normals", "edges")


@pytest.fixture(scope="module")
def port(artifact: Path, cache: Path) -> Iterator[int]:
    """Of the HTTP proxy; the application runs behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    with (
        pytest.MonkeyPatch.context() as patch,
        # Short, because Ray makes sockets in it.
        TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("GEARSHIFT_CACHE", str(cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        start_ray(folder)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": number})
            serve.run(make(artifact), name=APPLICATION)
            yield number
        finally:
            serve.shutdown()
            ray.shutdown()


def start_ray(folder: str) -> None:
    """Ray waits half a minute for its own processes, which a busy machine may need longer for."""
    for attempt in range(MOST_STARTS):
        try:
            ray.init(
                num_cpus=4,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=100_000_000,
                _node_ip_address="127.0.0.1",
                _temp_dir=f"{folder}/{attempt}",
            )
            return
        except Exception:
            ray.shutdown()
            if attempt == MOST_STARTS - 1:
                raise


def make(artifact: Path, **changes: Any) -> serve.Application:
    return application(artifact, "onnxruntime", replicas=2, name="random", **changes)


@pytest.fixture(scope="module")
def session(artifact: Path) -> Session:
    return Session(artifact, "onnxruntime", threads=1)


def engines() -> Replicas:
    """The replicas without the ingress."""
    return Replicas(serve.get_deployment_handle("Engine", APPLICATION))


def request(image: np.ndarray, task: str) -> InferRequest:
    return InferRequest("random", task, image)


def test_a_client_of_the_protocol_gets_the_sessions_own_bits(
    port: int, session: Session, make_image
) -> None:
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_model_ready("random")
    for seed, task in enumerate(TASKS):
        image = make_image(batch=1 + seed % 2, seed=seed)
        tensor = tritonclient.http.InferInput("image", image.shape, "FP32")
        tensor.set_data_from_numpy(image)
        answer = client.infer("random", [tensor], parameters={"task": task})
        assert np.array_equal(answer.as_numpy("output"), session.run_normalised(image, task))
    client.close()


def test_a_replica_keeps_its_tasks(port: int, make_image) -> None:
    image = make_image()

    async def ask(tasks: list[str], pause: float) -> None:
        replicas = engines()
        for task in tasks:
            await replicas.infer(request(image, task))
            await asyncio.sleep(pause)

    # Replicas tell ten times a second what they took up.
    asyncio.run(ask(2 * list(TASKS), pause=0.3))
    before = loads()
    asyncio.run(ask(random.Random(5).choices(TASKS, k=60), pause=0.0))
    assert loads() == before
    assert len(before) == 2
    assert set().union(*before) == set(TASKS)


def loads() -> list[dict[str, int]]:
    """How often each replica has taken up each task."""
    handle = serve.get_deployment_handle("Engine", APPLICATION)
    return handle.broadcast("loads").results(timeout_s=10)


def test_what_cannot_be_run_is_refused_and_spoils_nothing(
    port: int, session: Session, make_image
) -> None:
    good = make_image()
    bad = [make_image(height=25), np.full_like(good, np.nan), good[:, :2], good.astype("f8")]

    async def main() -> list[Any]:
        replicas = engines()
        images = [good, bad[0], good, bad[1], good, bad[2], bad[3], good]
        return await asyncio.gather(
            *[replicas.infer(request(image, "depth")) for image in images], return_exceptions=True
        )

    answers = asyncio.run(main())
    expected = session.run_normalised(good, "depth")
    for place, answer in enumerate(answers):
        if place in (1, 3, 5, 6):
            assert isinstance(answer, InvalidRequest), answer
        else:
            assert np.allclose(answer.output, expected, atol=1e-5)


def test_no_accepted_request_is_lost_when_a_replica_is_killed(
    port: int, session: Session, make_image
) -> None:
    image = make_image()
    expected = {task: session.run_normalised(image, task) for task in TASKS}
    replicas = engines()

    async def ask(number: int, done: asyncio.Event) -> int:
        rng = random.Random(number)
        count = 0
        while not done.is_set():
            task = rng.choice(TASKS)
            answer = await replicas.infer(request(image, task))
            assert np.allclose(answer.output, expected[task], atol=1e-5)
            count += 1
        return count

    async def main() -> tuple[list[int], Any]:
        client = HttpClient("127.0.0.1", port)
        send = client.prepare("random", make_payloads(TASKS, 24, 40))
        done = asyncio.Event()
        through_http = asyncio.create_task(closed_loop(send, cycle(TASKS), 4, 4.0))
        asking = [asyncio.create_task(ask(number, done)) for number in range(8)]
        await asyncio.sleep(1)
        # One that holds no request when it is killed would show nothing: then another is.
        for _ in range(MOST_KILLED):
            await asyncio.to_thread(kill_a_replica)
            await asyncio.sleep(1)
            if replicas.deaths:
                break
        load = await through_http
        done.set()
        counts = await asyncio.gather(*asking)
        await client.close()
        return counts, load

    counts, load = asyncio.run(main())
    assert min(counts) > 0
    assert [o.reply for o in load.outcomes if o.reply.ending != "answered"] == []
    # A killed replica did hold requests, and others answered them.
    assert replicas.deaths > 0
    wait_for_replicas(2)


def test_a_model_is_replaced_under_load_without_losing_a_request(
    port: int, make_graph, make_image, tmp_path: Path
) -> None:
    graph: Graph = make_graph(seed=11)
    folder = tmp_path / "newer.gs"
    write_artifact(graph, folder)
    newer = Session(folder, "onnxruntime", threads=1)
    image = make_image()

    async def main() -> tuple[Any, Any]:
        client = HttpClient("127.0.0.1", port)
        send = client.prepare("random", make_payloads(TASKS, 24, 40))
        loading = asyncio.create_task(closed_loop(send, cycle(TASKS), 4, 6.0))
        await asyncio.sleep(0.5)
        update = make(folder, version="2")
        await asyncio.to_thread(serve.run, update, name=APPLICATION)
        load = await loading
        await client.close()
        return load, await engines().infer(request(image, "rooms"))

    load, answer = asyncio.run(main())
    assert [o.reply for o in load.outcomes if o.reply.ending != "answered"] == []
    assert answer.version == "2"
    assert np.allclose(answer.output, newer.run_normalised(image, "rooms"), atol=1e-5)


def test_two_numbers_of_replicas_let_ray_choose_between_them(artifact: Path) -> None:
    # Ray checks its own configuration when the application is made.
    arguments = {"model": str(artifact), "replicas": "1-3", "cpus": "0.5", "tasks_kept": "2"}
    assert isinstance(build(arguments), serve.Application)


class FakeHandle:
    """Raises these one after the other, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.tasks: list[str] = []
        self.infer = self

    def options(self, multiplexed_model_id: str) -> FakeHandle:
        self.tasks.append(multiplexed_model_id)
        return self

    async def remote(self, request: InferRequest) -> str:
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


def test_a_request_is_given_up_when_every_replica_dies(make_image) -> None:
    asked = request(make_image(), "depth")
    fewer = Replicas(FakeHandle(*[ActorDiedError()] * (MOST_ATTEMPTS - 1)))
    assert asyncio.run(fewer.infer(asked)) == "answer"
    assert fewer.deaths == MOST_ATTEMPTS - 1
    with pytest.raises(Unavailable):
        asyncio.run(Replicas(FakeHandle(*[ActorDiedError()] * MOST_ATTEMPTS)).infer(asked))


def test_a_full_queue_is_told_as_such(make_image) -> None:
    handle = FakeHandle(BackPressureError(8, 8))
    with pytest.raises(TooManyRequests) as refused:
        asyncio.run(Replicas(handle).infer(request(make_image(), "depth")))
    assert refused.value.retry_after > 0
    assert handle.tasks == ["depth"]


def service(handle: Any, artifact: Path) -> ReplicatedService:
    """The ingress's, in this process."""
    made = ReplicatedService(Replicas(handle), NoObserver())
    made.configure(Configuration(ModelSpec("random", str(artifact)), "7", 4, 0.0))
    return made


class SlowHandle(FakeHandle):
    """Never answers."""

    async def remote(self, request: InferRequest) -> str:
        await asyncio.sleep(3600)
        raise AssertionError


def test_a_request_ends_at_its_own_time_and_is_counted_so(artifact: Path, make_image) -> None:
    asked = replace(request(make_image(), "depth"), timeout=0.05)
    made = service(SlowHandle(), artifact)
    with pytest.raises(TimedOut):
        asyncio.run(made.infer(asked))
    (entry,) = made.statistics("random").versions
    assert (entry.version, entry.timed_out, entry.cancelled) == ("7", 1, 0)


def test_a_client_that_leaves_is_counted_so(artifact: Path, make_image) -> None:
    made = service(SlowHandle(), artifact)

    async def main() -> None:
        asking = asyncio.create_task(made.infer(request(make_image(), "depth")))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())
    assert made.statistics("random").versions[0].cancelled == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "other"}, "no model 'other'"),
        ({"version": "6"}, "no version '6': 7 is served"),
        ({"task": "sky"}, "no task 'sky': choose from rooms"),
        ({"task": None}, "no task None: choose from rooms"),
    ],
)
def test_what_is_not_served_never_reaches_a_replica(
    artifact: Path, make_image, changes: dict[str, Any], words: str
) -> None:
    handle = FakeHandle()
    asked = replace(request(make_image(), "depth"), **changes)
    with pytest.raises(NotFound, match=words):
        asyncio.run(service(handle, artifact).infer(asked))
    assert handle.tasks == []


def test_clients_change_no_models(artifact: Path) -> None:
    with pytest.raises(Forbidden):
        asyncio.run(service(FakeHandle(), artifact).load("random"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "name a model"),
        ({"model": "demo", "replica": "2"}, "'replica' is not known"),
        ({"model": "demo", "replicas": "two"}, "replicas=two"),
        ({"model": "demo", "replicas": "3-2"}, "lower first"),
        ({"model": "demo", "replicas": "0"}, "from 1 on"),
        ({"model": "demo", "most_batch": "0"}, "most_batch 0"),
    ],
)
def test_arguments_that_mean_nothing_are_named(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(arguments)


def replica_actors() -> list[dict[str, str]]:
    """Names of the living engine replicas, as `ray.get_actor` takes them."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return [actor for actor in named if "#Engine#" in actor["name"]]


def kill_a_replica() -> None:
    """A random one, when all run: a request must have somewhere to go."""
    wait_for_replicas(2)
    ray.kill(ray.get_actor(**random.choice(replica_actors())))


def wait_for_replicas(number: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        states = serve.status().applications[APPLICATION].deployments["Engine"].replica_states
        if states == {"RUNNING": number}:
            return
        time.sleep(0.2)
    raise AssertionError(states)
