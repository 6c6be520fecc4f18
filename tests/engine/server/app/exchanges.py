"""Requests with binary tensors and their answers, over connections that stay open."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from ..oip.wire import LENGTH

TARGET = "/v2/models/random/infer"
SECONDS = 60
Answer = tuple[int, dict[str, str], bytes]


def ask(
    connection: http.client.HTTPConnection,
    body: bytes,
    headers: dict[str, str],
    target: str = TARGET,
    method: str = "POST",
) -> Answer:
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def raw(body: bytes, headers: dict[str, str], target: str = TARGET) -> bytes:
    """As it goes over the wire."""
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_answers(plain: socket.socket, number: int) -> list[Answer]:
    """So many answers that come one behind the other."""
    file = plain.makefile("rb")
    answers = []
    for _ in range(number):
        status = int(file.readline().split()[1])
        found = http.client.parse_headers(file)
        headers = {k.lower(): v for k, v in found.items()}
        answers.append((status, headers, file.read(int(headers["content-length"]))))
    return answers


def without_times(answer: Answer) -> tuple[int, dict[str, str], Any, bytes]:
    """What two answers to one request have in common."""
    status, headers, body = answer
    changing = {"date", "x-request-id", "connection", "content-length", LENGTH}
    kept = {name: value for name, value in headers.items() if name not in changing}
    length = int(headers.get(LENGTH, len(body)))
    said = json.loads(body[:length])
    for name in ("queue_us", "compute_us", "switched"):
        said.get("parameters", {}).pop(name, None)
    return status, kept, said, body[length:]
