"""How a request can end other than well: HTTP's status and gRPC's code of each ending."""

from __future__ import annotations

from typing import ClassVar

from gearshift.errors import GearshiftError


class RequestError(GearshiftError):
    """Base: one line for the client, who can act on it."""

    status: ClassVar[int] = 500
    """HTTP's."""
    code: ClassVar[str] = "INTERNAL"
    """The name of gRPC's status code."""


class InvalidRequest(RequestError):
    """The request does not say what it means, or means nothing."""

    status, code = 400, "INVALID_ARGUMENT"


class Unauthorized(RequestError):
    """The API key is missing or wrong."""

    status, code = 401, "UNAUTHENTICATED"


class Forbidden(RequestError):
    """This server was not started to allow that."""

    status, code = 403, "PERMISSION_DENIED"


class NotFound(RequestError):
    """No such model, version or task."""

    status, code = 404, "NOT_FOUND"


class TooLarge(RequestError):
    """Over a limit of `gearshift.server.limits`."""

    status, code = 413, "RESOURCE_EXHAUSTED"


class TimedOut(RequestError):
    """The request's own time, or the time to receive it, was over."""

    status, code = 504, "DEADLINE_EXCEEDED"


class TooManyRequests(RequestError):
    """A queue is full; nothing of the request was begun."""

    status, code = 429, "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a place in the queue is expected."""


class Unavailable(RequestError):
    """Not now: the model is loading or gone, or the server is ending."""

    status, code = 503, "UNAVAILABLE"
