"""The two listeners of one process: HTTP by uvicorn, gRPC by grpc.aio, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import uvicorn

from gearshift.errors import InputError
from gearshift.server.app import make_app
from gearshift.server.auth import ApiKeys
from gearshift.server.connections import guarded
from gearshift.server.direct import Direct
from gearshift.server.grpc_guard import GrpcGuard
from gearshift.server.limits import HeldBytes, Limits
from gearshift.server.logs import Log
from gearshift.server.loopback import send_unpaced
from gearshift.server.oip import grpc_service
from gearshift.server.service import Service
from gearshift.server.telemetry import Telemetry

LAST_ANSWERS_SECONDS = 1.0
"""At least so long, answers that are being sent are waited for."""


@dataclass(frozen=True)
class ListenerOptions:
    """Where a server listens and to whom.

    Raises:
        InputError: one half of a certificate, or one that cannot be used.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """Of HTTP; 0 takes any free one."""
    grpc_port: int | None = 8001
    """None: no gRPC."""
    certificate: Path | None = None
    """PEM file of the certificate and those that lead to it; None: no TLS."""
    certificate_key: Path | None = None
    keys: ApiKeys = field(default_factory=ApiKeys)
    limits: Limits = field(default_factory=Limits)
    allow_reload: bool = False
    """Clients may load and unload models."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.certificate_key is None):
            raise InputError("TLS needs both: give --tls-cert and --tls-key, or neither")
        self.load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def load_certificate(self, context: ssl.SSLContext) -> None:
        """Put the files, as they are now, into a context; nothing without TLS.

        Raises:
            InputError: they cannot be used; the context may have lost what it had.
        """
        if self.certificate is None or self.certificate_key is None:
            return
        try:
            context.load_cert_chain(self.certificate, self.certificate_key, password="")
        except (OSError, ValueError) as error:
            raise InputError(
                f"TLS certificate {self.certificate} and key {self.certificate_key} cannot be "
                f"used: {error}"
            ) from None

    def certificate_pair(self) -> tuple[bytes, bytes] | None:
        """Key and certificate as gRPC takes them; None: no TLS."""
        if self.certificate is None or self.certificate_key is None:
            return None
        return self.certificate_key.read_bytes(), self.certificate.read_bytes()


class Listeners:
    """Open until they are closed; requests come in as soon as `open` returns."""

    def __init__(
        self, service: Service, options: ListenerOptions, log: Log, telemetry: Telemetry
    ) -> None:
        self._options = options
        self._held = HeldBytes(options.limits)
        self._log = log
        self._telemetry = telemetry
        self._service = service
        self._http: _Uvicorn | None = None
        self._http_task: asyncio.Task[None] | None = None
        self._grpc: grpc.aio.Server | None = None
        self._new_pair: tuple[bytes, bytes] | None = None
        """A certificate that gRPC has not taken yet."""
        self.port = 0
        """Of HTTP, once open."""
        self.grpc_port: int | None = None

    @property
    def connections(self) -> int:
        """Of HTTP, at this moment."""
        return 0 if self._http is None else len(self._http.server_state.connections)

    async def open(self) -> None:
        """
        Raises:
            InputError: an address cannot be listened on.
        """
        options = self._options
        if options.grpc_port is not None:
            self._grpc = self._make_grpc(options.grpc_port)
            await self._grpc.start()
        bound = _bind("HTTP", options.host, options.port, "--port")
        self.port = bound.getsockname()[1]
        self._http = _Uvicorn(self._http_config())
        self._http_task = asyncio.create_task(self._http.serve([bound]))
        while not self._http.started and not self._http_task.done():
            await asyncio.sleep(0.005)

    def reload_certificate(self) -> None:
        """Connections from now on get the certificate that the files hold; those that are open go
        on as they are.

        Raises:
            InputError: it cannot be used; the old one is kept.
        """
        options = self._options
        # Not into the one in use before it is known to be good.
        options.load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        if self._http is not None and self._http.config.ssl is not None:
            options.load_certificate(self._http.config.ssl)
        self._new_pair = options.certificate_pair()

    async def close(self, seconds: float) -> None:
        """Take no more connections, and wait at most so long for the answers being sent.

        Calls that grpc has received but not handed over yet, it ends itself, as CANCELLED
        (https://github.com/grpc/grpc/issues/41785): nothing of them was begun.
        """
        seconds = max(seconds, LAST_ANSWERS_SECONDS)
        closing = []
        if self._grpc is not None:
            closing.append(self._grpc.stop(seconds))
        if self._http is not None and self._http_task is not None:
            self._http.config.timeout_graceful_shutdown = math.ceil(seconds)
            self._http.should_exit = True
            closing.append(self._http_task)
        await asyncio.gather(*closing)

    def _http_config(self) -> uvicorn.Config:
        options = self._options
        app = make_app(
            self._service,
            options.limits,
            self._log,
            self._telemetry,
            options.keys,
            options.allow_reload,
            self._held,
        )
        return uvicorn.Config(
            app,
            http=guarded(options.limits, Direct(self._service, options.limits, app)),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=math.ceil(options.limits.idle_seconds),
            ssl_certfile=options.certificate,
            ssl_keyfile=options.certificate_key,
        )

    def _make_grpc(self, port: int) -> grpc.aio.Server:
        options, limits = self._options, self._options.limits
        guard = GrpcGuard(self._held, limits, options.keys, self._log, self._telemetry)
        server = grpc.aio.server(
            interceptors=[guard],
            options=[
                *grpc_service.server_options(limits),
                ("grpc.max_connection_idle_ms", round(1e3 * limits.idle_seconds)),
                # Two servers would share the port, and each get half of the calls.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=limits.connections,
        )
        grpc_service.add_to_server(server, self._service, limits, options.allow_reload)
        # grpc itself would not say why it cannot.
        _bind("gRPC", options.host, port, "--grpc-port").close()
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{port}"
        try:
            pair = options.certificate_pair()
            if pair is None:
                self.grpc_port = server.add_insecure_port(address)
            else:
                credentials = grpc.dynamic_ssl_server_credentials(
                    grpc.ssl_server_certificate_configuration([pair]), self._take_new_pair
                )
                self.grpc_port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise _not_bound("gRPC", options.host, port, "--grpc-port", str(error)) from None
        return server

    def _take_new_pair(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks before each handshake, on threads of its own; None: as before."""
        pair, self._new_pair = self._new_pair, None
        return None if pair is None else grpc.ssl_server_certificate_configuration([pair])


class _Uvicorn(uvicorn.Server):
    """Leaves signals to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(what: str, host: str, port: int, option: str) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _not_bound(what, host, port, option, _reason(error)) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        send_unpaced(bound, str(address[0]))
    except OSError as error:
        bound.close()
        raise _not_bound(what, host, port, option, _reason(error)) from None
    return bound


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _not_bound(what: str, host: str, port: int, option: str, reason: str) -> InputError:
    return InputError(
        f"{what} cannot listen on {host} port {port} ({reason}): choose another --host or {option}"
    )
