"""Messages between the JSON form that the service works with and the binary form of protobuf.

A table for each message, made once from its descriptor, does for all fields that this API has, in a fraction of the
time that `google.protobuf.json_format` takes. A message with any other kind of field is left to that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from prebuild_wire.scalars import parse_duration, parse_timestamp

_DURATION = "google.protobuf.Duration"
_TIMESTAMP = "google.protobuf.Timestamp"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = 1_000_000_000

_WIDE_INTEGERS = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
# Floats have values, and bytes and maps have forms, that differ between JSON and Python.
_PLAIN = (
    *_WIDE_INTEGERS,
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_ENUM,
    FieldDescriptor.CPPTYPE_STRING,
    FieldDescriptor.CPPTYPE_MESSAGE,
)

# How to turn a value; None where it serves as it is.
_Turn = Callable[[Any], Any] | None


def decode(kind: type[Message], data: bytes) -> dict[str, Any]:
    """The JSON form of a message in binary: the fields that are set, by their JSON names, with enums as numbers.

    Raises:
        ValueError: the data is no such message; the message says so.
    """
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise ValueError(f"the body is no {kind.DESCRIPTOR.full_name} in the binary form of protobuf") from None
    if _is_plain(descriptor_of(kind)):
        return _read(message)
    try:
        return json_format.MessageToDict(message)
    except (ValueError, json_format.Error) as error:
        raise ValueError(f"the body has a value that JSON cannot write: {error}") from None


def encode(kind: type[Message], fields: dict[str, Any]) -> bytes:
    """The binary form of a message in its JSON form. What the message has no field for is left out."""
    descriptor = descriptor_of(kind)
    if _is_plain(descriptor):
        return kind(**_arguments(descriptor, fields)).SerializeToString()
    return json_format.ParseDict(fields, kind(), ignore_unknown_fields=True).SerializeToString()


def descriptor_of(kind: type[Message]) -> Descriptor:
    """The descriptor of a message's class."""
    return cast("Descriptor", kind.DESCRIPTOR)  # the stubs name the type of one implementation as well


@functools.cache
def _is_plain(descriptor: Descriptor) -> bool:
    """Whether the tables do for a message and all that is in it."""
    name = descriptor.full_name
    if name.startswith("google.protobuf."):
        return name in (_DURATION, _TIMESTAMP)
    return not descriptor.GetOptions().map_entry and all(
        field.cpp_type in _PLAIN
        and field.type != FieldDescriptor.TYPE_BYTES
        and (field.message_type in (None, descriptor) or _is_plain(field.message_type))
        for field in descriptor.fields
    )


# -- From protobuf


def _read(message: Message) -> dict[str, Any]:
    readers = _readers(descriptor_of(type(message)))
    fields: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, read = readers[field.number]
        fields[name] = value if read is None else read(value)
    return fields


@functools.cache
def _readers(descriptor: Descriptor) -> dict[int, tuple[str, _Turn]]:
    """The JSON name of each field, by its number, and how to read its value."""
    return {
        field.number: (field.json_name, _of_list(field, _reader(field)) or _list(field)) for field in descriptor.fields
    }


def _reader(field: FieldDescriptor) -> _Turn:
    if field.message_type is None:
        return None
    return {_DURATION: _duration_text, _TIMESTAMP: _timestamp_text}.get(field.message_type.full_name, _read)


def _list(field: FieldDescriptor) -> _Turn:
    return list if field.default_value == [] else None  # protobuf has lists of a kind of its own


def _duration_text(duration: Any) -> str:
    total = cast("int", duration.seconds) * _NANOSECONDS + cast("int", duration.nanos)
    whole, fraction = divmod(abs(total), _NANOSECONDS)
    return f"{'-' if total < 0 else ''}{whole}" + (f".{fraction:09d}s" if fraction else "s")


def _timestamp_text(timestamp: Any) -> str:
    try:
        moment = _EPOCH + timedelta(seconds=cast("int", timestamp.seconds))
    except OverflowError:
        raise ValueError("the body has a timestamp that is not of the years 1 to 9999") from None
    return f"{moment.replace(tzinfo=None).isoformat()}.{cast('int', timestamp.nanos):09d}Z"


# -- To protobuf


def _arguments(descriptor: Descriptor, fields: dict[str, Any]) -> dict[str, Any]:
    """What to make an instance of the message's class with."""
    writers = _writers(descriptor)
    arguments: dict[str, Any] = {}
    for json_name, value in fields.items():
        writer = writers.get(json_name)
        if writer is not None:
            name, write = writer
            arguments[name] = value if write is None else write(value)
    return arguments


@functools.cache
def _writers(descriptor: Descriptor) -> dict[str, tuple[str, _Turn]]:
    """The protobuf name of each field, by its JSON name, and how to write its value."""
    return {field.json_name: (field.name, _of_list(field, _writer(field))) for field in descriptor.fields}


def _writer(field: FieldDescriptor) -> _Turn:
    if field.message_type is None:
        return int if field.cpp_type in _WIDE_INTEGERS else None
    known = {_DURATION: _duration_arguments, _TIMESTAMP: _timestamp_arguments}.get(field.message_type.full_name)
    return known or functools.partial(_arguments, field.message_type)


def _of_list(field: FieldDescriptor, turn: _Turn) -> _Turn:
    """The same for each item, where the field is a list."""
    if turn is None or field.default_value != []:
        return turn
    return lambda values: [turn(value) for value in values]


def _duration_arguments(text: str) -> dict[str, int]:
    total = int(parse_duration(text) * _NANOSECONDS)
    sign = -1 if total < 0 else 1
    seconds, nanos = divmod(abs(total), _NANOSECONDS)
    return {"seconds": sign * seconds, "nanos": sign * nanos}


def _timestamp_arguments(text: str) -> dict[str, int]:
    moment, nanos = parse_timestamp(text)
    return {"seconds": (moment - _EPOCH) // timedelta(seconds=1), "nanos": nanos}
