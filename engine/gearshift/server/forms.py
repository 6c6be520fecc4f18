"""The picture of an HTML form, as `curl -F image=@photo.jpg` sends it (RFC 7578)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gearshift.server.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "image"
"""The form field that holds the picture."""
MOST_PARTS = 16
"""Of one form."""


def is_form(content_type: str) -> bool:
    """Whether a Content-Type announces such a form; of any other, the body is the picture."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def form_file(body: bytes, content_type: str) -> bytes:
    """The bytes of the form's field `image`, or of its only part, whatever that is called.

    Raises:
        InvalidRequest: no such form, no such field, or one that is cut off.
        TooLarge: more parts than the limit.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequest("the form's Content-Type names no boundary")
    form = _Form()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest(f"the form is damaged: {error}") from None
    if not form.is_whole:
        raise InvalidRequest("the form is cut off, or does not keep to its boundary")
    named = [content for name, content in form.parts if name == FIELD]
    if len(named) == 1:
        return named[0]
    if len(form.parts) == 1:
        return form.parts[0][1]
    raise InvalidRequest(
        f"the form has {len(named)} fields {FIELD!r}, of {len(form.parts)} in all: send the "
        f"picture as the field {FIELD}, once"
    )


class _Form:
    """Parts as the parser meets them; whatever it is called with is its own piece of the body."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, bytes]] = []
        """Name and content."""
        self.is_whole = False
        """The closing delimiter was met."""
        self._pieces: list[bytes] = []
        self._field = self._value = b""
        self._name: bytes | None = None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_part_data": self.on_part_data,
            "on_part_end": self.on_part_end,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        if len(self.parts) == MOST_PARTS:
            raise TooLarge(f"the form has over {MOST_PARTS} parts: send the picture alone")
        self._pieces, self._name = [], None

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name")
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        if self._name is None:
            raise InvalidRequest("a part of the form has no name")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def on_part_end(self) -> None:
        assert self._name is not None
        self.parts.append((self._name.decode("utf-8", "replace"), b"".join(self._pieces)))

    def on_end(self) -> None:
        self.is_whole = True
