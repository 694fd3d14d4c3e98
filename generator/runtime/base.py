"""What all messages and enums have in common: the rules of protobuf JSON that go beyond a single field."""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from .fields import FormattedInteger, WideInteger
from .scalars import is_zero_number

__all__ = ["CodeEnum", "Message", "OrderedMessage", "ProtobufEnum"]


class ProtobufEnum(StrEnum):
    """An enum of protobuf. Its members are their JSON names; on input the number does as well."""

    _value_: str
    number: int

    def __new__(cls, value: str, number: int) -> Self:
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
        member = str.__new__(cls, value)
        member._value_ = value
        member.http_status = http_status
        return member


class Message(BaseModel):
    """A message, made of its JSON form by `model_validate` and turned back into it by `to_json`.

    Fields are taken by their JSON name or their Python name; unknown ones are ignored, and null means absent. A field
    that is absent is None. `model_validate` raises a `pydantic.ValidationError` with every violation at once; a
    required field that is missing, null or zero is an error of the type `required`.

    A field says in its `json_schema_extra` what else holds for it: with `x-presence: explicit`, zero is a value of its
    own; with `x-ignore-zero`, zero is the same as absent.
    """

    # A minimum of no characters lets everything through but lone surrogates, which no protobuf string can hold.
    model_config = ConfigDict(populate_by_name=True, extra="ignore", str_min_length=0)

    def to_json(self) -> dict[str, Any]:
        """The message as protobuf JSON has it: absent fields and implicit zeros are left out."""
        result: dict[str, Any] = {}
        for name, json_name, zero in _json_fields(type(self)):
            value = getattr(self, name)
            if value is not None and (zero is _NO_ZERO or value != zero):
                result[json_name] = _to_json(value)
        return result

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /) -> CoreSchema:
        schema = handler(source)
        try:
            model: Any = handler.resolve_ref_schema(schema)
        except LookupError:
            return schema  # within itself: the outer call sees to the fields
        while model["type"] != "model-fields":
            model = model["schema"]
        for name, field in cast("core_schema.ModelFieldsSchema", model)["fields"].items():
            rule = _zero_rule(cls.model_fields[name])
            inner = field["schema"]
            if rule is not None and not _is_marked(inner):
                field["schema"] = _ruled(rule, inner)
        return schema


class OrderedMessage(Message):
    """A message with pairs of fields whose first is at most the second, where both are given.

    The pairs stand in its configuration, as `x-ordered` of `json_schema_extra`, by their JSON names. A violation is
    an error of the type `ordered` at the first field of the pair.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _check_order(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            message = handler(value)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            broken = {item["loc"][0] for item in errors if item["loc"]}
            disorder = cls._disorder(lambda names: None if broken & {*names} else _given(value, names))
            if not disorder:
                raise
            details = [
                InitErrorDetails(
                    type=PydanticCustomError(item["type"], "{reason}", {"reason": item["msg"]}),
                    loc=item["loc"],
                    input=item["input"],
                )
                for item in errors
            ]
        else:
            disorder = cls._disorder(lambda names: getattr(message, names[0]))
            if not disorder:
                return message
            details = []
        raise ValidationError.from_exception_data(cls.__name__, details + disorder)

    @classmethod
    def _disorder(cls, look_up: Callable[[tuple[str, str]], Any]) -> list[InitErrorDetails]:
        """What is wrong with the pairs; `look_up` finds a value by the field's Python and JSON name."""
        found: list[InitErrorDetails] = []
        for low, high in _pairs(cls):
            smaller, larger = look_up(low), look_up(high)
            if smaller is not None and larger is not None and float(smaller) > float(larger):
                reason = PydanticCustomError(
                    "ordered",
                    "value must be at most {other}, which is {limit}",
                    {"other": high[1], "limit": larger},
                )
                found.append(InitErrorDetails(type=reason, loc=(low[1],), input=smaller))
        return found


