"""The protocol's model repository: which models there are, and whether clients may change them."""

from __future__ import annotations

from typing import Any

from gearshift.server.errors import Forbidden, InvalidRequest
from gearshift.server.oip.request import split_alias
from gearshift.server.service import Service


class Repository:
    """The models of a service, as clients may see and change them.

    Args:
        service: whose models.
        allow_changes: whether clients may load and unload.
    """

    def __init__(self, service: Service, allow_changes: bool) -> None:
        self._service = service
        self._allow_changes = allow_changes

    def index(self, only_ready: bool) -> list[dict[str, Any]]:
        """Every model that the server was started with, and how it stands."""
        return [
            {
                "name": info.name,
                "version": info.version or "",
                "state": info.state,
                "reason": info.reason,
            }
            for info in self._service.models()
            if info.state == "READY" or not only_ready
        ]

    async def load(self, name: str, parameters: object) -> None:
        """Read a model again from where the server has it.

        Raises:
            Forbidden: clients may not.
            InvalidRequest: the request brings a model or a configuration of its own.
            NotFound, Unavailable: as `Service.load`.
        """
        self._check_allowed()
        if parameters:
            raise InvalidRequest(
                "load takes no parameters here: a model is read from where the server has it"
            )
        await self._service.load(split_alias(name)[0])

    async def unload(self, name: str) -> None:
        """End serving a model, until it is loaded again. Raises Forbidden and NotFound."""
        self._check_allowed()
        await self._service.unload(split_alias(name)[0])

    def _check_allowed(self) -> None:
        if not self._allow_changes:
            raise Forbidden(
                "clients may not load or unload here: start the server with --allow-reload"
            )
