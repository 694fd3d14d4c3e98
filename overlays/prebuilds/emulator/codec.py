"""How requests and responses are written on the wire."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn, Protocol, cast

from prebuild_wire import Operation


class Codec(Protocol):
    """One way to write messages. Between it and the service, a message has its JSON form."""

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
    """JSON as protobuf takes it: a single object in UTF-8, no key twice, no NaN, no lone surrogates."""

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
                text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite_float
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
        return fields

    def encode(self, operation: Operation, response: dict[str, Any]) -> bytes:
        """The body of the response."""
        return json.dumps(response, separators=(",", ":")).encode()


CODECS: Final[dict[str, Codec]] = {codec.content_type: codec for codec in (JsonCodec(),)}
"""Each codec by its content type."""

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


def _check_surrogates(value: dict[str, Any]) -> None:
    """Escaped surrogates make up a character in pairs only."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("the body has a string with a lone surrogate") from None
