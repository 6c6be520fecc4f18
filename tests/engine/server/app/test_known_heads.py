"""Requests whose line and headers came before, which need no parser: answered like the first."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gearshift.server.auth import ApiKeys
from gearshift.server.connections import GuardedProtocol, is_whole
from gearshift.server.direct import MOST_KNOWN, Direct, DirectRequest
from gearshift.server.limits import Limits
from gearshift.server.listeners import ListenerOptions

from ..oip.wire import binary_request
from ..waiting import wait_until
from .exchanges import SECONDS, TARGET, raw, read_answers, without_times

KEY = "a-key-of-enough-length"
MakeLive = Callable[..., Any]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each message that the parser has begun."""
    seen: list[object] = []
    begin = GuardedProtocol.on_message_begin

    def counted(self: GuardedProtocol) -> None:
        seen.append(self)
        begin(self)

    monkeypatch.setattr(GuardedProtocol, "on_message_begin", counted)
    return seen


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Heads that were kept, of all servers."""
    kept: list[bytes] = []
    begin = Direct.begin

    def watched(self: Direct, *arguments: Any) -> Any:
        request = begin(self, *arguments)
        kept[:] = self._known
        return request

    monkeypatch.setattr(Direct, "begin", watched)
    return kept


@pytest.fixture
def live(make_live: MakeLive) -> Any:
    """A server that has seen nothing yet."""
    return make_live()


@pytest.fixture
def plain(live: Any, parsed: list[object], known: list[bytes]) -> Iterator[socket.socket]:
    # A parser knows its protocol's methods from its beginning.
    with opened(live) as made:
        yield made


def opened(live: Any) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", live.listeners.port), SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def exchange(plain: socket.socket, data: bytes) -> tuple[int, dict[str, str], Any, bytes]:
    plain.sendall(data)
    return without_times(read_answers(plain, 1)[0])


def test_a_known_request_is_answered_without_the_parser(
    live: Any,
    plain: socket.socket,
    image: np.ndarray,
    session: Any,
    parsed: list[object],
    asked_application: list[str],
) -> None:
    """On any connection, and the tensor is the new one."""
    first = exchange(plain, raw(*binary_request(image)))
    assert (first[0], len(parsed)) == (200, 1)
    with opened(live) as another:
        for number, connection in enumerate((plain, another, plain)):
            other = image + number
            answer = exchange(connection, raw(*binary_request(other)))
            assert answer[:3] == first[:3]
            assert answer[3] == session.run_normalised(other, "depth").tobytes()
    assert (len(parsed), asked_application) == (1, [])
    assert live.held() == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_known_request_may_come_in_any_pieces(
    live: Any, plain: socket.socket, image: np.ndarray, session: Any, seed: int
) -> None:
    random = np.random.default_rng(seed)
    data = raw(*binary_request(image))
    head = data.index(b"\r\n\r\n") + 4
    expected = session.run_normalised(image, "depth").tobytes()
    assert exchange(plain, data)[3] == expected
    # Three whose pieces end at their heads, in them, anywhere.
    cuts = [head, *random.integers(1, 3 * len(data), 6).tolist()]
    cuts = sorted({*cuts, *(len(data) * number for number in range(1, 3))})
    sent = 3 * data
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        plain.sendall(sent[begin:end])
        time.sleep(0.002)
    answers = [without_times(answer) for answer in read_answers(plain, 3)]
    assert [answer[3] for answer in answers] == 3 * [expected]
    assert live.held() == 0


def test_known_requests_behind_one_another_are_answered_in_their_order(
    live: Any, plain: socket.socket, image: np.ndarray, session: Any
) -> None:
    """All but the first come while one is at work."""
    images = [image + number for number in range(5)]
    sent = [raw(*binary_request(one)) for one in images]
    assert exchange(plain, sent[0])[0] == 200
    plain.sendall(b"".join(sent))
    answers = [without_times(answer)[3] for answer in read_answers(plain, len(sent))]
    assert answers == [session.run_normalised(one, "depth").tobytes() for one in images]
    assert live.held() == 0


def test_a_connection_that_waits_for_its_answer_is_not_idle(
    make_live: MakeLive, image: np.ndarray, gate: Any
) -> None:
    live = make_live(ListenerOptions(limits=Limits(idle_seconds=1.0)))
    data = raw(*binary_request(image))
    with opened(live) as plain:
        assert exchange(plain, data)[0] == 200
        gate.close()
        plain.sendall(data)
        time.sleep(1.5)
        gate.open()
        assert read_answers(plain, 1)[0][0] == 200


@pytest.mark.parametrize("number", [3, 3000])
def test_refusals_behind_one_another_are_all_told(
    live: Any, plain: socket.socket, number: int, parsed: list[object]
) -> None:
    """Each is answered as it is read, so that the next is known again, until the client does not
    read its answers any more."""
    data = raw(b"{}", {"inference-header-content-length": "2"})
    status, *_ = exchange(plain, data)
    assert (status, len(parsed)) == (400, 1)
    plain.sendall(number * data)
    assert {answer[0] for answer in read_answers(plain, number)} == {400}
    assert number > 3 or len(parsed) == 1
    assert live.held() == 0


def test_the_application_answers_known_heads_too(
    live: Any,
    plain: socket.socket,
    image: np.ndarray,
    asked_application: list[str],
    session: Any,
) -> None:
    """The same head before a JSON of the same length that asks for numbers."""
    binary = raw(*binary_request(image, id="a"))
    assert exchange(plain, binary)[0] == 200
    numbers = binary.replace(b'"binary_data_output": true', b'"binary_data_output":false')
    assert len(numbers) == len(binary)
    status, _, said, rest = exchange(plain, numbers)
    assert (status, rest, asked_application) == (200, b"", [TARGET])
    expected = session.run_normalised(image, "depth")
    assert np.array_equal(np.array(said["outputs"][0]["data"], np.float32), expected.ravel())
    assert exchange(plain, binary)[0] == 200
    assert asked_application == [TARGET]
    assert live.held() == 0


def test_heads_of_what_the_application_answers_are_forgotten(
    plain: socket.socket, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each such request would be begun twice."""
    begun: list[object] = []
    begin = DirectRequest.__init__

    def counted(self: DirectRequest, *arguments: Any) -> None:
        begun.append(self)
        begin(self, *arguments)

    monkeypatch.setattr(DirectRequest, "__init__", counted)
    data = raw(*binary_request(image, parameters={"task": "depth"}))
    for number in range(1, 4):
        assert exchange(plain, data)[0] == 200
        assert len(begun) == number


