"""Numbers for Prometheus agree with what was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gearshift.backends import Stats
from gearshift.server.metrics import Metrics
from gearshift.server.observer import BatchEvent, RequestEvent
from gearshift.server.requests import ModelSpec

REQUEST = RequestEvent("r", "m", "1", "depth", 24, 40, 2, 0, None)
BATCH = BatchEvent("m", "1", "depth", 3, ("r", "s"), switched=True)
STATS = Stats("native", "depth", 0.1, moved_bytes=500, expert_hits=7, expert_misses=2)


def read(text: bytes) -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_task_and_end() -> None:
    metrics = Metrics()
    for outcome in ("success", "success", "timed_out", "cancelled"):
        metrics.request_finished(REQUEST, outcome, 0.02, 0.01)  # type: ignore[arg-type]
    metrics.rejected(REQUEST, "full")
    found = read(metrics.text())
    assert found["gearshift_requests_total", "m", "success", "depth"] == 2
    assert found["gearshift_requests_total", "m", "timed_out", "depth"] == 1
    assert found["gearshift_requests_total", "m", "cancelled", "depth"] == 1
    assert found["gearshift_requests_total", "m", "rejected", "depth"] == 1
    assert found["gearshift_queue_seconds_sum", "m", "depth"] == pytest.approx(0.04)
    assert found["gearshift_request_seconds_sum", "m", "depth"] == pytest.approx(0.06)
    assert found["gearshift_request_seconds_count", "m", "depth"] == 2


def test_batches_tell_size_time_switches_and_experts() -> None:
    metrics = Metrics()
    metrics.batch_finished(BATCH, 0.25, STATS, None)
    metrics.batch_finished(replace(BATCH, images=1, switched=False), 0.5, STATS, None)
    metrics.batch_finished(replace(BATCH, switched=False), 0.5, None, ValueError())
    found = read(metrics.text())
    assert found["gearshift_batch_seconds_sum", "m", "depth"] == pytest.approx(1.25)
    assert found["gearshift_batch_images_sum", "m", "depth"] == 7
    assert found["gearshift_batch_images_bucket", "1.0", "m", "depth"] == 1
    assert found["gearshift_task_switches_total", "m"] == 1
    assert found["gearshift_expert_uses_total", "m", "hit"] == 14
    assert found["gearshift_expert_uses_total", "m", "miss"] == 4
    assert found["gearshift_expert_moved_bytes_total", "m"] == 1000


def test_requests_at_hand_are_looked_at_when_they_are_asked_for() -> None:
    metrics, queued, at_work = Metrics(), {("m", "depth"): 3}, {("m", "depth"): 4}
    metrics.watch_requests(lambda: queued, lambda: at_work)
    found = read(metrics.text())
    assert found["gearshift_queue_depth", "m", "depth"] == 3
    assert found["gearshift_requests_in_progress", "m", "depth"] == 4
    queued["m", "depth"] = at_work["m", "edges"] = 5
    found = read(metrics.text())
    assert found["gearshift_queue_depth", "m", "depth"] == 5
    assert found["gearshift_requests_in_progress", "m", "edges"] == 5


def test_a_model_shows_its_version_and_whether_it_answers() -> None:
    metrics = Metrics()
    metrics.model_changed("m", None, "LOADING")
    assert read(metrics.text())["gearshift_model_ready", "m"] == 0
    metrics.model_changed("m", "4", "READY")
    found = read(metrics.text())
    assert (found["gearshift_model_ready", "m"], found["gearshift_model_version", "m"]) == (1, 4)


def test_a_served_budget_shows_hits_misses_and_memory(
    make_application: Callable[..., Any], start_service: Callable[..., Any], artifact: Path,
    photo: Callable[..., bytes],
) -> None:  # fmt: skip
    spec = ModelSpec("small", artifact, backend="torch", threads=1, memory="10kB")
    from gearshift.server.telemetry import Telemetry

    telemetry = Telemetry(Metrics())
    service = start_service(None, telemetry.observer, [spec])
    app = make_application(service=service, telemetry=telemetry)
    tasks = ("depth", "depth", "rooms", "edges")
    for task in tasks:
        assert app.ask("POST", f"/v1/small/{task}?format=json", photo()).status == 200
    answer = app.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = read(answer.body)
    assert found["gearshift_requests_total", "small", "success", "depth"] == 2
    assert found["gearshift_task_switches_total", "small"] == 3
    experts = [found["gearshift_expert_uses_total", "small", end] for end in ("hit", "miss")]
    assert sum(experts) >= len(tasks)
    assert found["gearshift_expert_moved_bytes_total", "small"] > 0
    assert found["gearshift_activation_bytes", "small"] > 0
    assert found["process_resident_memory_bytes",] > 1e6
    route = "/v1/{model}/{task}"
    assert found["gearshift_http_requests_total", "POST", route, "200"] == len(tasks)
    assert found["gearshift_http_seconds_count", route] == len(tasks)


def test_what_clients_make_up_adds_no_series(make_application: Callable[..., Any]) -> None:
    app = make_application()
    app.ask("POST", "/v1/nothing/depth", b"x")
    before = len(read(app.ask("GET", "/metrics").body))
    for number in range(50):
        app.ask("GET", f"/made-up-{number}")
        app.ask("POST", f"/v1/made-{number}/up", b"x")
        app.ask("POST", f"/v1/random/up{number}", b"x")
    after = read(app.ask("GET", "/metrics").body)
    # Those of `GET /metrics` itself, and of what no route has.
    assert len(after) - before < 60
    assert not any("made" in part or "up1" in part for name in after for part in name)
