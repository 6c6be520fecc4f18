"""What server and models say of themselves: each answer as JSON has it.

gRPC's messages have the same fields under the same names, so that both transports send these.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gearshift.graph.card import TaskCard, TaskKind
from gearshift.server.errors import NotFound, Unavailable
from gearshift.server.oip.request import Target, find_target, split_alias
from gearshift.server.oip.tensors import IMAGE, OUTPUT
from gearshift.server.requests import ModelInfo
from gearshift.server.service import Service
from gearshift.server.statistics import Total, VersionStatistics

EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
"""Of the protocol, by the names that NVIDIA's documents give them."""

Json = dict[str, Any]


def server_metadata() -> Json:
    """Name, version and extensions."""
    try:
        number = version("gearshift")
    except PackageNotFoundError:
        # Run from a source folder that was never installed.
        number = "unknown"
    return {"name": "gearshift", "version": number, "extensions": list(EXTENSIONS)}


def is_ready(service: Service, name: str, version: str) -> bool:
    """Whether a model, version or `model:task` can be used now; False for those unknown."""
    try:
        find_target(service, name, version)
    except (NotFound, Unavailable):
        return False
    return True


def model_metadata(service: Service, name: str, version: str) -> Json:
    """Inputs and outputs; -1 is an axis that requests choose.

    Raises:
        NotFound, Unavailable: as `find_target`.
    """
    target = find_target(service, name, version)
    return {
        "name": name,
        "versions": [target.info.version or ""],
        "platform": _platform(target.info),
        "inputs": [{"name": IMAGE, "datatype": "FP32", "shape": [-1, 3, -1, -1]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, *_output_dims(target)]}],
    }


def model_config(service: Service, name: str, version: str) -> Json:
    """The part of Triton's configuration that says something of a model here.

    Raises:
        NotFound, Unavailable: as `find_target`.
    """
    target = find_target(service, name, version)
    card = target.card
    facts = {
        "tasks": ",".join(task.name for task in card.tasks),
        "image_height": str(card.image_height),
        "image_width": str(card.image_width),
        "precision": str(target.info.precision),
        "image_FP32": "(N,3,H,W), normalised as the model's card says",
        "image_UINT8": "(N,H,W,3), pixels in RGB order",
    }
    if target.task is not None:
        facts |= {"task": target.task.name, "kind": str(target.task.kind)}
    return {
        "name": name,
        "platform": _platform(target.info),
        "backend": str(target.info.backend),
        "max_batch_size": service.settings.scheduler.most_batch,
        "input": [{"name": IMAGE, "data_type": "TYPE_FP32", "dims": [3, -1, -1]}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": _output_dims(target)}],
        "dynamic_batching": {},
        "model_transaction_policy": {"decoupled": False},
        "parameters": {name: {"string_value": value} for name, value in facts.items()},
    }


def model_statistics(service: Service, name: str, version: str) -> Json:
    """Counts and cumulated times since loading, by version; of all models for an empty name.

    Raises:
        NotFound: no such model or version.
    """
    names = [split_alias(name)[0]] if name else [info.name for info in service.models()]
    entries = [
        _version_statistics(model, entry)
        for model in names
        for entry in service.statistics(model).versions
        if version in ("", entry.version)
    ]
    if version and not entries:
        raise NotFound(f"model {names[0][:100]!r} has no version {version[:40]!r}")
    return {"model_stats": entries}


def _version_statistics(name: str, entry: VersionStatistics) -> Json:
    # Reading and writing tensors is not measured apart: their counts are 0, not their times.
    inference = {
        "success": _duration(entry.success),
        "fail": _duration(entry.fail),
        "queue": _duration(entry.queue),
        "compute_input": _duration(Total()),
        "compute_infer": _duration(entry.compute),
        "compute_output": _duration(Total()),
    }
    batches = [
        {
            "batch_size": images,
            "compute_input": _duration(Total()),
            "compute_infer": _duration(total),
            "compute_output": _duration(Total()),
        }
        for images, total in sorted(entry.batches.items())
    ]
    return {
        "name": name,
        "version": entry.version,
        "last_inference": round(1e3 * entry.last_request),
        "inference_count": entry.images,
        "execution_count": sum(total.count for total in entry.batches.values()),
        "inference_stats": inference,
        "batch_stats": batches,
    }


def _duration(total: Total) -> Json:
    return {"count": total.count, "ns": round(1e9 * total.seconds)}


def _platform(info: ModelInfo) -> str:
    return f"gearshift_{info.backend}"


def _output_dims(target: Target) -> list[int]:
    """Without the batch, of the named task, or of any: (C,H,W), or tokens (T,D)."""
    tasks: Iterable[TaskCard] = target.card.tasks if target.task is None else (target.task,)
    channels = {task.channels for task in tasks}
    number = channels.pop() if len(channels) == 1 else -1
    if all(task.kind is TaskKind.TOKENS for task in tasks):
        return [-1, number]
    return [number, -1, -1]
