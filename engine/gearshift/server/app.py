"""The HTTP application: the protocol, `/v1`, the pages and what operators ask for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from gearshift.server import docs_page, site
from gearshift.server.auth import ApiKeys
from gearshift.server.guard import Guard
from gearshift.server.limits import HeldBytes, Limits
from gearshift.server.logs import Log
from gearshift.server.oip import rest
from gearshift.server.service import Service
from gearshift.server.telemetry import Telemetry
from gearshift.server.v1 import Pictures


def make_app(
    service: Service,
    limits: Limits,
    log: Log,
    telemetry: Telemetry,
    keys: ApiKeys | None = None,
    allow_reload: bool = False,
    held: HeldBytes | None = None,
) -> Guard:
    """The ASGI application of one service, which its caller starts and ends.

    Args:
        keys: one of which a client must send; none: everybody may ask.
        allow_reload: whether clients may load and unload models.
        held: what bodies hold in memory, where other transports count too.
    """
    telemetry.metrics.watch_requests(lambda: service.queued, lambda: service.in_progress)
    routes = [
        *rest.routes(service, limits, allow_reload),
        *Pictures(service, limits).routes(),
        *_probes(service),
        *telemetry.metrics.routes(),
        *docs_page.routes(),
        *site.routes(),
    ]
    router = Router(routes, redirect_slashes=False)
    return Guard(router, held or HeldBytes(limits), keys or ApiKeys(), log, telemetry)


def _probes(service: Service) -> list[Route]:
    """`/live` and `/ready`, for whoever starts, stops and routes."""

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": service.ready}, status_code=200 if service.ready else 503)

    return [Route("/live", live, methods=["GET"]), Route("/ready", ready, methods=["GET"])]