class _NoZero:
    """Stands for the zero value of a field that has explicit presence."""

    __slots__: ClassVar[tuple[str, ...]] = ()


_NO_ZERO = _NoZero()


@functools.cache
def _json_fields(message: type[Message]) -> tuple[tuple[str, str, Any], ...]:
    """Python name, JSON name and implicit zero value of each field."""
    return tuple((name, info.alias or name, _implicit_zero(info)) for name, info in message.model_fields.items())


def _implicit_zero(info: FieldInfo) -> Any:
    """The value that the field leaves out of the JSON, `_NO_ZERO` where there is none."""
    if _extra(info).get("x-presence") == "explicit":
        return _NO_ZERO
    return _zero(info)


def _zero(info: FieldInfo) -> Any:
    """The zero value of the field's type; a message or any JSON value has none."""
    kind: Any = info.annotation
    marks: list[Any] = list(info.metadata)
    while True:
        origin = typing.get_origin(kind)
        if origin in (types.UnionType, typing.Union):
            kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
        elif origin is typing.Annotated:
            kind, *more = typing.get_args(kind)
            marks.extend(more)
        else:
            break
    if origin in (list, dict):
        return origin()
    if not isinstance(kind, type):
        return _NO_ZERO
    if issubclass(kind, ProtobufEnum):
        return next((member for member in kind if member.number == 0), _NO_ZERO)
    if any(isinstance(mark, (WideInteger, FormattedInteger)) for mark in marks):
        return "0"
    return kind() if kind in (str, int, float, bool) else _NO_ZERO


def _is_zero(value: object, zero: object) -> bool:
    """Whether `value`, as it stands in some JSON, means `zero`."""
    if isinstance(zero, ProtobufEnum):
        return value == zero.value or (is_zero_number(value) and not isinstance(value, str))
    if zero == "0" or type(zero) in (int, float):
        return is_zero_number(value)
    return type(value) is type(zero) and value == zero


# How a field's own rules about zero become part of pydantic's schema. `None` where it has none, which is the usual case.
def _zero_rule(info: FieldInfo) -> Callable[[Any], Any] | None:
    extra = _extra(info)
    if info.is_required():
        zero = _implicit_zero(info)

        def refuse_zero(value: Any) -> Any:
            if value is None or _is_zero(value, zero):
                raise PydanticCustomError("required", "value is required")
            return value

        return refuse_zero
    if extra.get("x-ignore-zero"):
        nothing = _zero(info)

        def ignore_zero(value: Any) -> Any:
            return None if _is_zero(value, nothing) else value

        return ignore_zero
    return None


_MARK = "prebuild-zero-rule"


def _ruled(rule: Callable[[Any], Any], schema: CoreSchema) -> CoreSchema:
    """`schema` with `rule` in front of it. A field without a default gets None, for the rule to refuse."""
    required = schema["type"] != "default"
    inner = schema if required else cast("core_schema.WithDefaultSchema", schema)["schema"]
    return core_schema.with_default_schema(
        core_schema.no_info_before_validator_function(rule, inner),
        default=None,
        validate_default=required,
        metadata={_MARK: True},
    )


def _is_marked(schema: CoreSchema) -> bool:
    return _MARK in cast("dict[str, Any]", schema.get("metadata") or {})


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


@functools.cache
def _pairs(message: type[Message]) -> tuple[tuple[tuple[str, str], tuple[str, str]], ...]:
    """The ordered pairs of a message, each field as its Python name and its JSON name."""
    names = {json_name: (name, json_name) for name, json_name, _ in _json_fields(message)}
    extra = cast("dict[str, Any]", message.model_config.get("json_schema_extra") or {})
    return tuple((names[low], names[high]) for low, high in extra["x-ordered"])


def _given(value: Any, names: tuple[str, str]) -> Any:
    """The value of a field that is in order, in a message that is not."""
    fields = cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
    return fields.get(names[1], fields.get(names[0]))


def _to_json(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [_to_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
