"""Requests of the Open Inference Protocol as bytes, made once, and what is read of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gearshift_bench.serve.outcome import Reply

SEED = 8


@dataclass(frozen=True)
class Payload:
    """One request: a task of one image."""

    task: str
    shape: tuple[int, int, int, int]
    tensor: bytes
    """float32 (1,3,H,W), normalised."""

    def header(self) -> dict[str, Any]:
        """The JSON before the tensor."""
        tensor = {"name": "image", "shape": list(self.shape), "datatype": "FP32"}
        return {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(self.tensor)}}],
            "parameters": {"task": self.task, "binary_data_output": True},
        }


def random_image(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (1,3,H,W) as if normalised; always the same."""
    noise = np.random.default_rng(SEED).normal(size=(1, 3, height, width))
    return noise.astype(np.float32)


def make_payloads(tasks: Iterable[str], height: int, width: int) -> dict[str, Payload]:
    """A request of each task, all of the same image."""
    image = random_image(height, width)
    data = image.astype("<f4").tobytes()
    return {task: Payload(task, (1, 3, height, width), data) for task in tasks}


def read_answer(header: bytes, tensor_bytes: int) -> Reply:
    """The reply that an answer's JSON header and the number of bytes behind it make."""
    try:
        answer = json.loads(header)
        announced = sum(output["parameters"]["binary_data_size"] for output in answer["outputs"])
    except (ValueError, KeyError, TypeError):
        return Reply("failed", "answer without a header that tells its tensors")
    if announced != tensor_bytes or announced == 0:
        return Reply("failed", "answer of other length than its header tells")
    return answered(answer.get("parameters") or {})


def answered(parameters: Mapping[str, Any]) -> Reply:
    """A good answer, with what its parameters tell of its run."""
    queue, compute = parameters.get("queue_us"), parameters.get("compute_us")
    batch = parameters.get("batch_size")
    return Reply(
        "answered",
        queue=None if queue is None else queue / 1e6,
        compute=None if compute is None else compute / 1e6,
        batch=batch,
    )
