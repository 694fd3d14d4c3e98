"""What all enums have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["CodeEnum", "ProtobufEnum"]


class ProtobufEnum(StrEnum):
    """An enum of protobuf. Its members are their JSON names; on input the number does as well."""

    _value_: str
    number: int

    def __new__(cls, value: str, number: int) -> Self:
        """A member, from its JSON name and its protobuf number."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.number = number
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return next((member for member in cls if member.number == value), None)
        return None


class CodeEnum(StrEnum):
    """An enum of codes, each with the HTTP status that it goes with."""

    _value_: str
    http_status: int

    def __new__(cls, value: str, http_status: int) -> Self:
        """A member, from its code and its HTTP status."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.http_status = http_status
        return member
