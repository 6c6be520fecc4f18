"""`gearshift serve`: tasks of one or more models over HTTP and gRPC."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gearshift.commands.run import PRECISIONS
from gearshift.errors import InputError
from gearshift.output import check_file

if TYPE_CHECKING:
    from gearshift.scheduler import SchedulerSettings
    from gearshift.server.limits import Limits
    from gearshift.server.listeners import ListenerOptions
    from gearshift.server.requests import ModelSpec, ServiceSettings

HELP = "serve tasks of models over HTTP and gRPC, with a page to try them"
EXAMPLE = """\
gearshift serve demo
gearshift serve demo night=models/night.gs --memory 64MB --port 80 --host 0.0.0.0 --api-keys keys
curl --data-binary @photo.jpg localhost:8000/v1/demo/depth -o depth.png"""

Number = TypeVar("Number", int, float)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="artifact or built-in name, or NAME=MODEL to choose by which name clients ask for it",
    )
    session = parser.add_argument_group("how models run")
    session.add_argument("--backend", default="auto", help="as of gearshift run (default: auto)")
    session.add_argument("--precision", choices=PRECISIONS, help="(default: the backend's own)")
    session.add_argument("--threads", type=int, help="of one operator (default: the backend's)")
    session.add_argument("--memory", help="fast memory for each model's experts, such as 64MB")
    session.add_argument(
        "--approximate", nargs="+", default=(), choices=("gelu", "softmax"), help="(triton)"
    )
    _add_listening(parser.add_argument_group("where and to whom"))
    _add_limits(parser.add_argument_group("limits"))
    ending = parser.add_argument_group("operation")
    ending.add_argument("--log-format", choices=("text", "json"), default="text")
    ending.add_argument(
        "--drain-seconds",
        type=float,
        default=25.0,
        help="after SIGTERM, for accepted requests to be answered (default: 25)",
    )
    ending.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="when each request came, written at the end: for gearshift.scheduler.simulate",
    )


def _add_listening(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for all (default: this machine only)",
    )
    group.add_argument("--port", type=int, default=8000, help="of HTTP; 0: any (default: 8000)")
    group.add_argument("--grpc-port", type=int, default=8001, help="(default: 8001)")
    group.add_argument("--no-grpc", action="store_true", help="HTTP only")
    group.add_argument("--api-keys", type=Path, metavar="FILE", help="keys, one a line")
    group.add_argument(
        "--tls-cert", type=Path, metavar="PEM", help="certificate chain; SIGHUP reads it again"
    )
    group.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    group.add_argument(
        "--allow-reload", action="store_true", help="let clients load and unload models"
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max-batch", type=int, help="images in a batch, or a request (default: 8)")
    group.add_argument("--max-queue", type=int, help="requests that wait (default: 32)")
    group.add_argument(
        "--max-wait", type=float, metavar="MS", help="for others of the same task (default: 5)"
    )
    group.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="of requests that say none (default: none)"
    )
    group.add_argument("--max-body", metavar="SIZE", help="of a request (default: 64MB)")
    group.add_argument("--max-pixels", type=int, help="of an encoded picture (default: 25000000)")
    group.add_argument(
        "--max-tensor-pixels",
        type=int,
        help="height x width of an image tensor (default: 4 times the model's own)",
    )
    group.add_argument("--max-connections", type=int, help="at a time (default: 512)")


def run(arguments: argparse.Namespace) -> int:
    try:
        from gearshift.server.logs import Log
        from gearshift.server.recorder import Recorder
        from gearshift.server.run import run as serve
    except ModuleNotFoundError as error:
        raise InputError(
            f"serving needs the package {error.name}: pip install 'gearshift[serve]'"
        ) from None
    recorder = Recorder()
    if arguments.record is not None:
        check_file(arguments.record)
    serve(
        specs(arguments),
        service_settings(arguments),
        listener_options(arguments),
        Log(arguments.log_format),
        _positive(arguments.drain_seconds, "--drain-seconds"),
        () if arguments.record is None else (recorder,),
    )
    if arguments.record is not None:
        recorder.write(arguments.record)
    return 0


def specs(arguments: argparse.Namespace) -> list[ModelSpec]:
    """The models, by name.

    Raises:
        InputError: a name that no path of a request can have.
    """
    from gearshift.server.requests import ModelSpec

    made = []
    for text in arguments.models:
        name, equals, model = text.partition("=")
        if not equals:
            name, model = Path(text).name.removesuffix(".gs"), text
        elif not model:
            raise InputError(f"model {text!r}: write a folder or a name behind the `=`")
        if not _NAME.fullmatch(name):
            raise InputError(
                f"model name {name!r}: give it one of letters, digits, `.`, `_` and `-`, as in "
                f"NAME={model}"
            )
        made.append(
            ModelSpec(
                name,
                model,
                arguments.backend,
                arguments.precision,
                arguments.threads,
                arguments.memory,
                tuple(arguments.approximate),
            )
        )
    return made


def service_settings(arguments: argparse.Namespace) -> ServiceSettings:
    """Raises InputError for a number that means nothing."""
    from gearshift.server.requests import ServiceSettings

    return ServiceSettings(
        _scheduler_settings(arguments),
        most_pixels=_optional(arguments.max_tensor_pixels, "--max-tensor-pixels"),
        default_timeout=_optional(arguments.timeout, "--timeout"),
    )


def _scheduler_settings(arguments: argparse.Namespace) -> SchedulerSettings:
    from gearshift.scheduler import SchedulerSettings

    changes: dict[str, Any] = {}
    if (images := _optional(arguments.max_batch, "--max-batch")) is not None:
        changes["most_batch"] = images
    if arguments.max_wait is not None:
        if not 0 <= arguments.max_wait < float("inf"):
            raise InputError(f"--max-wait {arguments.max_wait:g}: give 0 or more")
        changes["longest_wait_seconds"] = arguments.max_wait / 1e3
    if (requests := _optional(arguments.max_queue, "--max-queue")) is not None:
        plain = SchedulerSettings()
        changes["most_queued"] = requests
        share = plain.most_queued_task / plain.most_queued
        changes["most_queued_task"] = max(1, round(requests * share))
    return SchedulerSettings(**changes)


def listener_options(arguments: argparse.Namespace) -> ListenerOptions:
    """Raises InputError for ports, files or limits that cannot be used."""
    from gearshift.server.auth import ApiKeys, read_keys
    from gearshift.server.listeners import ListenerOptions

    for option in ("port", "grpc_port"):
        if not 0 <= getattr(arguments, option) <= 65535:
            name = "--" + option.replace("_", "-")
            raise InputError(f"{name} {getattr(arguments, option)}: give 1 to 65535, or 0 for any")
    return ListenerOptions(
        host=arguments.host,
        port=arguments.port,
        grpc_port=None if arguments.no_grpc else arguments.grpc_port,
        certificate=arguments.tls_cert,
        certificate_key=arguments.tls_key,
        keys=ApiKeys() if arguments.api_keys is None else read_keys(arguments.api_keys),
        limits=_limits(arguments),
        allow_reload=arguments.allow_reload,
    )


def _limits(arguments: argparse.Namespace) -> Limits:
    from gearshift.server.limits import Limits

    limits = Limits()
    if arguments.max_body is not None:
        size = _size(arguments.max_body, "--max-body")
        most = max(limits.all_bodies_bytes, 4 * size)
        limits = replace(limits, body_bytes=size, all_bodies_bytes=most)
    if (pixels := _optional(arguments.max_pixels, "--max-pixels")) is not None:
        limits = replace(limits, image_pixels=pixels)
    if (number := _optional(arguments.max_connections, "--max-connections")) is not None:
        limits = replace(limits, connections=number)
    return limits


def _size(text: str, option: str) -> int:
    """`64MB` -> bytes."""
    from gearshift.experts import parse_memory

    try:
        return parse_memory(int(text) if text.isdecimal() else text)
    except InputError:
        raise InputError(f"{option} {text!r}: give bytes, or such as 64MB") from None


def _positive(number: Number, option: str) -> Number:
    if not 0 < number < float("inf"):
        raise InputError(f"{option} {number:g}: give more than 0")
    return number


def _optional(number: Number | None, option: str) -> Number | None:
    return None if number is None else _positive(number, option)
