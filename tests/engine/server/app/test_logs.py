"""Lines of the log: one an event, whatever clients send."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from gearshift.server.logs import MOST_CHARACTERS, Log, LoggingBridge, request_id

NASTY = 'a "quoted"\nline\r\x1b[31m and \u2028 more \x85 end'


def test_a_json_line_is_one_object_of_all_values() -> None:
    stream = io.StringIO()
    Log("json", stream).write("request", id="abc", status=200, ms=1.23456, nothing=None)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": "info", "event": "request", "id": "abc", "status": 200, "ms": 1.235}


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_value_begins_another_line(form: str) -> None:
    stream = io.StringIO()
    Log("json" if form == "json" else "text", stream).write("request", "warning", path=NASTY)
    text = stream.getvalue()
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_a_long_value_is_cut() -> None:
    stream = io.StringIO()
    Log("text", stream).write("request", path="x" * 10 * MOST_CHARACTERS)
    assert len(stream.getvalue()) < MOST_CHARACTERS + 100


def test_a_text_line_quotes_what_has_spaces() -> None:
    stream = io.StringIO()
    Log("text", stream).write("request", path="/v1/a b", empty="", plain="x")
    assert stream.getvalue().rstrip().endswith('info request path="/v1/a b" empty="" plain=x')


def test_a_fault_says_where_it_happened() -> None:
    stream = io.StringIO()
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError as error:
        Log("json", stream).unexpected("request", error, id="x")
    entry = json.loads(stream.getvalue())
    assert entry["error"] == "ZeroDivisionError('by nothing')"
    assert any("test_a_fault_says_where" in line for line in entry["where"])


def test_a_closed_stream_stops_nothing() -> None:
    stream = io.StringIO()
    log = Log("text", stream)
    stream.close()
    log.write("request")


def test_warnings_of_libraries_become_lines_and_infos_do_not() -> None:
    stream = io.StringIO()
    logger = logging.Logger("library")
    logger.addHandler(LoggingBridge(Log("json", stream)))
    logger.info("unheard")
    logger.warning("two\nlines")
    try:
        raise KeyError("k")
    except KeyError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["message"]) == ("library", "warning", "two?lines")
    assert second["error"] == "KeyError('k')"


@pytest.mark.parametrize("given", ["abc-1", "A" * 64, "trace/1:2=3_4.5"])
def test_a_plain_id_of_the_client_is_kept(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "a b", "A" * 65, "x\n", "é"])
def test_any_other_gets_a_new_one(given: str | None) -> None:
    first, second = request_id(given), request_id(given)
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert first != second != given
