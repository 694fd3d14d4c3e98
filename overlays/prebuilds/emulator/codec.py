"""The wire formats of requests and responses.

Protobuf is imported by the first request that needs it: the import takes a tenth of the emulator's start time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, cast

from prebuild_wire import Operation

try:
    import orjson
except ImportError:  # not available for this Python; the standard library writes the same
    orjson = None  # type: ignore[assignment, unused-ignore]  # types of a module where there is none


if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor


class Codec(Protocol):
    """A wire format of messages. Between a codec and the service, a message has its JSON form."""

    name: str
    """The name of the codec in a GET request's parameter `encoding`."""

    content_type: str

    def decode(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """Decode the request of `operation` to its JSON form. The fields are not validated yet.

        Raises:
            ValueError: the body is malformed; the message gives the reason.
        """
        ...

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """Encode the body of the response of `operation`."""
        ...


class JsonCodec:
    """JSON as protobuf accepts it: one object in UTF-8, without duplicate keys or fields, NaN or lone surrogates."""

    name = "json"
    content_type = "application/json"

    def decode(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """Decode the request to its JSON form.

        Raises:
            ValueError: the body is malformed; the message gives the reason.
        """
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise ValueError("the body is not UTF-8") from None
        try:
            value = _DECODER.decode(text)
            if _SURROGATE.search(text):
                _check_surrogates(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        fields = cast("dict[str, Any]", value)
        if "_" in text:
            from . import binary

            _check_names(binary.descriptor_of(binary.request_class(operation.name)), fields)
        return fields

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """Encode the body of the response."""
        if orjson is not None:
            return orjson.dumps(response)
        return json.dumps(response, ensure_ascii=False, separators=(",", ":")).encode()


class ProtoCodec:
    """The binary format of protobuf."""

    name = "proto"
    content_type = "application/proto"

    def decode(self, operation: Operation, body: bytes) -> dict[str, Any]:
        """Decode the request to its JSON form.

        Raises:
            ValueError: the body is malformed; the message says so.
        """
        from . import binary

        return binary.decode(binary.request_class(operation.name), body)

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """Encode the body of the response."""
        from . import binary

        return binary.encode(binary.response_class(operation.name), response)


CODECS: Final[tuple[Codec, ...]] = (JsonCodec(), ProtoCodec())
"""All codecs."""

# More digits than any protobuf number has; Python's own error message would refer to its settings.
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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite_float, parse_int=_whole_number
)


def _check_surrogates(value: Any) -> None:
    """Reject escaped surrogates that are not in a pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("the body has a string with a lone surrogate") from None


def _check_names(descriptor: Descriptor, fields: Mapping[str, Any]) -> None:
    """Reject a field that is given by both its JSON name and its protobuf name."""
    for field in descriptor.fields:
        if field.json_name != field.name and field.json_name in fields and field.name in fields:
            raise ValueError(f"the body has the field {field.name} twice, as {field.json_name} as well")
        value = fields.get(field.json_name, fields.get(field.name))
        if field.message_type is not None and isinstance(value, dict):
            _check_names(field.message_type, cast("Mapping[str, Any]", value))
