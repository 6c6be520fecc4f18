"""A name under which clients find a model, through all its versions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gearshift.scheduler import ServiceTimes
from gearshift.server.errors import NotFound, Unavailable
from gearshift.server.requests import ModelInfo, ModelSpec, ModelState
from gearshift.server.served_model import SLOW_SECONDS, ServedModel, WarmRun
from gearshift.server.statistics import Statistics, VersionStatistics

MOST_VERSIONS = 8
"""Whose statistics are kept, of one model."""


class ModelSlot:
    """Which version is served, and how the last attempt to load one went."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.served: ServedModel | None = None
        self.lock = asyncio.Lock()
        """Held by whoever loads or unloads."""
        self._loaded = 0
        self._loading = True
        self._reason = "it is loading"
        self._unloaded = False
        self._statistics: list[VersionStatistics] = []

    @property
    def state(self) -> ModelState:
        if self.served is not None:
            return "READY"
        return "LOADING" if self._loading else "UNAVAILABLE"

    @property
    def as_wished(self) -> bool:
        """It is served, or was unloaded on purpose."""
        return self.served is not None or self._unloaded

    def get(self, version: str | None) -> ServedModel:
        """The served version.

        Raises:
            NotFound: another version was asked for.
            Unavailable: none is served.
        """
        name = self.spec.name
        if self.served is None:
            if self._loading:
                raise Unavailable(f"model {name} is loading: try again later")
            raise Unavailable(f"model {name} is not loaded: {self._reason}")
        if version is not None and version != self.served.version:
            raise NotFound(
                f"model {name} has no version {version[:20]!r}: {self.served.version} is served"
            )
        return self.served

    def info(self) -> ModelInfo:
        if self.served is None:
            return ModelInfo(self.spec.name, None, self.state, self._reason)
        info = self.served.info
        return replace(info, reason=self._reason) if self._reason else info

    def statistics(self) -> Statistics:
        versions = tuple(version.copy() for version in self._statistics)
        return Statistics(self.spec.name, versions)

    async def load(self, times: ServiceTimes, most_batch: int) -> ServedModel:
        """Open and warm a new version beside the one that is served, and put it in its place.

        What `gearshift.Session` raises, on opening or running, is raised, and nothing is changed.
        """
        self._loading = True
        try:
            served, runs, switch_seconds = await asyncio.to_thread(
                _open, self.spec, str(self._loaded + 1), most_batch
            )
        except Exception as error:
            self._reason = f"loading it failed: {error}"
            raise
        finally:
            self._loading = False
        for run in runs:
            times.measured(run.key, run.images, run.seconds)
        times.measured_switch(self.spec.name, switch_seconds)
        self._loaded += 1
        self._statistics = [*self._statistics, served.statistics][-MOST_VERSIONS:]
        self._reason, self._unloaded = "", False
        # Requests that wait for the old version hold it until they are answered.
        self.served = served
        return served

    def unload(self) -> None:
        self.served, self._unloaded, self._reason = None, True, "it was unloaded"


def _open(
    spec: ModelSpec, version: str, most_batch: int
) -> tuple[ServedModel, Sequence[WarmRun], float]:
    served = ServedModel(spec, version)
    runs = list(served.warm(most_batch))
    slow = max(run.seconds for run in runs) >= SLOW_SECONDS
    return served, runs, 0.0 if slow else served.warm_switch()
