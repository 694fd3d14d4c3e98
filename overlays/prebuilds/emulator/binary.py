"""Conversion of messages between the service's JSON form and the binary format of protobuf.

A table for each message, created once from its descriptor, handles all fields of this API, in a fraction of the time
of `google.protobuf.json_format`. Messages with any other type of field are left to that module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from prebuild_wire.descriptors import request_class, response_class
from prebuild_wire.scalars import parse_duration, parse_timestamp

__all__ = ["decode", "descriptor_of", "encode", "request_class", "response_class"]

_DURATION = "google.protobuf.Duration"
_TIMESTAMP = "google.protobuf.Timestamp"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS_END = len("2030-01-01T00:00:00.000000Z")
_NANOSECONDS = 1_000_000_000

_WIDE_INTEGERS = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
# Floats, bytes and maps are missing, because their values or forms differ between JSON and Python.
_PLAIN = (
    *_WIDE_INTEGERS,
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_ENUM,
    FieldDescriptor.CPPTYPE_STRING,
    FieldDescriptor.CPPTYPE_MESSAGE,
)

# The conversion of a value; None for a value that needs no conversion.
_Turn = Callable[[Any], Any] | None


def decode(kind: type[Message], data: bytes) -> dict[str, Any]:
    """Decode a binary message to its JSON form: the fields that are set, by JSON name, with enums as numbers.

    Raises:
        ValueError: the data is not such a message; the message says so.
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
    """Encode a message in its JSON form to binary. Fields that the message does not have are left out."""
    descriptor = descriptor_of(kind)
    if _is_plain(descriptor):
        return kind(**_arguments(descriptor, fields)).SerializeToString()
    return json_format.ParseDict(fields, kind(), ignore_unknown_fields=True).SerializeToString()


def descriptor_of(kind: type[Message]) -> Descriptor:
    """Return the descriptor of a message class."""
    return cast("Descriptor", kind.DESCRIPTOR)  # the stubs name the type of one implementation as well


@functools.cache
def _is_plain(descriptor: Descriptor) -> bool:
    """Return whether the tables can handle a message and all messages in it."""
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
    """Return the JSON name and the conversion of each field, by field number."""
    return {
        field.number: (field.json_name, _of_list(field, _reader(field)) or _list(field)) for field in descriptor.fields
    }


def _reader(field: FieldDescriptor) -> _Turn:
    if field.message_type is None:
        return None
    return {_DURATION: _duration_text, _TIMESTAMP: _timestamp_text}.get(field.message_type.full_name, _read)


def _list(field: FieldDescriptor) -> _Turn:
    return list if field.default_value == [] else None  # protobuf has its own list type


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
    """Return the arguments for creating an instance of the message class."""
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
    """Return the protobuf name and the conversion of each field, by JSON name."""
    return {field.json_name: (field.name, _of_list(field, _writer(field))) for field in descriptor.fields}


def _writer(field: FieldDescriptor) -> _Turn:
    if field.message_type is None:
        return int if field.cpp_type in _WIDE_INTEGERS else None
    known: dict[str, _Turn] = {_DURATION: _duration_arguments, _TIMESTAMP: _timestamp_arguments}
    return known.get(field.message_type.full_name) or functools.partial(_arguments, field.message_type)


def _of_list(field: FieldDescriptor, turn: _Turn) -> _Turn:
    """Return the conversion for each item if the field is a list."""
    if turn is None or field.default_value != []:
        return turn
    return lambda values: [turn(value) for value in values]


@functools.lru_cache(maxsize=1024)  # hardly any two differ
def _duration_arguments(text: str) -> dict[str, int]:
    total = int(parse_duration(text) * _NANOSECONDS)
    sign = -1 if total < 0 else 1
    seconds, nanos = divmod(abs(total), _NANOSECONDS)
    return {"seconds": sign * seconds, "nanos": sign * nanos}


def _timestamp_arguments(text: str) -> dict[str, int]:
    if len(text) <= _MICROSECONDS_END:  # datetime has no smaller unit, and reads these far faster
        since = datetime.fromisoformat(text) - _EPOCH
        return {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1000}
    moment, nanos = parse_timestamp(text)
    return {"seconds": (moment - _EPOCH) // timedelta(seconds=1), "nanos": nanos}
