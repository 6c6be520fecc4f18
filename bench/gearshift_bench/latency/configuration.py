"""Every way in which a model is asked to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gearshift.backends import OWN_PRECISION, Approximation, Precision
from gearshift_bench.report.words import count


@dataclass(frozen=True)
class Configuration:
    """How a session is opened, and how many images a request has."""

    backend: str
    precision: Precision
    batch: int
    threads: int | None
    approximate: tuple[Approximation, ...] = ()
    memory: int | None = None
    """Bytes of fast memory for experts."""

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {count(self.threads, 'thread')}"
        return f"{self.backend} {self.precision}, batch {self.batch}{threads}"

    def options(self) -> dict[str, Any]:
        """The arguments of `gearshift.Session`, ready for JSON."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "threads": self.threads,
            "memory": self.memory,
            "approximate": list(self.approximate),
        }


def configurations(
    backends: Iterable[str],
    precisions: Sequence[Precision],
    batches: Iterable[int],
    threads: Iterable[int | None],
    approximate: Iterable[Approximation] = (),
    memory: int | None = None,
) -> list[Configuration]:
    """Every combination once; without precisions, each backend's own."""
    found = (
        Configuration(backend, precision, batch, number, tuple(sorted(set(approximate))), memory)
        for backend in backends
        for precision, batch, number in product(
            precisions or (OWN_PRECISION.get(backend, "float32"),), batches, threads
        )
    )
    return list(dict.fromkeys(found))
