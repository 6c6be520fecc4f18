"""A server's life: listen, load, answer, reload when told to, end without losing a request."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from PIL import Image

from gearshift.errors import InputError
from gearshift.server.errors import RequestError
from gearshift.server.listeners import ListenerOptions, Listeners
from gearshift.server.logs import Log, LoggingBridge
from gearshift.server.metrics import Metrics
from gearshift.server.observer import NoObserver, Observer, Observers
from gearshift.server.requests import ModelSpec, ServiceSettings
from gearshift.server.service import Service
from gearshift.server.telemetry import Telemetry
from gearshift.server.tracing import tracing_from_environment

FORCED = 130
"""The exit code after a second signal."""


def run(
    specs: Sequence[ModelSpec],
    settings: ServiceSettings,
    options: ListenerOptions,
    log: Log,
    drain_seconds: float = 25.0,
    observers: Sequence[Observer] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP loads certificate and models again.

    Args:
        drain_seconds: for accepted requests to be answered after the signal.
        observers: of the service, besides metrics, traces and log.

    Raises:
        GearshiftError: a model cannot be opened, or an address not listened on.
    """
    # Pictures are held to `limits.image_pixels`; Pillow's own limit would only add warnings.
    Image.MAX_IMAGE_PIXELS = None
    telemetry = Telemetry(Metrics(), tracing_from_environment())
    service = Service(specs, settings, Observers(telemetry.observer, _ModelLog(log), *observers))
    listeners = Listeners(service, options, log, telemetry)
    with _libraries_logged(log), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_live(service, listeners, options, log, drain_seconds))
        finally:
            if telemetry.tracing is not None:
                telemetry.tracing.close()


async def _live(
    service: Service,
    listeners: Listeners,
    options: ListenerOptions,
    log: Log,
    drain_seconds: float,
) -> None:
    ending = asyncio.Event()
    _handle_signals(service, listeners, log, ending)
    starting: asyncio.Task[None] | None = None
    try:
        await listeners.open()
        _tell_where(listeners, options, log)
        starting = asyncio.create_task(service.start())
        await _first(starting, ending)
        if starting.done():
            starting.result()
            # What lives as long as the server is not looked through again and again.
            gc.collect()
            gc.freeze()
            log.write("ready", models=", ".join(model.name for model in service.models()))
            await ending.wait()
        begun = time.monotonic()
        log.write("draining", seconds=drain_seconds)
        await service.drain(drain_seconds)
    except BaseException:
        await listeners.close(0)
        await service.close()
        raise
    await listeners.close(drain_seconds - (time.monotonic() - begun))
    await service.close()
    log.write("ended")
    if not starting.done():
        # A model is being opened by a thread, which cannot be told to stop.
        os._exit(0)


def _tell_where(listeners: Listeners, options: ListenerOptions, log: Log) -> None:
    scheme = "http" if options.certificate is None else "https"
    host = f"[{options.host}]" if ":" in options.host else options.host
    grpc = None if listeners.grpc_port is None else f"{host}:{listeners.grpc_port}"
    log.write("listening", http=f"{scheme}://{host}:{listeners.port}", grpc=grpc)


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Until the task is over or the event has come."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _handle_signals(
    service: Service, listeners: Listeners, log: Log, ending: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def end(name: str) -> None:
        if ending.is_set():
            log.write("forced to end", "warning", signal=name)
            os._exit(FORCED)
        log.write("told to end", signal=name)
        ending.set()

    def reload() -> None:
        log.write("told to reload", signal="SIGHUP")
        task = loop.create_task(_reload(service, listeners, log))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, end, "SIGTERM")
    loop.add_signal_handler(signal.SIGINT, end, "SIGINT")
    loop.add_signal_handler(signal.SIGHUP, reload)


async def _reload(service: Service, listeners: Listeners, log: Log) -> None:
    """The certificate, and every model in turn; what fails goes on as it was."""
    try:
        listeners.reload_certificate()
    except InputError as error:
        log.write("reload failed", "error", error=str(error))
    for model in service.models():
        try:
            await service.load(model.name)
        except RequestError as error:
            log.write("reload failed", "error", model=model.name, error=str(error))


class _ModelLog(NoObserver):
    """A line for each model that is loading, ready or gone."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def model_changed(self, name: str, version: str | None, state: str) -> None:
        self._log.write("model", name=name, version=version, state=state)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


@contextmanager
def _libraries_logged(log: Log) -> Iterator[None]:
    """What libraries warn of becomes lines of our log."""
    bridge = LoggingBridge(log)
    root = logging.getLogger()
    root.addHandler(bridge)
    try:
        yield
    finally:
        root.removeHandler(bridge)
