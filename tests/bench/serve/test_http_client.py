"""The REST client against a tiny server: endings told apart, connections kept, nothing believed."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from gearshift_bench.serve.drive import run
from gearshift_bench.serve.http_client import MOST_HEADER_BYTES, Exchange, HttpClient
from gearshift_bench.serve.payload import make_payloads

BOTH_WAYS = pytest.mark.parametrize("blocking", [False, True], ids=["asyncio", "blocking"])


def send_all(tiny, answer, blocking: bool):
    """Replies, or errors, to two requests at once, or one after the other."""

    async def main():
        async with tiny.server(answer) as port:
            client = HttpClient("127.0.0.1", port)
            payloads = make_payloads(["near"], 8, 24)
            try:
                if blocking:
                    send = client.prepare_blocking("toy", payloads)
                    return [await asyncio.to_thread(reply_or_error, send) for _ in range(2)]
                asking = [client.prepare("toy", payloads)("near") for _ in range(2)]
                return await asyncio.gather(*asking, return_exceptions=True)
            finally:
                await client.close()

    return run(main())


def reply_or_error(send):
    try:
        seconds, reply = send("near")
        assert seconds > 0
        return reply
    except OSError as error:
        return error


@BOTH_WAYS
def test_an_answer_tells_its_times_and_batch(tiny, blocking: bool) -> None:
    for reply in send_all(tiny, tiny.answer_well, blocking):
        assert reply.ending == "answered"
        assert (reply.queue, reply.compute, reply.batch) == (0.0015, 0.0025, 3)


@BOTH_WAYS
def test_the_request_is_what_the_protocol_says(tiny, blocking: bool) -> None:
    seen: list[bytes] = []

    async def answer(method: str, path: str, body: bytes) -> bytes:
        seen.append(body)
        assert (method, path) == ("POST", "/v2/models/toy/infer")
        return tiny.inference("near")

    send_all(tiny, answer, blocking)
    tensor = np.frombuffer(seen[0][-4 * 3 * 8 * 24 :], "<f4")
    assert np.isfinite(tensor).all()
    assert b'"shape": [1, 3, 8, 24]' in seen[0]
    assert b'"task": "near"' in seen[0]


@BOTH_WAYS
@pytest.mark.parametrize(
    ("answer", "ending", "detail"),
    [
        (lambda tiny: tiny.http(429, b"full", retry_after=1), "refused", ""),
        (lambda tiny: tiny.http(500, b"broken"), "failed", "HTTP 500: broken"),
        (lambda tiny: tiny.http(503, b"not now"), "failed", "HTTP 503: not now"),
        (lambda tiny: tiny.http(200, b"{}"), "failed", "answer without a header"),
        (lambda tiny: tiny.inference("near", 12, told=16), "failed", "other length"),
        (lambda tiny: tiny.inference("near", 0), "failed", "other length"),
    ],
)
def test_every_ending_is_told_apart(tiny, blocking: bool, answer, ending: str, detail: str) -> None:
    async def reply(method: str, path: str, body: bytes) -> bytes:
        return answer(tiny)

    for told in send_all(tiny, reply, blocking):
        assert told.ending == ending
        assert detail in told.detail


@BOTH_WAYS
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_a_lost_connection(tiny, blocking: bool, answer: bytes) -> None:
    async def reply(method: str, path: str, body: bytes) -> bytes:
        return answer

    for told in send_all(tiny, reply, blocking):
        assert isinstance(told, OSError)


def test_connections_are_used_again_and_opened_when_all_are_busy(tiny) -> None:
    ports: list[int] = []

    async def main() -> None:
        async def answer(method: str, path: str, body: bytes) -> bytes:
            await asyncio.sleep(0.05)
            return tiny.inference("near")

        async with tiny.server(answer) as port:
            client = HttpClient("127.0.0.1", port)
            send = client.prepare("toy", make_payloads(["near"], 8, 24))
            for at_once in (1, 1, 5, 2, 5):
                await asyncio.gather(*[send("near") for _ in range(at_once)])
                ports.append(len(client._idle))
            await client.close()

    run(main())
    assert ports == [1, 1, 5, 5, 5]


def test_a_caller_that_gives_up_takes_its_connection_with_it(tiny) -> None:
    async def main() -> None:
        async def answer(method: str, path: str, body: bytes) -> bytes:
            await asyncio.sleep(0.3)
            return tiny.inference("near")

        async with tiny.server(answer) as port:
            client = HttpClient("127.0.0.1", port)
            send = client.prepare("toy", make_payloads(["near"], 8, 24))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await send("near")
            assert not client._idle
            assert (await send("near")).ending == "answered"
            await client.close()

    run(main())


@pytest.mark.parametrize("size", [1, 3, 17, 1000])
def test_an_answer_in_pieces_is_the_same_answer(tiny, size: int) -> None:
    whole = tiny.inference("near", 100)
    exchange = Exchange(keep=50)
    for place in range(0, len(whole), size):
        assert not exchange.complete
        exchange.feed(whole[place : place + size])
    assert exchange.complete
    assert exchange.status == 200
    assert len(exchange.body) == 50
    assert whole.endswith(bytes(100))


def test_bytes_behind_an_answer_are_refused(tiny) -> None:
    with pytest.raises(ValueError, match="more bytes"):
        Exchange(keep=9).feed(tiny.http(200, b"abc") + b"HTTP")


def test_headers_without_end_are_refused() -> None:
    exchange = Exchange(keep=9)
    exchange.feed(b"x" * MOST_HEADER_BYTES)
    with pytest.raises(ValueError, match="headers"):
        exchange.feed(b"x")
