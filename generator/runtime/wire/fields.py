"""The types of single fields: what protobuf JSON accepts for each, checked by pydantic.

A value keeps the form that it has in JSON: 64 bit integers, timestamps and durations stay strings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, StrictBool
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from generator.runtime import scalars

__all__ = [
    "Bool",
    "Bytes",
    "Double",
    "Duration",
    "Float",
    "FormattedInteger",
    "FormattedString",
    "Int32",
    "Int64",
    "Integer",
    "Json",
    "Number",
    "Timestamp",
    "Uint32",
    "Uint64",
    "Uri",
    "Uuid",
    "WideInteger",
]

_JSON_NUMBER = core_schema.union_schema([core_schema.float_schema(), core_schema.str_schema()])


@dataclass(frozen=True, slots=True)
class Integer:
    """Marks an `int` of a range, that may also come as `5.0` or `"5"`, but never as a boolean."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def convert(value: object) -> int:
            number: int = _checked("integer", scalars.parse_integer, value, self.low, self.high)
            return number

        # What comes as an integer of JSON, nearly everything, never leaves pydantic's core.
        return core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=self.low, le=self.high),
                core_schema.no_info_plain_validator_function(convert, json_schema_input_schema=_JSON_NUMBER),
            ],
            mode="left_to_right",
            custom_error_type="integer",
            custom_error_message="value must be a whole number from {low} to {high}",
            custom_error_context={"low": str(self.low), "high": str(self.high)},
        )


@dataclass(frozen=True, slots=True)
class WideInteger:
    """Marks a `str` that holds a 64 bit integer in decimal digits; a number becomes such a string."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def convert(value: object) -> str:
            return str(_checked("integer", scalars.parse_integer, value, self.low, self.high))

        # Eighteen digits fit into either range, so that such a string needs no arithmetic.
        return core_schema.union_schema(
            [
                core_schema.str_schema(strict=True, pattern="^(?:0|[1-9][0-9]{0,17})$"),
                core_schema.no_info_plain_validator_function(convert, json_schema_input_schema=_JSON_NUMBER),
            ],
            mode="left_to_right",
            custom_error_type="integer",
            custom_error_message="value must be a whole number from {low} to {high}",
            custom_error_context={"low": str(self.low), "high": str(self.high)},
        )


@dataclass(frozen=True, slots=True)
class FormattedInteger:
    """Marks a `str` that holds a 64 bit integer of `format`; a number becomes such a string."""

    format: scalars.Format

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def convert(value: object) -> str:
            return str(_checked("integer", self.format.parse, value))

        return core_schema.no_info_plain_validator_function(convert, json_schema_input_schema=_JSON_NUMBER)


@dataclass(frozen=True, slots=True)
class Number:
    """Marks a `float` of a range, that may also come as a string."""

    limit: float

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def convert(value: object) -> float:
            number: float = _checked("number", scalars.parse_number, value, self.limit)
            return number

        return core_schema.no_info_plain_validator_function(convert, json_schema_input_schema=_JSON_NUMBER)


@dataclass(frozen=True, slots=True)
class FormattedString:
    """Marks a `str` that has to be of `format`. It is kept as it came."""

    format: scalars.Format

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        base = self.format.base

        def check(value: str) -> str:
            _checked(base, self.format.parse, value)
            return value

        text = core_schema.str_schema(strict=True)
        return core_schema.no_info_after_validator_function(check, text)


class _Uuid:
    """Marks a `str` that has to be a UUID. A pattern does for it, which costs least."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            core_schema.str_schema(strict=True, pattern=f"^{scalars.UUID_PATTERN}$"),
            custom_error_type="uuid",
            custom_error_message="value must be a valid UUID",
        )


def _check_json(value: Any) -> Any:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise PydanticCustomError("json", "value must be a value of JSON") from error
    return value


Json = Annotated[Any, AfterValidator(_check_json)]
Bool = StrictBool
Int32 = Annotated[int, Integer(*scalars.INT32_RANGE)]
Uint32 = Annotated[int, Integer(*scalars.UINT32_RANGE)]
Int64 = Annotated[str, WideInteger(*scalars.INT64_RANGE)]
Uint64 = Annotated[str, WideInteger(*scalars.UINT64_RANGE)]
Float = Annotated[float, Number(scalars.FLOAT32_LIMIT)]
Double = Annotated[float, Number(float("inf"))]
Timestamp = Annotated[str, FormattedString(scalars.Format("date-time"))]
Duration = Annotated[str, FormattedString(scalars.Format("protobuf-duration"))]
Uuid = Annotated[str, _Uuid()]
Uri = Annotated[str, FormattedString(scalars.Format("uri"))]
Bytes = Annotated[str, FormattedString(scalars.Format("byte"))]


def _checked(kind: Any, parse: Any, *arguments: object) -> Any:
    try:
        return parse(*arguments)
    except ValueError as error:
        # No template: a message may quote what somebody sent, braces included.
        raise PydanticCustomError(kind, "{reason}", {"reason": str(error)}) from error