@pytest.mark.parametrize(
    "change",
    [
        (b"POST ", b"PUT "),
        (b" HTTP/1.1", b" HTTP/1.0"),
        (b"Host: x", b"Host: y"),
        (b"Host: x", b"Host: x\r\nConnection: close"),
        (b"/infer", b"/Infer"),
    ],
)
def test_a_byte_more_or_less_makes_another_head(
    live: Any, image: np.ndarray, parsed: list[object], change: tuple[bytes, bytes]
) -> None:
    data = raw(*binary_request(image))
    with opened(live) as plain:
        assert exchange(plain, data)[0] == 200
        plain.sendall(data.replace(*change, 1))
        read_answers(plain, 1)
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "change",
    [
        (b"\r\n", b"\n"),
        (b"Host: x\r\n", b"Host: x\n"),
        # A parser that takes a bare line feed for the end of the headers sees a body here.
        (b"\r\n\r\n", b"\r\n\nX: y\r\n\r\n"),
        (b"Host: x\r\n", b"Host: x\r\n folded\r\n"),
        (b"POST ", b"\r\n\r\nPOST "),
    ],
)
def test_heads_that_parsers_may_read_in_two_ways_are_not_kept(
    plain: socket.socket, image: np.ndarray, known: list[bytes], change: tuple[bytes, bytes]
) -> None:
    """Whatever the parser makes of them."""
    data = raw(*binary_request(image))
    head, end, body = data.partition(b"\r\n\r\n")
    plain.sendall((head + end).replace(*change) + body)
    plain.shutdown(socket.SHUT_WR)
    while plain.recv(65536):
        pass
    assert known == []


