"""`gearshift serve` as a process: it tells where it listens, reloads and ends by signals."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from PIL import Image

from gearshift.scheduler.trace import read_trace
from gearshift.server.oip.generated import inference_pb2 as messages

KEY = "a-key-of-enough-length"
SECONDS = 60
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""httpx reads all certificates for each call that brings no context, even without TLS."""

get = partial(httpx.get, timeout=SECONDS, verify=PLAIN)
post = partial(httpx.post, timeout=SECONDS, verify=PLAIN)


class Process:
    """A server, with `arguments`, on any free ports."""

    def __init__(self, *arguments: str | Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "gearshift.cli", "serve", *map(str, arguments)]
        command += ["--log-format", "json", "--threads", "1"]
        if "--port" not in arguments:
            command += ["--port", "0", "--grpc-port", "0"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self.lines: list[dict[str, Any]] = []
        self.other = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
            else:
                self.other += line

    def wait_for(self, event: str, number: int = 1, **values: str) -> dict[str, Any]:
        """The log's line number `number` of such an event."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = [
                line
                for line in list(self.lines)
                if line["event"] == event and values.items() <= line.items()
            ]
            if len(found) >= number:
                return found[number - 1]
            assert self.process.poll() is None or self._reader.is_alive(), self.other
            time.sleep(0.01)
        raise AssertionError(f"no {event} in the log: {self.lines[-5:]} {self.other[-2000:]}")

    @property
    def url(self) -> str:
        return str(self.wait_for("listening")["http"])

    @property
    def grpc(self) -> str:
        return str(self.wait_for("listening")["grpc"])

    def end(self, sent: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(sent)
        return self.ended()

    def ended(self) -> int:
        """Its exit code, once it has ended and its last words are read."""
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def start(cache: Path) -> Iterator[Callable[..., Process]]:
    begun: list[Process] = []

    def make(*arguments: str | Path, **environment: str) -> Process:
        plain = {"GEARSHIFT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        begun.append(Process(*arguments, environment=plain | environment))
        return begun[-1]

    yield make
    for each in begun:
        each.process.kill()
        each.ended()


def photo(width: int = 50, height: int = 40) -> bytes:
    random = np.random.default_rng(1)
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_it_answers_by_both_transports_and_ends_in_peace_with_a_record(
    start: Callable[..., Process], artifact: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    server = start(artifact, f"twin={artifact}", "--record", trace)
    assert server.url.startswith("http://127.0.0.1:")
    server.wait_for("ready")
    assert get(f"{server.url}/ready").json() == {"ready": True}
    models = get(f"{server.url}/v1").json()["models"]
    assert [model["name"] for model in models] == ["random", "twin"]
    answers = [
        post(f"{server.url}/v1/{name}/depth", content=photo()) for name in ("random", "twin")
    ]
    assert answers[0].status_code == 200
    assert answers[0].content == answers[1].content
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        assert messages.ServerReadyResponse.FromString(call(b"", timeout=10)).ready
    assert server.end() == 0
    assert [line["event"] for line in server.lines][-3:] == ["told to end", "draining", "ended"]
    assert server.other == ""
    assert [request.model for request in read_trace(trace)] == ["random", "twin"]


def test_it_lives_but_is_not_ready_while_models_load(
    start: Callable[..., Process], artifact: Path
) -> None:
    server = start(artifact, *[f"m{number}={artifact}" for number in range(24)])
    url = server.url
    assert get(f"{url}/live").status_code == 200
    ready = get(f"{url}/ready")
    refused = post(f"{url}/v1/m23/depth", content=photo())
    assert (ready.status_code, refused.status_code) == (503, 503)
    assert "retry-after" in refused.headers
    server.wait_for("ready")
    assert get(f"{url}/ready").status_code == 200


def test_a_signal_while_models_load_ends_it_at_once(
    start: Callable[..., Process], artifact: Path
) -> None:
    server = start(artifact, *[f"m{number}={artifact}" for number in range(60)])
    server.wait_for("model", state="LOADING")
    assert server.end() == 0
    assert server.lines[-1]["event"] == "ended"
    assert "ready" not in [line["event"] for line in server.lines]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_nothing_accepted_is_lost_when_it_is_told_to_end_under_load(
    sent: int, start: Callable[..., Process], artifact: Path
) -> None:
    server = start(artifact, "--max-queue", "200")
    url = server.url
    server.wait_for("ready")
    busy, told = threading.Event(), threading.Event()

    def ask(number: int) -> str:
        """`200` and so on; `refused` where no connection was made or the server took no request."""
        if number == 50:
            busy.set()
        if number >= 90:
            assert told.wait(SECONDS)
        try:
            answer = post(
                f"{url}/v1/random/{('depth', 'rooms')[number % 2]}",
                content=photo(200, 150),
                headers={"x-request-id": f"n{number}"},
            )
        except httpx.TransportError:
            return "refused"
        good = {200: pictures[number % 2], 503: answer.content}.get(answer.status_code)
        return str(answer.status_code) if answer.content == good else "broken"

    pictures = [
        post(f"{url}/v1/random/{task}", content=photo(200, 150)).content
        for task in ("depth", "rooms")
    ]
    with ThreadPoolExecutor(24) as clients:
        futures = [clients.submit(ask, number) for number in range(160)]
        assert busy.wait(SECONDS)
        server.process.send_signal(sent)
        told.set()
        code = server.ended()
        ends = {f"n{number}": future.result() for number, future in enumerate(futures)}
    assert code == 0
    assert set(ends.values()) <= {"200", "503", "refused"}
    requests = [line for line in server.lines if line.get("id") in ends]
    logged = {line["id"]: str(line["status"]) for line in requests}
    # Whatever the server began, its client has got to the end.
    assert logged == {name: end for name, end in ends.items() if end != "refused"}
    assert list(ends.values()).count("200") >= 20
    assert list(ends.values()).count("200") < 160


def infer_message(task: str) -> bytes:
    tensor = np.random.default_rng(2).normal(size=(8, 3, 48, 80)).astype("<f4")
    message = messages.ModelInferRequest(model_name="random", raw_input_contents=[tensor.tobytes()])
    message.parameters["task"].string_param = task
    message.inputs.add(name="image", datatype="FP32", shape=tensor.shape)
    return message.SerializeToString()


def output(answer: bytes) -> list[bytes]:
    return list(messages.ModelInferResponse.FromString(answer).raw_output_contents)


def test_no_accepted_grpc_call_is_lost_either(
    start: Callable[..., Process], artifact: Path
) -> None:
    server = start(artifact, "--max-queue", "200")
    server.wait_for("ready")
    busy, told = threading.Event(), threading.Event()
    with grpc.insecure_channel(server.grpc) as channel, ThreadPoolExecutor(16) as clients:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        sent = infer_message("depth")
        good = output(infer(sent, timeout=SECONDS))

        def ask(number: int) -> str:
            if number == 30:
                busy.set()
            if number >= 60:
                assert told.wait(SECONDS)
            try:
                identity = [("x-request-id", f"g{number}")]
                same = output(infer(sent, timeout=SECONDS, metadata=identity)) == good
                return "OK" if same else "broken"
            except grpc.RpcError as error:
                return str(error.code().name)

        futures = [clients.submit(ask, number) for number in range(120)]
        assert busy.wait(SECONDS)
        server.process.send_signal(signal.SIGTERM)
        told.set()
        code = server.ended()
        ends = {f"g{number}": future.result() for number, future in enumerate(futures)}
    assert code == 0
    begun = {line["id"]: line["code"] for line in server.lines if line.get("id") in ends}
    # What grpc had not handed over when it was stopped, it calls CANCELLED itself:
    # https://github.com/grpc/grpc/issues/41785
    assert {ends[name] for name in begun} <= {"OK", "UNAVAILABLE"}
    assert set(ends.values()) <= {"OK", "UNAVAILABLE", "CANCELLED"}
    finished = {name for name, code in begun.items() if code == "OK"}
    assert finished == {name for name, end in ends.items() if end == "OK"}
    assert 15 <= len(finished) < 120


def test_a_reload_under_load_drops_no_request(
    start: Callable[..., Process], artifact: Path
) -> None:
    server = start(artifact, "--allow-reload")
    url = server.url
    server.wait_for("ready")
    stop = threading.Event()
    seen: list[tuple[int, str]] = []

    def ask() -> None:
        with httpx.Client(timeout=SECONDS, verify=PLAIN) as client:
            while not stop.is_set():
                answer = client.post(f"{url}/v1/random/edges?format=json", content=photo())
                seen.append((answer.status_code, answer.json().get("version", "")))

    def wait_for_version(version: str) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and (200, version) not in seen:
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as clients:
        futures = [clients.submit(ask) for _ in range(4)]
        wait_for_version("1")
        server.process.send_signal(signal.SIGHUP)
        wait_for_version("2")
        assert post(f"{url}/v2/repository/models/random/load").status_code == 200
        wait_for_version("3")
        stop.set()
        for future in futures:
            future.result()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2", "3"}
    assert server.end() == 0


def test_a_reload_that_fails_keeps_the_old_version(
    start: Callable[..., Process], artifact: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy.gs"
    folder.mkdir()
    for file in artifact.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    server = start(folder)
    server.wait_for("ready")
    (folder / "card.toml").rename(folder / "card.away")
    server.process.send_signal(signal.SIGHUP)
    line = server.wait_for("reload failed")
    assert "version 1 goes on" in line["error"]
    answer = post(f"{server.url}/v1/copy/depth?format=json", content=photo())
    assert answer.json()["version"] == "1"
    assert get(f"{server.url}/ready").status_code == 200


def make_certificate(certificate: Path, private: Path) -> None:
    """Of this machine, by itself; another one each time."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", private, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip


def are_trusted(server: Process, certificate: bytes) -> tuple[bool, bool]:
    """Whether new connections over HTTP and gRPC are by this certificate."""
    trusted = ssl.create_default_context(cadata=certificate.decode())
    try:
        http = httpx.get(f"{server.url}/live", verify=trusted).status_code == 200
    except httpx.ConnectError:
        http = False
    credentials = grpc.ssl_channel_credentials(certificate)
    # Else gRPC would share the connection of the last channel.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(server.grpc, credentials, options) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        try:
            live(b"", timeout=10)
        except grpc.RpcError:
            return http, False
    return http, True


def test_a_new_certificate_is_taken_when_told_to_and_a_broken_one_is_not(
    start: Callable[..., Process], artifact: Path, tmp_path: Path
) -> None:
    certificate, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(certificate, private)
    old = certificate.read_bytes()
    server = start(artifact, "--tls-cert", certificate, "--tls-key", private)
    server.wait_for("ready")
    assert are_trusted(server, old) == (True, True)
    with httpx.Client(
        verify=ssl.create_default_context(cadata=old.decode()), base_url=server.url
    ) as open_one:
        assert open_one.get("/live").status_code == 200
        make_certificate(certificate, private)
        new = certificate.read_bytes()
        assert are_trusted(server, new) == (False, False)
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + SECONDS
        while are_trusted(server, new) != (True, True):
            assert time.monotonic() < end, "the new certificate is not taken"
        assert are_trusted(server, old) == (False, False)
        assert open_one.get("/live").status_code == 200
    private.write_text("nonsense")
    server.process.send_signal(signal.SIGHUP)
    assert str(private) in server.wait_for("reload failed")["error"]
    assert are_trusted(server, new) == (True, True)
    assert server.end() == 0


def test_keys_and_tls_guard_both_transports(
    start: Callable[..., Process], artifact: Path, tmp_path: Path
) -> None:
    certificate, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(certificate, private)
    keys = tmp_path / "keys"
    keys.write_text(KEY + "\n")
    server = start(artifact, "--tls-cert", certificate, "--tls-key", private, "--api-keys", keys)
    server.wait_for("ready")
    assert server.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(verify=trusted, base_url=server.url) as client:
        assert client.get("/ready").status_code == 200
        assert client.get("/v1").status_code == 401
        assert client.get("/metrics").status_code == 401
        assert client.get("/v1", headers={"x-api-key": KEY}).status_code == 200
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(server.grpc, credentials) as channel:
        index = channel.unary_unary("/inference.GRPCInferenceService/RepositoryIndex")
        with pytest.raises(grpc.RpcError) as error:
            index(b"", timeout=10)
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {KEY}")]
        answer = messages.RepositoryIndexResponse.FromString(
            index(b"", timeout=10, metadata=metadata)
        )
        assert [model.name for model in answer.models] == ["random"]
    assert server.end() == 0
    assert not any(KEY in json.dumps(line) for line in server.lines)


def test_a_port_in_use_is_named_before_a_model_is_opened(
    start: Callable[..., Process], artifact: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start(artifact, "--port", port, "--grpc-port", "0")
        assert server.ended() == 1
        assert f"port {port}" in server.other
        assert server.other.count("\n") == 1
        second = start(artifact, "--port", "0", "--grpc-port", port)
        assert second.ended() == 1
        assert f"gRPC cannot listen on 127.0.0.1 port {port} (Address already" in second.other
        assert second.other.count("\n") == 1


def test_a_host_that_does_not_exist_is_named(start: Callable[..., Process], artifact: Path) -> None:
    for host in ("999.1.1.1", "a..b"):
        server = start(artifact, "--host", host)
        assert server.ended() == 1
        assert f"cannot listen on {host}" in server.other
        assert server.other.count("\n") == 1


def test_a_record_that_cannot_be_written_is_named_first(
    start: Callable[..., Process], artifact: Path, tmp_path: Path
) -> None:
    server = start(artifact, "--record", tmp_path / "none" / "trace.jsonl")
    assert server.ended() == 1
    assert "make the folder" in server.other
    assert not server.lines


def test_a_model_that_cannot_be_opened_ends_it_with_one_line(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    (tmp_path / "empty.gs").mkdir()
    server = start(tmp_path / "empty.gs")
    assert server.ended() == 1
    assert "empty.gs" in server.other
    assert "Traceback" not in server.other
