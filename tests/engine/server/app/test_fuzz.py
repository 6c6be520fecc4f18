"""Thousands of damaged requests: each is answered or refused in words, and harms nobody else.

Requests begin as good ones, so that the damage reaches deep into the code that reads them.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions
from gearshift.server.oip.generated import inference_pb2 as messages

from ..waiting import wait_until

CASES = 6_000
SOCKET_CASES = 300
DIRECT_CASES = 400
GRPC_CASES = 700
SERVICE = "/inference.GRPCInferenceService/"
LIMITS = Limits(body_bytes=200_000, image_pixels=20_000, header_seconds=1.0, body_seconds=2.0)
EXPECTED = {200, 400, 401, 403, 404, 405, 413, 429, 503, 504}

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 2**64, 10**30, 1.5, -0.0, 1e308, "", "a", "FP32",
    "FP64", "UINT8", "BYTES", "image", "\x00", "\ud800", "é" * 50, "x" * 5000, [], [[]], [None],
    [-1], [0], [1, 3, 24, 40], [2**40] * 4, [1] * 1000, {}, {"a": 1}, {"task": 3}, [[[[[[]]]]]],
)  # fmt: skip


@dataclass
class Case:
    """A request, in parts that can be damaged."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


class Damage:
    """Makes good requests and damages them; the same ones for one seed."""

    def __init__(self, seed: int, picture: bytes) -> None:
        self.random = np.random.default_rng(seed)
        self.picture = picture

    def pick(self, choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def case(self) -> Case:
        """A good request of some kind, damaged zero to three times."""
        made = self.pick((self.v1, self.v1, self.form, self.binary, self.binary, self.plain))()
        for _ in range(int(self.random.integers(4))):
            self.pick((self.path, self.header, self.cut, self.flip, self.grow, self.method))(made)
        return made

    # --- good requests -----------------------------------------------------------------------

    def v1(self) -> Case:
        query = self.pick(("", "?format=json", "?format=json&picture=true&size=model"))
        return Case("POST", f"/v1/random/{self.task()}{query}", [], self.picture)

    def form(self) -> Case:
        files = {self.pick(("image", "image", "file")): ("x", self.picture)}
        request = httpx.Request("POST", "http://x", files=files)
        kind = ("content-type", request.headers["content-type"])
        return Case("POST", f"/v1/random/{self.task()}", [kind], request.read())

    def binary(self) -> Case:
        """A v2 request with its tensor as bytes; its JSON may be damaged inside."""
        tensor = self.random.normal(size=(1, 3, 24, 40)).astype("<f4").tobytes()
        asked = self.asked({"parameters": {"binary_data_size": len(tensor)}})
        text = self.json(asked)
        length = str(len(text) + self.pick((0, 0, 0, 1, -1, 10**9)))
        headers = [("Inference-Header-Content-Length", length)]
        return Case("POST", self.infer_path(), headers, text + tensor)

    def plain(self) -> Case:
        """A v2 request all in JSON, or one of the repository."""
        if self.random.random() < 0.3:
            action = self.pick(("index", "models/random/load", "models/random/unload"))
            body = self.json({"ready": True, "parameters": {}})
            return Case("POST", f"/v2/repository/{action}", [], body)
        shape = [1, 3, 8, 8]
        data = self.random.normal(size=shape).round(2).tolist()
        return Case("POST", self.infer_path(), [], self.json(self.asked({"data": data}, shape)))

    def asked(
        self, more: dict[str, Any], shape: tuple[int, ...] | list[int] = (1, 3, 24, 40)
    ) -> Any:
        image = {"name": "image", "datatype": "FP32", "shape": list(shape), **more}
        asked: dict[str, Any] = {"id": "1", "inputs": [image], "outputs": [{"name": "output"}]}
        asked["parameters"] = {"task": self.task(), "priority": 0, "timeout": 10_000_000}
        return asked

    def task(self) -> str:
        return str(self.pick(("rooms", "depth", "normals", "edges")))

    def infer_path(self) -> str:
        version = self.pick(("", "", "/versions/1", "/versions/2"))
        return (
            f"/v2/models/{self.pick(('random', 'random:depth', 'random%3Adepth'))}{version}/infer"
        )

    def json(self, value: Any) -> bytes:
        """Often with one part removed, or replaced by something strange."""
        if self.random.random() < 0.6:
            places = list(_places(value))
            parent, key = self.pick(places)
            if self.random.random() < 0.2:
                del parent[key]
            else:
                parent[key] = self.pick(STRANGE)
        return json.dumps(value, allow_nan=True).encode("utf-8", "surrogatepass")

    # --- damage ------------------------------------------------------------------------------

    def path(self, case: Case) -> None:
        place = int(self.random.integers(len(case.target) + 1))
        piece = self.pick(("/", "..", "%", "\x00", "?", "&", "é", "//", ":", "x" * 500, "%2e%2e/"))
        case.target = case.target[:place] + piece + case.target[place:]

    def header(self, case: Case) -> None:
        name = self.pick(
            ("content-type", "content-length", "content-encoding", "accept", "x-request-id",
             "inference-header-content-length", "accept-encoding", "origin", "authorization")
        )  # fmt: skip
        value = self.pick(
            ("", "0", "-1", "99999999999999999999", "gzip", "deflate", "application/json",
             "multipart/form-data; boundary=x", "multipart/form-data", "\x80\xff", "a" * 900,
             "null", "http://elsewhere", "Bearer x", "1e3", "0x10")
        )  # fmt: skip
        case.headers = [pair for pair in case.headers if pair[0].lower() != name] + [(name, value)]

    def cut(self, case: Case) -> None:
        case.body = case.body[: int(self.random.integers(len(case.body) + 1))]

    def flip(self, case: Case) -> None:
        data = bytearray(case.body)
        for _ in range(int(self.random.integers(1, 9))):
            if data:
                data[int(self.random.integers(min(len(data), 600)))] = self.random.integers(256)
        case.body = bytes(data)

    def grow(self, case: Case) -> None:
        if self.random.random() < 0.3:
            case.body = gzip.compress(case.body + bytes(int(self.random.integers(400_000))))
            case.headers.append(("content-encoding", "gzip"))
        else:
            case.body += self.random.bytes(int(self.random.integers(5_000)))

    def method(self, case: Case) -> None:
        case.method = self.pick(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"))


def _places(value: Any) -> Any:
    """Every (container, key) inside, but for the numbers of a long list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:4])
    for key, part in items:
        yield value, key
        if isinstance(part, dict | list):
            yield from _places(part)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_requests_are_answered_in_words(
    seed: int, make_application: Callable[..., Any], photo: Callable[..., bytes], application: Any
) -> None:
    app = make_application(limits=LIMITS, service=application.service)
    damage = Damage(seed, photo())
    good = app.ask("POST", "/v1/random/depth", photo()).body
    statuses: dict[int, int] = {}
    for number in range(CASES // 3):
        case = damage.case()
        half = len(case.body) // 2
        pieces = [case.body[:half], case.body[half:]]
        answer = app.ask(case.method, case.target, pieces, case.headers)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        told = f"case {number} of seed {seed}: {str(case)[:600]} -> {answer.body[:300]!r}"
        assert answer.status in EXPECTED, told
        if answer.status >= 400 and case.method != "HEAD" and answer.body:
            assert "\n" not in answer.error or answer.headers["content-type"] != "application/json"
            assert 5 < len(answer.error) < 2_000, told
        if number % 100 == 99:
            assert app.ask("POST", "/v1/random/depth", photo()).body == good
    assert app.app.held.size == 0
    # Enough got through to the model, and enough was refused.
    assert statuses[200] > CASES // 30
    assert statuses[400] > CASES // 30
    assert not [line for line in app.lines() if line["level"] == "error"]
    assert sum(application.service.queued.values()) == 0


def raw(case: Case, random: np.random.Generator) -> bytes:
    """As it goes over the wire, with some bytes changed."""
    head = head_of(case)
    data = bytearray(head + case.body)
    for _ in range(int(random.integers(6))):
        place = int(random.integers(min(len(data), len(head) + 200)))
        data[place : place + int(random.integers(3))] = random.bytes(int(random.integers(3)))
    return bytes(data)


def head_of(case: Case) -> bytes:
    """The request's line and headers."""
    lines = [f"{case.method} {case.target} HTTP/1.1", "Host: x"]
    lines += [f"{name}: {value}" for name, value in case.headers]
    if not any(name.lower() == "content-length" for name, _ in case.headers):
        lines.append(f"Content-Length: {len(case.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


def test_damaged_bytes_on_sockets_stop_nothing(
    make_live: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    live = make_live(ListenerOptions(limits=LIMITS))
    damage = Damage(11, photo())
    expected = httpx.post(f"{live.url}/v1/random/depth", content=photo()).content
    answered = 0
    for number in range(SOCKET_CASES):
        with socket.create_connection(("127.0.0.1", live.listeners.port), 10) as connection:
            connection.settimeout(0.05)
            try:
                connection.sendall(raw(damage.case(), damage.random))
                answered += connection.recv(12).startswith(b"HTTP/1.1 ")
            except OSError:
                pass  # It waits for more, or has closed: both are answers.
        if number % 50 == 49:
            answer = httpx.post(f"{live.url}/v1/random/depth", content=photo(), timeout=60)
            assert answer.content == expected
    # Far more where the machine is idle.
    assert answered > SOCKET_CASES // 20
    errors = [line for line in live.log.getvalue().splitlines() if '"level": "error"' in line]
    assert not errors
    wait_until(lambda: live.queued() == 0)


def one_answer(port: int, data: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to one request; (0, b"") where more is waited for."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""


@pytest.mark.parametrize("seed", range(2))
def test_connection_and_application_say_the_same_of_damaged_requests(
    seed: int, make_live: Callable[..., Any], photo: Callable[..., bytes]
) -> None:
    """A request that would be answered by the connection itself, and the same one that asks for a
    compressed answer, which is the application's; errors are not compressed."""
    live = make_live(ListenerOptions(limits=replace(LIMITS, body_seconds=0.3, header_seconds=0.3)))
    damage = Damage(20 + seed, photo())
    statuses: dict[int, int] = {}
    for number in range(DIRECT_CASES):
        case = damage.binary()
        for _ in range(int(damage.random.integers(2))):
            damage.pick((damage.path, damage.header, damage.cut, damage.flip))(case)
        direct = one_answer(live.listeners.port, head_of(case) + case.body)
        case.headers.append(("Accept-Encoding", "deflate"))
        general = one_answer(live.listeners.port, head_of(case) + case.body)
        told = f"case {number} of seed {seed}: {str(case)[:600]}"
        assert direct[0] == general[0], told
        if direct[0] >= 400:
            assert direct[1] == general[1], told
        statuses[direct[0]] = statuses.get(direct[0], 0) + 1
    assert min(statuses[200], statuses[400]) > DIRECT_CASES // 20
    wait_until(lambda: live.held() == 0 and live.queued() == 0)
    assert '"level": "error"' not in live.log.getvalue()


def good_message(random: np.random.Generator) -> Any:
    tensor = random.normal(size=(1, 3, 24, 40)).astype("<f4").tobytes()
    message = messages.ModelInferRequest(model_name="random", id="1", raw_input_contents=[tensor])
    message.parameters["task"].string_param = "depth"
    image = message.inputs.add(name="image", datatype="FP32", shape=[1, 3, 24, 40])
    image.parameters["x"].int64_param = 1
    message.outputs.add(name="output")
    return message


def damaged_message(random: np.random.Generator) -> bytes:
    """Fields changed, or bytes of the encoding."""
    message = good_message(random)
    image = message.inputs[0]
    choices: list[Callable[[], Any]] = [
        lambda: setattr(message, "model_name", str(random.choice(["", "x", "random:depth", ":"]))),
        lambda: setattr(message, "model_version", str(random.choice(["1", "2", "x" * 999]))),
        lambda: setattr(image, "datatype", str(random.choice(["", "FP64", "UINT8", "BYTES"]))),
        lambda: setattr(image, "name", "other"),
        lambda: image.shape.__setitem__(slice(None), random.integers(-3, 2**40, 4).tolist()),
        lambda: image.shape.extend([1] * int(random.integers(50))),
        lambda: message.raw_input_contents.append(random.bytes(10)),
        lambda: message.ClearField("raw_input_contents"),
        lambda: image.contents.fp32_contents.extend([1.0] * int(random.integers(3000))),
        lambda: message.inputs.add(name="image"),
        lambda: message.ClearField("inputs"),
        lambda: message.outputs.add(name="x" * 2_000),
        lambda: message.parameters["task"].__setattr__("int64_param", 3),
        lambda: message.parameters["priority"].__setattr__("int64_param", -(2**60)),
        lambda: message.parameters["timeout"].__setattr__("string_param", "soon"),
        lambda: message.parameters["sequence_id"].__setattr__("int64_param", 1),
    ]
    for _ in range(int(random.integers(3))):
        choices[int(random.integers(len(choices)))]()
    data = bytearray(message.SerializeToString())
    if random.random() < 0.4:
        for _ in range(int(random.integers(1, 5))):
            data[int(random.integers(min(len(data), 200)))] = random.integers(256)
    return bytes(data[: None if random.random() < 0.8 else int(random.integers(len(data)))])


def test_damaged_grpc_messages_are_refused_by_code(make_live: Callable[..., Any]) -> None:
    live = make_live(ListenerOptions(limits=LIMITS))
    random = np.random.default_rng(2)
    codes: dict[str, int] = {}
    with grpc.insecure_channel(f"127.0.0.1:{live.listeners.grpc_port}") as channel:
        infer = channel.unary_unary(f"{SERVICE}ModelInfer")
        good = good_message(random).SerializeToString()
        expected = messages.ModelInferResponse.FromString(infer(good, timeout=60))
        for number in range(GRPC_CASES):
            sent = damaged_message(random)
            try:
                infer(sent, timeout=60)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            codes[code] = codes.get(code, 0) + 1
            if number % 100 == 99:
                again = messages.ModelInferResponse.FromString(infer(good, timeout=60))
                assert again.raw_output_contents == expected.raw_output_contents
    assert set(codes) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}
    assert min(codes["OK"], codes["INVALID_ARGUMENT"]) > GRPC_CASES // 20
