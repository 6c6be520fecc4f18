"""What a request asks for, whatever its transport: the model, its task, the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gearshift.graph.card import Card, TaskCard
from gearshift.server.errors import InvalidRequest, NotFound, TimedOut, Unavailable
from gearshift.server.limits import Limits, check_tensors
from gearshift.server.oip.tensors import IMAGE, OUTPUT, shown
from gearshift.server.requests import InferAnswer, InferRequest, ModelInfo
from gearshift.server.service import Service

MOST_INTEGER = 2**63 - 1
"""Of a parameter: what both transports can carry."""
LONGEST_ID = 256
"""Characters of the id that a client gives its request."""

NO_SHARED_MEMORY = "this server reads no shared memory: send tensors in the request itself"


@dataclass(frozen=True)
class Target:
    """A model as a client named it, and as it stands now."""

    info: ModelInfo
    card: Card
    version: str | None
    """None when the client asked for the newest."""
    task: TaskCard | None
    """None when the client has named none, and the model has several."""


def split_alias(name: str) -> tuple[str, str | None]:
    """`model:task` as both, `model` as it and None."""
    model, colon, task = name.partition(":")
    return model, task if colon else None


def find_target(service: Service, name: str, version: str, task: object = None) -> Target:
    """The model, ready to be used, and the task by parameter or alias.

    Raises:
        NotFound: no such model, version or task.
        Unavailable: the model is not ready.
        InvalidRequest: the task is no text, or alias and parameter differ.
    """
    model, alias = split_alias(name)
    if task is not None and not isinstance(task, str):
        raise InvalidRequest(f"parameter task is {shown(task)}: give a task's name")
    if alias is not None and task is not None and task != alias:
        raise InvalidRequest(
            f"model {name[:100]!r} names one task and parameter task {task[:100]!r} another"
        )
    info = service.model(model, version or None)
    if info.card is None or info.state != "READY":
        raise Unavailable(f"model {model} is not ready: {info.reason or info.state.lower()}")
    return Target(info, info.card, version or None, _find_task(info.card, model, alias or task))


def _find_task(card: Card, model: str, name: str | None) -> TaskCard | None:
    if name is None:
        return card.tasks[0] if len(card.tasks) == 1 else None
    for task in card.tasks:
        if task.name == name:
            return task
    raise NotFound(f"model {model} has no task {name[:100]!r}: it has {_names(card)}")


def infer_request(
    target: Target,
    image: NDArray[np.float32],
    identity: str,
    parameters: Mapping[str, Any],
    most_seconds: float | None = None,
) -> InferRequest:
    """The service's request.

    Args:
        target: with its task.
        image: float32 (N,3,H,W), normalised.
        identity: the client's id of it.
        parameters: of the request; those that nobody knows are ignored, as the protocol asks.
        most_seconds: that the transport gives it.

    Raises:
        InvalidRequest: no task, or a parameter that means nothing or asks for what is not offered.
        TimedOut: no time is left.
    """
    if target.task is None:
        raise InvalidRequest(
            f"name a task of model {target.info.name}, by the request parameter `task` or as model "
            f"`{target.info.name}:TASK`: it has {_names(target.card)}"
        )
    if parameters.get("sequence_id"):
        raise InvalidRequest("sequence_id: no model here keeps anything from request to request")
    if len(identity) > LONGEST_ID:
        raise InvalidRequest(f"the request's id has over {LONGEST_ID} characters")
    microseconds = _whole_number(parameters, "timeout")
    seconds = [1e-6 * microseconds] if microseconds else []
    if most_seconds is not None:
        if most_seconds <= 0:
            raise TimedOut("the call's deadline has passed")
        seconds.append(most_seconds)
    return InferRequest(
        model=target.info.name,
        task=target.task.name,
        image=image,
        version=target.version,
        priority=_whole_number(parameters, "priority"),
        timeout=min(seconds, default=None),
        id=identity,
    )


def _whole_number(parameters: Mapping[str, Any], name: str) -> int:
    """0 when it is not given."""
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value <= MOST_INTEGER:
        unit = " of microseconds" if name == "timeout" else ""
        raise InvalidRequest(
            f"parameter {name} is {shown(value)}: give a whole number{unit} from 0"
        )
    return value


def check_numbers(inputs: int, outputs: int, limits: Limits) -> None:
    """How many tensors come in, and how many are asked for; 0 outputs are all.

    Raises:
        InvalidRequest: not the model's one input, or more than a task's one output.
        TooLarge: more than the limit.
    """
    check_tensors(inputs, "inputs", limits)
    check_tensors(outputs, "outputs", limits)
    if inputs != 1:
        raise InvalidRequest(f"{inputs} inputs: the model has one, {IMAGE!r}")
    if outputs > 1:
        raise InvalidRequest(f"{outputs} outputs: every task has one, {OUTPUT!r}")


def check_output(name: object, parameters: Mapping[str, Any]) -> None:
    """Of an output that the client asked for.

    Raises:
        InvalidRequest: no such output, or in a form that is not offered.
    """
    if name != OUTPUT:
        raise InvalidRequest(f"output {shown(name)} is not known: every task has one, {OUTPUT!r}")
    if parameters.get("classification"):
        raise InvalidRequest("parameter classification: outputs are maps, not classes")
    check_no_shared_memory(parameters)


def check_no_shared_memory(parameters: Mapping[str, Any]) -> None:
    """Raises InvalidRequest where a tensor's parameters point to shared memory."""
    if "shared_memory_region" in parameters:
        raise InvalidRequest(NO_SHARED_MEMORY)


def answer_parameters(answer: InferAnswer) -> dict[str, str | int | bool]:
    """What an answer says of its run, besides the output."""
    return {
        "task": answer.task.name,
        "queue_us": round(1e6 * answer.queue_seconds),
        "compute_us": round(1e6 * answer.compute_seconds),
        "batch_size": answer.batch,
        "switched": answer.switched,
    }


def _names(card: Card) -> str:
    return ", ".join(task.name for task in card.tasks)
