"""The application: how many replicas, of what, and how they are updated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ray import serve

from gearshift.backends import Approximation, Precision
from gearshift.errors import InputError
from gearshift.graph import read_artifact
from gearshift.models import find_model
from gearshift.ray_serve.engine import Configuration, Engine
from gearshift.ray_serve.ingress import Ingress
from gearshift.server.requests import ModelSpec

HEALTH_SECONDS = 2.0
"""Between two questions whether a replica lives."""


def application(
    model: str | Path,
    backend: str = "auto",
    precision: Precision | None = None,
    threads: int | None = None,
    memory: str | int | None = None,
    approximate: Iterable[Approximation] = (),
    *,
    name: str | None = None,
    version: str = "1",
    replicas: int | tuple[int, int] = 1,
    cpus: float = 1.0,
    tasks_kept: int | None = None,
    most_batch: int = 8,
    batch_wait_seconds: float = 0.002,
    most_queued: int = 64,
) -> serve.Application:
    """What `serve.run` takes.

    Running it again under the same name, with another model or other options of the session,
    updates the replicas one after the other. The others answer meanwhile, and nothing is dropped.

    Args:
        model, backend, precision, threads, memory, approximate: see `gearshift.Session`. Threads
            are by default as many as a replica has CPUs.
        name: of the model for clients; by default that of its folder.
        version: of the model, for clients that ask for one.
        replicas: how many; of two numbers Ray chooses between them by load.
        cpus: that Ray sets aside for a replica.
        tasks_kept: tasks that Ray sends to one replica by preference; by default the model's tasks
            divided among the (fewest) replicas.
        most_batch: images that run together.
        batch_wait_seconds: that a request waits for others when its replica is idle.
        most_queued: requests that wait for a place at a replica before others are refused.

    Raises:
        ArtifactError: no such model.
        InputError: a number that means nothing.
    """
    fewest, most = (replicas, replicas) if isinstance(replicas, int) else replicas
    if not 1 <= fewest <= most:
        raise InputError(f"replicas {replicas}: give one number from 1 on, or two, lower first")
    folder = find_model(model).absolute()
    tasks = len(read_artifact(folder).card.tasks)
    spec = ModelSpec(
        name or Path(model).name.removesuffix(".gs"),
        str(folder),
        backend,
        precision,
        threads or max(1, int(cpus)),
        memory,
        tuple(approximate),
    )
    configuration = Configuration(spec, version, most_batch, batch_wait_seconds)
    # Numbers that mean nothing are refused before a cluster starts anything.
    assert configuration.settings
    scaling: dict[str, Any] = {"num_replicas": fewest}
    if fewest < most:
        bounds = {"min_replicas": fewest, "max_replicas": most}
        scaling = {"autoscaling_config": {**bounds, "target_ongoing_requests": most_batch}}
    engine = serve.deployment(
        name="Engine",
        ray_actor_options={"num_cpus": cpus},
        user_config=configuration.to_json(),
        max_ongoing_requests=2 * most_batch,
        max_queued_requests=most_queued,
        health_check_period_s=HEALTH_SECONDS,
        **scaling,
    )(Engine).bind(tasks_kept or -(-tasks // fewest))
    ingress = serve.deployment(
        name="Ingress",
        ray_actor_options={"num_cpus": 0},
        user_config=configuration.to_json(),
        max_ongoing_requests=most_queued + 2 * most_batch * most,
        health_check_period_s=HEALTH_SECONDS,
    )(Ingress)
    return ingress.bind(engine)


def build(arguments: Mapping[str, str]) -> serve.Application:
    """For `serve run gearshift.ray_serve:build NAME=VALUE ...` and Ray's configuration files.

    Args:
        arguments: of `application`, as text; `replicas` may be `2-8`.

    Raises:
        InputError: an argument that `application` does not have, or another kind of value.
    """
    chosen: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in _READERS:
            raise InputError(f"argument {key!r} is not known: choose from {', '.join(_READERS)}")
        try:
            chosen[key] = _READERS[key](str(value))
        except ValueError:
            raise InputError(f"argument {key}={value}: this is no such value") from None
    if "model" not in chosen:
        raise InputError("name a model, as in `serve run gearshift.ray_serve:build model=demo`")
    return application(**chosen)


def _replicas(text: str) -> int | tuple[int, int]:
    fewest, dash, most = text.partition("-")
    return (int(fewest), int(most)) if dash else int(fewest)


_READERS: dict[str, Any] = {
    "model": str,
    "backend": str,
    "precision": str,
    "threads": int,
    "memory": str,
    "name": str,
    "version": str,
    "replicas": _replicas,
    "cpus": float,
    "tasks_kept": int,
    "most_batch": int,
    "batch_wait_seconds": float,
    "most_queued": int,
}
