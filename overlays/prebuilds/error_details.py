"""The details of Connect errors: messages in protobuf's binary form, of which a few are known here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from prebuild_api.models import ConnectErrorDetail


@define(frozen=True, kw_only=True)
class RetryInfo:
    """`google.rpc.RetryInfo`: when to ask again."""

    retry_delay: float
    """In seconds."""


@define(frozen=True, kw_only=True)
class FieldViolation:
    """The problem of one field of the request."""

    field: str
    """The path of the field by its protobuf names, `spec.timeout` for example; empty for the message as a whole."""
    description: str
    """The problem, in words for people."""
    rule: str = ""
    """The rule that was broken, `string.uuid` for example; empty if the server does not say."""

    def __str__(self) -> str:
        return ": ".join(text for text in (self.field, self.description or self.rule) if text)


@define(frozen=True, kw_only=True)
class BadRequest:
    """`google.rpc.BadRequest`: the fields that are wrong."""

    field_violations: list[FieldViolation]


@define(frozen=True, kw_only=True)
class Violations:
    """`buf.validate.Violations`: the rules of the schema that the request breaks."""

    violations: list[FieldViolation]


def decode_details(
    details: Sequence[ConnectErrorDetail],
) -> list[RetryInfo | BadRequest | Violations | ConnectErrorDetail]:
    """The details, with the known types decoded, and the unknown or unreadable details unchanged."""
    return [_decoded(detail) for detail in details]


def _decoded(detail: ConnectErrorDetail) -> RetryInfo | BadRequest | Violations | ConnectErrorDetail:
    decode = _DECODERS.get((detail.type or "").rpartition("/")[2])
    if decode is None:
        return detail
    try:
        value = (detail.value or "").rstrip("=")
        # A server may use either alphabet of base64.
        return decode(base64.b64decode(value + "=" * (-len(value) % 4), altchars=_altchars(value), validate=True))
    except (ValueError, RecursionError):
        return detail


def _altchars(value: str) -> bytes:
    return b"-_" if "-" in value or "_" in value else b"+/"


def _retry_info(message: bytes) -> RetryInfo:
    fields = _Fields(message)
    if not fields.has(1):
        raise ValueError("it does not say when")
    duration = _Fields(fields.last_bytes(1))
    seconds, nanos = duration.last_number(1), duration.last_number(2)
    if seconds >= 2**63 or nanos >= 10**9:
        raise ValueError("a negative or malformed duration")
    return RetryInfo(retry_delay=seconds + nanos / 1e9)


def _bad_request(message: bytes) -> BadRequest:
    violations = [_Fields(each) for each in _Fields(message).all_bytes(1)]
    return BadRequest(
        field_violations=[
            FieldViolation(field=each.text(1), description=each.text(2), rule=each.text(3)) for each in violations
        ]
    )


def _violations(message: bytes) -> Violations:
    return Violations(violations=[_violation(_Fields(each)) for each in _Fields(message).all_bytes(1)])


def _violation(fields: _Fields) -> FieldViolation:
    # Until version 0.10 of the rules, the path was written out in field 1; it is a message in field 5 since.
    path = "".join(_element(_Fields(each)) for each in _Fields(fields.last_bytes(5)).all_bytes(1)).lstrip(".")
    return FieldViolation(field=path or fields.text(1), description=fields.text(3), rule=fields.text(2))


def _element(fields: _Fields) -> str:
    """One step of the path of a field: its name, and the item's index in a list or its key in a map."""
    name = f".{fields.text(2)}"
    for number in (6, 8, 9):  # a position, or the key of a map
        if fields.has(number):
            value = fields.last_number(number)
            return f"{name}[{value - 2**64 if number == 8 and value >= 2**63 else value}]"
    if fields.has(7):
        return f"{name}[{'true' if fields.last_number(7) else 'false'}]"
    return f"{name}[{fields.text(10)!r}]" if fields.has(10) else name


_DECODERS: dict[str, Callable[[bytes], RetryInfo | BadRequest | Violations]] = {
    "google.rpc.RetryInfo": _retry_info,
    "google.rpc.BadRequest": _bad_request,
    "buf.validate.Violations": _violations,
}


class _Fields:
    """The fields of a protobuf message, which are few here: the client does without the protobuf library.

    Raises:
        ValueError: the message is truncated, or a field does not have the expected type.
    """

    def __init__(self, message: bytes) -> None:
        self._values: dict[int, list[int | bytes]] = {}
        for number, value in _read(message):
            self._values.setdefault(number, []).append(value)

    def has(self, number: int) -> bool:
        return number in self._values

    def all_bytes(self, number: int) -> list[bytes]:
        values = self._values.get(number, [])
        found = [value for value in values if isinstance(value, bytes)]
        if len(found) < len(values):
            raise ValueError(f"field {number} is a number")
        return found

    def last_bytes(self, number: int) -> bytes:
        return self.all_bytes(number)[-1] if self.has(number) else b""

    def last_number(self, number: int) -> int:
        value = self._values[number][-1] if self.has(number) else 0
        if isinstance(value, bytes):
            raise ValueError(f"field {number} is no number")
        return value

    def text(self, number: int) -> str:
        return self.last_bytes(number).decode()


def _read(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order: their numbers, and a number or the bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        number = shift = 0
        while True:
            if position >= len(message) or shift > 63:
                raise ValueError("the message breaks off")
            byte = message[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while position < len(message):
        key = varint()
        wire_type = key & 7
        if wire_type == 0:
            yield key >> 3, varint()
            continue
        sizes = {1: 8, 5: 4}
        size = varint() if wire_type == 2 else sizes.get(wire_type, -1)
        if size < 0 or position + size > len(message):
            raise ValueError("the message breaks off")
        yield key >> 3, message[position : position + size]
        position += size
