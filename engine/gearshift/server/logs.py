"""Logs: one line an event on stderr, for people (`text`) or programs (`json`).

A line has the request's id, what was asked, how it ended and how long it took; never a body, a key
or a header's value, and no control character that could fake another line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from random import getrandbits
from typing import Any, Literal, TextIO

LogFormat = Literal["json", "text"]

MOST_CHARACTERS = 300
"""Of one value in a line: what a client sends must not fill the disk."""

_ID = re.compile(r"[A-Za-z0-9._:/=-]{1,64}")
_TO_QUOTE = re.compile(r'[\s"]')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def request_id(given: str | None) -> str:
    """The client's own id if it is short and plain, else a new one."""
    return given if given is not None and _ID.fullmatch(given) else f"{getrandbits(64):016x}"


class Log:
    """Writes events to `stream`."""

    def __init__(self, form: LogFormat = "text", stream: TextIO | None = None) -> None:
        self._form = form
        self._stream = stream or sys.stderr

    def write(self, event: str, level: str = "info", **values: Any) -> None:
        """One line; values that are None are left out."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e3):03}Z"
        kept = {name: _short(value) for name, value in values.items() if value is not None}
        if self._form == "json":
            line = json.dumps({"time": stamp, "level": level, "event": event, **kept})
        else:
            words = " ".join(f"{name}={_word(value)}" for name, value in kept.items())
            line = f"{stamp} {level} {event} {words}".rstrip()
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads the log any more: that is no reason to stop serving.
            pass

    def unexpected(self, event: str, error: BaseException, **values: Any) -> None:
        """A fault of ours, with where it happened."""
        where = "".join(traceback.format_exception(error))
        self.write(event, "error", **values, error=repr(error), where=where[-4000:].splitlines())


class LoggingBridge(logging.Handler):
    """What libraries log (uvicorn, grpc), warnings and above, as lines of ours."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._log.unexpected(record.name, error, message=record.getMessage())
        else:
            self._log.write(record.name, record.levelname.lower(), message=record.getMessage())


def _short(value: Any) -> Any:
    if isinstance(value, str):
        plain = _CONTROL.sub("?", value)
        return plain if len(plain) <= MOST_CHARACTERS else plain[:MOST_CHARACTERS] + "..."
    if isinstance(value, float):
        return round(value, 3)
    return value


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "".join(f"\n    {line}" for line in value)
    text = str(value)
    return json.dumps(text) if not text or _TO_QUOTE.search(text) else text