@pytest.mark.parametrize(
    ("head", "whole"),
    [
        (b"POST / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nA: b\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nA: b\r\nC: d\n\r\n", False),
        (b"POST / HTTP/1.1\r\nA: b\nC: d\n\nE: f\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nA: b\r\nC: d\n\nE: f\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nA: b\r\nC: d\r\n e\r\n\r\n", False),
        (b"", False),
    ],
)
def test_a_head_is_whole_where_a_parser_that_finds_two_headers_ends_it_there(
    head: bytes, whole: bool
) -> None:
    assert is_whole(head, 2) is whole


def test_a_head_is_kept_with_its_own_meaning(
    plain: socket.socket, image: np.ndarray, parsed: list[object]
) -> None:
    """Not with that of the request behind it, which came in the same read."""
    body, headers = binary_request(image)
    unknown, good = (raw(body, headers, f"/v2/models/{name}/infer") for name in ("none", "random"))
    plain.sendall(unknown + good)
    assert [answer[0] for answer in read_answers(plain, 2)] == [404, 200]
    assert [exchange(plain, data)[0] for data in (unknown, good, unknown)] == [404, 200, 404]
    assert len(parsed) == 3


def test_a_known_head_within_another_is_none(plain: socket.socket, image: np.ndarray) -> None:
    data = raw(*binary_request(image))
    assert exchange(plain, data)[0] == 200
    plain.sendall(b"GET /v2/models/none HTTP/1.1\r\nX: ")
    time.sleep(0.05)
    plain.sendall(data)
    assert read_answers(plain, 1)[0][0] == 404


