"""How requests and responses are written on the wire."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Protocol, cast

from google.protobuf.descriptor import Descriptor

from prebuild_wire import Operation
from prebuild_wire.descriptors import request_class, response_class

from . import binary

try:
    import orjson
except ImportError:  # there is none for this Python; the standard library writes the same
    orjson = None  # type: ignore[assignment, unused-ignore]  # types of a module where there is none


class Codec(Protocol):
    """One way to write messages. Between it and the service, a message has its JSON form."""

    name: str
    """What a GET request calls it in its parameter `encoding`."""

    content_type: str

    def decode(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """The request of `operation` in its JSON form, its fields not checked yet.

        Raises:
            ValueError: the body is malformed; the message says how.
        """
        ...

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """The body of the response of `operation`."""
        ...


class JsonCodec:
    """JSON as protobuf takes it: a single object in UTF-8, no key or field twice, no NaN, no lone surrogates."""

    name = "json"
    content_type = "application/json"

    def decode(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """The request in its JSON form.

        Raises:
            ValueError: the body is malformed; the message says how.
        """
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise ValueError("the body is not UTF-8") from None
        try:
            value = json.loads(
                text,
                object_pairs_hook=_object,
                parse_constant=_refuse_constant,
                parse_float=_finite_float,
                parse_int=_whole_number,
            )
        except json.JSONDecodeError as error:
            raise ValueError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        fields = cast("dict[str, Any]", value)
        if _SURROGATE.search(text):
            _check_surrogates(fields)
        if "_" in text:
            _check_names(binary.descriptor_of(request_class(operation.name)), fields)
        return fields

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """The body of the response."""
        if orjson is not None:
            return orjson.dumps(response)
        return json.dumps(response, ensure_ascii=False, separators=(",", ":")).encode()


class ProtoCodec:
    """The binary form of protobuf."""

    name = "proto"
    content_type = "application/proto"

    def decode(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """The request in its JSON form.

        Raises:
            ValueError: the body is malformed; the message says so.
        """
        return binary.decode(request_class(operation.name), body)

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """The body of the response."""
        return binary.encode(response_class(operation.name), response)


CODECS: Final[tuple[Codec, ...]] = (JsonCodec(), ProtoCodec())
"""All codecs."""

# More than any number of protobuf has; Python by itself would complain about its own settings.
_MOST_DIGITS = 1000

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("the body has an object with the same key twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the body is not JSON: {name} is no JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("the body has a number that is out of range")
    return number


def _whole_number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("the body has a number that is out of range")
    return int(text)


def _check_surrogates(value: dict[str, Any]) -> None:
    """Escaped surrogates make up a character in pairs only."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("the body has a string with a lone surrogate") from None


def _check_names(descriptor: Descriptor, fields: Mapping[str, Any]) -> None:
    """A field may go by its JSON name or by its protobuf name, but not by both at once."""
    for field in descriptor.fields:
        if field.json_name != field.name and field.json_name in fields and field.name in fields:
            raise ValueError(f"the body has the field {field.name} twice, as {field.json_name} as well")
        value = fields.get(field.json_name, fields.get(field.name))
        if field.message_type is not None and isinstance(value, dict):
            _check_names(field.message_type, cast("Mapping[str, Any]", value))
