"""What all messages have in common: the rules of protobuf JSON that go beyond a single field."""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
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
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from generator.runtime.scalars import is_zero_number

from .enum_types import ProtobufEnum
from .fields import FormattedInteger, WideInteger

__all__ = ["Message", "OrderedMessage"]


class Message(BaseModel):
    """A message, made of its JSON form by `model_validate` and turned back into it by `to_json`.

    Fields are taken by their JSON name or their Python name; unknown ones are ignored, and null means absent. A field
    that is absent is None. `model_validate` raises a `pydantic.ValidationError` with every violation at once; a
    required field that is missing, null or zero is an error of the type `required`.

    A field says in its `json_schema_extra` what else holds for it: with `x-presence: explicit`, zero is a value of its
    own; with `x-ignore-zero`, zero is the same as absent.
    """

    # A minimum of no characters lets everything through but lone surrogates, which no protobuf string can hold.
    # To build a validator takes a millisecond, and a program uses few of them: it is done on the first use.
    model_config = ConfigDict(
        populate_by_name=True, extra="ignore", str_min_length=0, defer_build=True, protected_namespaces=()
    )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The message that `obj`, a JSON object as Python data, stands for.

        Raises:
            pydantic.ValidationError: with every violation, each at the names by which `obj` leads to it.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            if not any(item["type"] == "missing" for item in errors):
                raise
        # To a field that is missing the core applies no rule of ours, so that it words this one itself.
        details = [_detail(item) for item in errors]
        raise ValidationError.from_exception_data(cls.__name__, details)

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
            if rule is not None and not _is_ruled(inner):
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
            disorder = _disorder(cls, _in_order(value, errors))
            if not disorder:
                raise
            raise ValidationError.from_exception_data(
                cls.__name__, [*(_detail(item) for item in errors), *disorder]
            ) from None
        if disorder := _disorder(cls, vars(message)):
            raise ValidationError.from_exception_data(cls.__name__, disorder)
        return message


class _NoZero:
    """Stands for the zero value of a field that has explicit presence."""

    __slots__: ClassVar[tuple[str, ...]] = ()


_NO_ZERO = _NoZero()

_REQUIRED = PydanticCustomError("required", "value is required")


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
    if origin is list:
        return []
    if origin is dict:
        return {}
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


def _zero_rule(info: FieldInfo) -> Callable[[Any], Any] | None:
    """What to ask of a value before the field's own checks. None for most fields."""
    extra = _extra(info)
    if info.is_required():
        zero = _implicit_zero(info)

        def refuse_zero(value: Any) -> Any:
            if value is None or _is_zero(value, zero):
                raise _REQUIRED
            return value

        return refuse_zero
    if extra.get("x-ignore-zero"):
        nothing = _zero(info)

        def ignore_zero(value: Any) -> Any:
            return None if _is_zero(value, nothing) else value

        return ignore_zero
    return None


_MARK = "zero-rule"


def _ruled(rule: Callable[[Any], Any], schema: CoreSchema) -> CoreSchema:
    """`schema` with `rule` in front of it, inside of the default where there is one."""
    if schema["type"] == "default":
        return {**schema, "schema": _ruled(rule, schema["schema"])}
    return core_schema.no_info_before_validator_function(rule, schema, metadata={_MARK: True})


def _is_ruled(schema: CoreSchema) -> bool:
    if schema["type"] == "default":
        schema = schema["schema"]
    return _MARK in schema.get("metadata", {})


def _detail(item: ErrorDetails) -> InitErrorDetails:
    """An error as it was reported, to be reported again in company of others."""
    if item["type"] == "missing":
        return InitErrorDetails(type=_REQUIRED, loc=item["loc"], input=item["input"])
    kind: Any = item["type"]  # pydantic asks for a literal
    error = PydanticCustomError(kind, "{reason}", {**item.get("ctx", {}), "reason": item["msg"]})
    return InitErrorDetails(type=error, loc=item["loc"], input=item["input"])


def _extra(info: FieldInfo) -> dict[str, Any]:
    # A function is possible too, but none of ours.
    return cast("dict[str, Any]", info.json_schema_extra or {})


def _in_order(value: Any, errors: list[ErrorDetails]) -> Mapping[Any, Any]:
    """The fields of a message that errors were reported for, without those that the errors are about."""
    if not isinstance(value, dict):
        return {}
    fields = cast("Mapping[Any, Any]", value)
    broken = {item["loc"][0] for item in errors if item["loc"]}
    return {name: field for name, field in fields.items() if name not in broken}


def _disorder(message: type[OrderedMessage], values: Mapping[Any, Any]) -> list[InitErrorDetails]:
    """What is wrong with the pairs of a message; `values` go by their Python or JSON names."""
    fields = {info.alias or name: (name, info) for name, info in message.model_fields.items()}
    extra = cast("dict[str, Any]", message.model_config.get("json_schema_extra") or {})
    found: list[InitErrorDetails] = []
    for low, high in extra["x-ordered"]:
        smaller, larger = (_given(values, json_name, *fields[json_name]) for json_name in (low, high))
        if smaller is None or larger is None or _number(smaller) <= _number(larger):
            continue
        reason = PydanticCustomError(
            "ordered", "value must be at most that of {other}, {limit}", {"other": high, "limit": larger}
        )
        found.append(InitErrorDetails(type=reason, loc=(low,), input=smaller))
    return found


def _given(values: Mapping[Any, Any], json_name: str, name: str, info: FieldInfo) -> Any:
    """The value of a field, None where it is absent or as good as absent."""
    value = values.get(json_name, values.get(name))
    nothing = _zero(info) if _extra(info).get("x-ignore-zero") else _implicit_zero(info)
    return None if _is_zero(value, nothing) else value


def _number(value: Any) -> int | float:
    """A number that was found valid, exactly: a float would round 64 bit integers."""
    if isinstance(value, str):
        return int(value) if value.lstrip("-").isdigit() else float(value)
    return cast("int | float", value)


def _to_json(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [_to_json(item) for item in cast("Iterable[Any]", value)]
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
