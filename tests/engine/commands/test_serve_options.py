"""The options of `gearshift serve`: what they reach, and what is refused."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from gearshift.commands import serve
from gearshift.errors import InputError


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return parser.parse_args(["demo", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a:b=demo"], "model name 'a:b'"),
        (["=demo"], "model name ''"),
        (["/"], "model name ''"),
        (["a/b=demo"], "model name 'a/b'"),
        (["a%b=demo"], "model name 'a%b'"),
        (["x="], "model 'x=': write"),
        (["--port", "70000"], "--port 70000"),
        (["--grpc-port", "-1"], "--grpc-port -1"),
        (["--max-body", "lots"], "--max-body 'lots'"),
        (["--max-pixels", "0"], "--max-pixels 0"),
        (["--max-connections", "-4"], "--max-connections -4"),
        (["--max-batch", "0"], "--max-batch 0"),
        (["--max-queue", "0"], "--max-queue 0"),
        (["--max-wait", "-1"], "--max-wait -1"),
        (["--max-wait", "nan"], "--max-wait nan"),
        (["--max-tensor-pixels", "0"], "--max-tensor-pixels 0"),
        (["--timeout", "0"], "--timeout 0"),
        (["--timeout", "inf"], "--timeout inf"),
        (["--api-keys", "/nowhere"], "/nowhere cannot be read"),
        (["--tls-cert", "/nowhere"], "needs both"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "cannot be used"),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _all_of(parsed(*arguments))


def _all_of(arguments: argparse.Namespace) -> tuple[Any, ...]:
    made = serve.specs(arguments), serve.service_settings(arguments)
    return *made, serve.listener_options(arguments)


def test_options_reach_what_they_are_for() -> None:
    specs, settings, options = _all_of(
        parsed(
            "night=models/n.gs", "--max-batch", "3", "--max-queue", "8", "--max-wait", "2",
            "--max-body", "5MB", "--max-pixels", "1000", "--max-connections", "7", "--no-grpc",
            "--timeout", "4", "--host", "::1", "--precision", "int8", "--memory", "1MB",
            "--max-tensor-pixels", "9999",
        )
    )  # fmt: skip
    assert [(spec.name, str(spec.model)) for spec in specs] == [
        ("demo", "demo"),
        ("night", "models/n.gs"),
    ]
    assert (specs[1].precision, specs[1].memory) == ("int8", "1MB")
    scheduler = settings.scheduler
    assert (scheduler.most_batch, scheduler.most_queued, scheduler.most_queued_task) == (3, 8, 6)
    assert (scheduler.longest_wait_seconds, settings.default_timeout) == (0.002, 4.0)
    assert settings.most_pixels == 9999
    assert (options.host, options.grpc_port) == ("::1", None)
    limits = options.limits
    assert (limits.body_bytes, limits.image_pixels, limits.connections) == (5_000_000, 1000, 7)


def test_the_defaults_in_the_help_are_those_of_the_code() -> None:
    _, settings, options = _all_of(parsed())
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    text = " ".join(parser.format_help().split())
    scheduler, limits = settings.scheduler, options.limits
    for words in (
        f"(default: {scheduler.most_batch})",
        f"requests that wait (default: {scheduler.most_queued})",
        f"of the same task (default: {1e3 * scheduler.longest_wait_seconds:g})",
        f"of a request (default: {limits.body_bytes // 10**6}MB)",
        f"of an encoded picture (default: {limits.image_pixels})",
        f"at a time (default: {limits.connections})",
    ):
        assert words in text
