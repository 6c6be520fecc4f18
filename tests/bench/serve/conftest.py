"""Event loops in simulated time, and a tiny server that speaks enough of the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Waiting takes no time: the clock jumps to the next timer."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing is to come"
        self._loop.jump(max(timeout, 0.0))
        return super().select(0)


@pytest.fixture
def simulate() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """`asyncio.run` in simulated time."""

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
            return runner.run(work)

    return run


def http(status: int, body: bytes = b"", **headers: Any) -> bytes:
    """An answer."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    head = f"HTTP/1.1 {status} Word\r\n{''.join(lines)}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def inference(task: str, size: int = 12, told: int | None = None) -> bytes:
    """A good answer with a tensor of `size` bytes; `told` is what its header says of that."""
    output = {"name": "output", "parameters": {"binary_data_size": size if told is None else told}}
    told_times = {"queue_us": 1500, "compute_us": 2500, "batch_size": 3, "task": task}
    header = json.dumps({"outputs": [output], "parameters": told_times}).encode()
    return http(200, header + bytes(size), inference_header_content_length=len(header))


CONFIG = {
    "tasks": {"string_value": "near,far"},
    "image_height": {"string_value": "8"},
    "image_width": {"string_value": "24"},
}


async def answer_well(method: str, path: str, body: bytes) -> bytes:
    """A server with one model `toy`."""
    if path == "/v2/repository/index":
        return http(200, json.dumps([{"name": "toy", "state": "READY"}]).encode())
    if path.endswith("/config"):
        return http(200, json.dumps({"parameters": CONFIG}).encode())
    if path == "/metrics":
        return http(200, b"# HELP x\nprocess_resident_memory_bytes 5.0e+07\n")
    if path == "/v2/models/toy/infer":
        header = json.loads(_header(body))
        return inference(header["parameters"]["task"])
    return http(404, b"not here")


def _header(body: bytes) -> bytes:
    """The JSON before the tensor: up to where its brackets close."""
    depth = 0
    for place, byte in enumerate(body):
        depth += (byte == ord("{")) - (byte == ord("}"))
        if depth == 0:
            return body[: place + 1]
    raise AssertionError("no JSON")


@asynccontextmanager
async def tiny_server(answer: Any = answer_well) -> AsyncIterator[int]:
    """The port of a server on loopback that answers each request by `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                reply = await answer(method, path, body)
                if not reply:
                    break
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture(scope="session")
def tiny() -> Any:
    """`tiny_server`, `http`, `inference` and `answer_well`, for tests that import nothing."""

    class Tiny:
        server = staticmethod(tiny_server)
        http = staticmethod(http)
        inference = staticmethod(inference)
        answer_well = staticmethod(answer_well)

    return Tiny


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real `gearshift serve demo` of this machine, with little room in its queue."""
    folder = tmp_path_factory.mktemp("server")
    command = [
        *(sys.executable, "-m", "gearshift.cli", "serve", "demo", "--threads", "1"),
        *("--port", "0", "--grpc-port", "0", "--max-queue", "8", "--log-format", "json"),
    ]
    environment = {**os.environ, "GEARSHIFT_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
        try:
            yield _wait_until_ready(process, folder / "log")
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Server:
    """Where the real server is."""

    http: str
    grpc: str
    pid: int


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> Server:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        by_name = {event["event"]: event for event in events}
        if "ready" in by_name:
            heard = by_name["listening"]
            return Server(heard["http"], f"grpc://{heard['grpc']}", process.pid)
        time.sleep(0.1)
    raise AssertionError(f"the server is not ready: {log.read_text()}")


@pytest.fixture
def unused_port() -> int:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
