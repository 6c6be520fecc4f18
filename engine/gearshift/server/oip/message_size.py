"""How much a gRPC message would become, looked at before it is parsed.

A field of two bytes may become an object of a hundred, and the parser holds the event loop for as
long as it runs: a message of 64 MB made of empty inputs would take seconds and gigabytes. So the
fields are counted first, by the rules of the encoding
(https://protobuf.dev/programming-guides/encoding), which steps over bytes and strings.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from gearshift.server.errors import TooLarge

MOST_FIELDS = 10_000
"""Of one message and all inside it; an honest request has a dozen."""
MOST_PACKED_BYTES = 2**22
"""Of whole numbers that stand in one field, and of which each takes a byte or more."""

VARINT, FIXED64, DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)
"""Wire types, the three low bits of a tag."""
FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
"""Are copied as they stand, at no cost worth counting."""


def check_message(data: bytes, kind: Descriptor) -> None:
    """Whether a message of this kind can be parsed in little time and memory.

    Raises:
        TooLarge: it has too many fields or numbers.
        DecodeError: it is no such message.
    """
    try:
        _Count().add(memoryview(data), kind)
    except IndexError:
        raise DecodeError("cut off") from None


class _Count:
    """Of one message, with all those inside it."""

    def __init__(self) -> None:
        self._fields = 0
        self._packed_bytes = 0

    def add(self, data: memoryview, kind: Descriptor) -> None:
        at, end = 0, len(data)
        while at < end:
            tag, at = _varint(data, at)
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise TooLarge(
                    f"the message has over {MOST_FIELDS:,} fields: send tensors as "
                    "raw_input_contents"
                )
            wire_type = tag & 7
            if wire_type == VARINT:
                _, at = _varint(data, at)
            elif wire_type == DELIMITED:
                size, begin = _varint(data, at)
                at = begin + size
                if at > end:
                    raise DecodeError("cut off")
                self._delimited(data[begin:at], kind.fields_by_number.get(tag >> 3))
            elif wire_type in (FIXED64, FIXED32):
                at += 8 if wire_type == FIXED64 else 4
            elif wire_type not in (START_GROUP, END_GROUP):
                raise DecodeError(f"wire type {wire_type}")

    def _delimited(self, data: memoryview, field: FieldDescriptor | None) -> None:
        """A message, bytes, a string or packed numbers; nothing is made of an unknown field."""
        if field is None or field.type in (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING):
            return
        if field.message_type is not None:
            self.add(data, field.message_type)
        elif field.cpp_type not in FLOATS:
            self._packed_bytes += len(data)
            if self._packed_bytes > MOST_PACKED_BYTES:
                raise TooLarge(
                    f"the message has over {MOST_PACKED_BYTES:,} bytes of packed whole numbers: "
                    "send tensors as raw_input_contents"
                )


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise DecodeError("a number of over ten bytes")
