"""The server under load: where it is, what it serves, how a request to it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from gearshift.errors import GearshiftError, InputError
from gearshift_bench.serve.outcome import TimedReply
from gearshift_bench.serve.payload import Payload

PORTS = {"http": 8000, "https": 8000, "grpc": 8001, "grpcs": 8001}
"""Of URLs without a port: those that `gearshift serve` listens on."""


class ServerError(GearshiftError):
    """The server cannot be reached, or is not one that can be driven."""


class Client(Protocol):
    """One transport; its methods raise OSError where the server does not answer well."""

    async def models(self) -> list[str]: ...

    async def config(self, model: str) -> dict[str, Any]: ...

    def prepare(self, model: str, payloads: dict[str, Payload]) -> Callable[[str], Any]: ...

    def prepare_blocking(
        self, model: str, payloads: dict[str, Payload]
    ) -> Callable[[str], TimedReply]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Address:
    """Where the server is."""

    scheme: str
    host: str
    port: int

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def tls(self) -> bool:
        return self.scheme.endswith("s")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True)
class Target:
    """A model of the server."""

    model: str
    tasks: tuple[str, ...]
    height: int
    width: int


def parse_url(url: str) -> Address:
    """`http://HOST:PORT` or `grpc://HOST:PORT`, also `https` and `grpcs`.

    Raises:
        InputError: another form.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in PORTS or parts.path.strip("/") or parts.query:
        raise InputError(
            f"URL {url!r}: give such as http://127.0.0.1:8000 or grpc://127.0.0.1:8001"
        )
    return Address(parts.scheme, host, port or PORTS[parts.scheme])


def connect(address: Address, api_key: str | None = None) -> Client:
    """A client; nothing is sent yet."""
    if address.is_grpc:
        from gearshift_bench.serve.grpc_client import GrpcClient

        return GrpcClient(address.host, address.port, address.tls, api_key)
    from gearshift_bench.serve.http_client import HttpClient

    return HttpClient(address.host, address.port, address.tls, api_key)


async def find_target(client: Client, address: Address, model: str | None) -> Target:
    """The model of this name, or the server's only one.

    Raises:
        ServerError: no answer, or none that can be used.
        InputError: no such model, or several to choose from.
    """
    try:
        known = await client.models()
        if model is None and len(known) != 1:
            raise InputError(f"{address} serves {_names(known)}: choose with --model")
        chosen = known[0] if model is None else model
        if chosen not in known:
            raise InputError(f"{address} has no model {chosen!r} ready: it has {_names(known)}")
        config = await client.config(chosen)
    except OSError as error:
        reason = error.strerror or error
        raise ServerError(f"{address}: {reason}; is `gearshift serve` running there?") from None
    return _read_config(chosen, config, address)


def _read_config(model: str, config: Mapping[str, Any], address: Address) -> Target:
    try:
        facts = {name: value["string_value"] for name, value in config["parameters"].items()}
        tasks = tuple(facts["tasks"].split(","))
        return Target(model, tasks, int(facts["image_height"]), int(facts["image_width"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ServerError(
            f"{address}: the configuration of model {model} names no tasks and image size: "
            "it is not served by gearshift"
        ) from None


def _names(models: Sequence[str]) -> str:
    return ", ".join(models) or "no model that is ready"
