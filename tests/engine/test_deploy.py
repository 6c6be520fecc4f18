"""The KServe example asks for what `gearshift serve` has; it has been run on no cluster."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gearshift.commands import serve
from gearshift.server.oip import rest

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).parents[2] / "engine" / "deploy"


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """By their kind."""
    text = (FOLDER / "kserve.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def container(documents: dict[str, Any]) -> dict[str, Any]:
    (only,) = documents["ServingRuntime"]["spec"]["containers"]
    return only


def parse(words: list[str]) -> argparse.Namespace:
    """The arguments of `gearshift serve ...`."""
    assert words[0] == "serve"
    parser = argparse.ArgumentParser(exit_on_error=False)
    serve.add_arguments(parser)
    return parser.parse_args(words[1:])


def arguments(container: dict[str, Any], name: str) -> argparse.Namespace:
    """After KServe put the InferenceService's name in."""
    return parse([word.replace("{{.Name}}", name) for word in container["args"]])


def test_the_server_takes_the_containers_arguments(documents, container) -> None:
    name = documents["InferenceService"]["metadata"]["name"]
    parsed = arguments(container, name)
    (spec,) = serve.specs(parsed)
    assert (spec.name, spec.model) == (name, "/mnt/models")
    options = serve.listener_options(parsed)
    assert options.host == "0.0.0.0"
    assert serve.service_settings(parsed)


def test_ports_are_those_that_the_server_listens_on(documents, container) -> None:
    parsed = arguments(container, "x")
    (port,) = container["ports"]
    assert port["containerPort"] == parsed.port
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == parsed.port
    annotations = documents["ServingRuntime"]["spec"]["annotations"]
    assert annotations["prometheus.kserve.io/port"] == str(parsed.port)


def test_probes_ask_for_paths_that_are_served(container) -> None:
    paths = {route.path for route in rest.routes(None, None)}
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths


def test_a_pod_has_longer_to_end_than_the_server_takes_to_drain(documents, container) -> None:
    given = documents["InferenceService"]["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert given > arguments(container, "x").drain_seconds


def test_the_service_asks_for_a_runtime_and_format_that_are_there(documents) -> None:
    runtime = documents["ServingRuntime"]
    model = documents["InferenceService"]["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    formats = [known["name"] for known in runtime["spec"]["supportedModelFormats"]]
    assert model["modelFormat"]["name"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_every_mount_has_its_volume(documents, container) -> None:
    volumes = {volume["name"] for volume in documents["ServingRuntime"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_image_by_itself_serves_the_same_folder_on_the_same_ports(container) -> None:
    text = (FOLDER / "Dockerfile").read_text()
    words = json.loads(re.findall(r"^CMD (.+)$", text, re.MULTILINE)[-1])
    alone, cluster = parse(words), arguments(container, "model")
    for option in ("models", "host", "port", "grpc_port"):
        assert getattr(alone, option) == getattr(cluster, option)
    exposed = re.findall(r"^EXPOSE (.+)$", text, re.MULTILINE)[-1].split()
    assert exposed == [str(alone.port), str(alone.grpc_port)]
    cache = re.findall(r"GEARSHIFT_CACHE=(\S+)", text)[-1]
    assert cache in {mount["mountPath"] for mount in container["volumeMounts"]}