@pytest.mark.parametrize("seed", range(20))
def test_any_stream_is_answered_as_by_a_server_that_keeps_no_heads(
    make_live: MakeLive, image: np.ndarray, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of several kinds behind one another, in any pieces, then one with a wrong bit."""
    live = make_live(ListenerOptions(limits=Limits(header_seconds=0.3, body_seconds=0.3)))
    random = np.random.default_rng(seed)
    body, headers = binary_request(image)
    numbers = body.replace(b'"binary_data_output": true', b'"binary_data_output":false')
    kinds = [
        raw(body, headers),
        raw(numbers, headers),
        raw(body, headers, "/v2/models/none/infer"),
        raw(b"{}", {"inference-header-content-length": "2"}),
        raw(b"no picture", {}, "/v1/random/depth"),
        b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    chosen = [kinds[kind] for kind in random.integers(0, len(kinds), 12)]
    stream = b"".join(chosen)
    cuts = sorted(random.integers(1, len(stream), random.integers(1, 12)).tolist())
    pieces = [stream[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(stream)])]
    wrong = bytearray(kinds[0])
    wrong[random.integers(wrong.index(b"inputs"))] ^= 1 << random.integers(8)
    with opened(live) as plain:
        for kind in kinds[:4]:
            exchange(plain, kind)
    known = answers_to(live, pieces, len(chosen), wrong)
    monkeypatch.setattr("gearshift.server.connections.LONGEST_HEAD", 0)
    assert known == answers_to(live, pieces, len(chosen), wrong)
    wait_until(lambda: live.held() == 0)


def answers_to(live: Any, pieces: list[bytes], number: int, last: bytes) -> list[Any]:
    """To so many requests in pieces, and, once these are answered, to a last one."""
    with opened(live) as plain:
        for piece in pieces:
            plain.sendall(piece)
            time.sleep(0.002)
        answers = read_answers(plain, number)
        plain.sendall(last)
        return [without_times(answer) for answer in [*answers, *read_answers(plain, 1)]]


def test_only_the_newest_heads_are_kept(
    live: Any, image: np.ndarray, known: list[bytes], parsed: list[object]
) -> None:
    def data(number: int) -> bytes:
        body, headers = binary_request(image)
        return raw(body, {**headers, "x-request-id": f"request-{number}"})

    with opened(live) as plain:
        assert exchange(plain, data(-1))[0] == 200
        for number in range(MOST_KNOWN + 5):
            assert exchange(plain, data(number))[0] == 200
            assert exchange(plain, data(-1))[0] == 200
        assert len(parsed) == MOST_KNOWN + 6
        assert len(known) == MOST_KNOWN
        assert b"request--1\r" in b"".join(known)
        assert b"request-5\r" not in b"".join(known)
        plain.sendall(raw(*with_long_header(image)))
        assert read_answers(plain, 1)[0][0] == 200
    assert max(len(head) for head in known) < 500


def with_long_header(image: np.ndarray) -> tuple[bytes, dict[str, str]]:
    body, headers = binary_request(image)
    return body, {**headers, "x-long": 5000 * "x"}


def test_keys_are_not_kept(
    make_live: MakeLive, image: np.ndarray, known: list[bytes], parsed: list[object]
) -> None:
    live = make_live(ListenerOptions(keys=ApiKeys(frozenset({KEY}))))
    body, headers = binary_request(image)
    data = raw(body, {**headers, "authorization": f"Bearer {KEY}"})
    with opened(live) as plain:
        for _ in range(2):
            assert exchange(plain, data)[0] == 200
        assert exchange(plain, raw(body, headers))[0] == 401
    assert (known, len(parsed)) == ([], 3)


def test_a_known_body_that_does_not_come_is_waited_for_only_so_long(
    make_live: MakeLive, image: np.ndarray
) -> None:
    live = make_live(ListenerOptions(limits=Limits(body_seconds=0.2)))
    data = raw(*binary_request(image))
    with opened(live) as plain:
        assert exchange(plain, data)[0] == 200
        plain.sendall(data[:-1])
        ((status, _, body),) = read_answers(plain, 1)
        assert (status, plain.recv(1)) == (504, b"")
        assert "did not arrive within 0.2 s" in json.loads(body)["error"]
    wait_until(lambda: live.held() == 0)


def test_a_client_that_leaves_amid_a_known_body_disturbs_nobody(
    live: Any, image: np.ndarray
) -> None:
    data = raw(*binary_request(image))
    with opened(live) as plain:
        assert exchange(plain, data)[0] == 200
        plain.sendall(data[:-1])
        wait_until(lambda: live.held() > 0.9 * image.nbytes)
    wait_until(lambda: live.held() == 0)
    with opened(live) as plain:
        assert exchange(plain, data)[0] == 200


def test_the_rest_of_a_refused_body_is_no_request(make_live: MakeLive, image: np.ndarray) -> None:
    """When all bodies together are too much, what still comes of this one is passed over."""
    live = make_live(ListenerOptions(limits=Limits(all_bodies_bytes=int(1.5 * image.nbytes))))
    data = raw(*binary_request(image))
    with opened(live) as first, opened(live) as second:
        assert exchange(second, data)[0] == 200
        first.sendall(data[:-1])
        wait_until(lambda: live.held() > 0.9 * image.nbytes)
        # The first piece is taken in, the second is too much, the third comes after the refusal.
        for begin, end in ((0, 1000), (1000, -1000), (-1000, len(data))):
            second.sendall(data[begin:end])
            time.sleep(0.05)
        assert read_answers(second, 1)[0][0] == 503
        first.sendall(data[-1:])
        assert read_answers(first, 1)[0][0] == 200
        assert exchange(second, data)[0] == 200
    wait_until(lambda: live.held() == 0)
