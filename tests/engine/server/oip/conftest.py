"""Servers of the random model for clients of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gearshift.scheduler import SchedulerSettings
from gearshift.server.listeners import ListenerOptions
from gearshift.server.requests import ServiceSettings

from .wire import open_stub

MOST_PIXELS = 2**20


@pytest.fixture(scope="session")
def server(make_live: Callable[..., Any]) -> Any:
    """One for all tests that change nothing of it."""
    return make_live(settings=ServiceSettings(most_pixels=MOST_PIXELS))


@pytest.fixture
def start_server(make_live: Callable[..., Any]) -> Callable[..., Any]:
    """Starts one for this test, with `allow_reload=` and settings of the scheduler."""

    def start(allow_reload: bool = False, **scheduler: Any) -> Any:
        settings = ServiceSettings(SchedulerSettings(**scheduler), MOST_PIXELS)
        return make_live(ListenerOptions(allow_reload=allow_reload), settings)

    return start


@pytest.fixture(scope="session")
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def stub(server: Any) -> Iterator[Any]:
    with open_stub(server) as made:
        yield made
