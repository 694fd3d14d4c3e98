"""Violations of protobuf's validation rules, derived from the errors of a request's pydantic model.

The rule ids and the rule paths are those of `buf.validate`, as the service's descriptor specifies them.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from annotated_types import Ge, Le
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from prebuild_wire import Message, Operation
from prebuild_wire.fields import FormattedString
from prebuild_wire.scalars import PARSERS

from . import details
from .binary import descriptor_of, request_class
from .details import PathElement, Violation
from .errors import ConnectCode, ConnectError

MOST: Final = 100
"""The maximum number of reported violations of a request."""

# The maximum number of items that are checked in a list that is too long.
_MOST_ITEMS = 1000

_BOOL = FieldDescriptor.TYPE_BOOL
_MESSAGE = FieldDescriptor.TYPE_MESSAGE

_REQUIRED = (PathElement(25, "required", _BOOL),)
_UUID = (PathElement(14, "string", _MESSAGE), PathElement(22, "uuid", _BOOL))
_DEFINED_ONLY = (PathElement(16, "enum", _MESSAGE), PathElement(2, "defined_only", _BOOL))
_REPEATED = PathElement(18, "repeated", _MESSAGE)
_MAX_ITEMS = (_REPEATED, PathElement(2, "max_items", FieldDescriptor.TYPE_UINT64))
_ITEMS = (_REPEATED, PathElement(4, "items", _MESSAGE))

# The rules of each number type: the field of FieldRules, and the names of the type's bounds with their numbers.
_NUMBERS: dict[int, PathElement] = {
    FieldDescriptor.TYPE_FLOAT: PathElement(1, "float", _MESSAGE),
    FieldDescriptor.TYPE_DOUBLE: PathElement(2, "double", _MESSAGE),
    FieldDescriptor.TYPE_INT32: PathElement(3, "int32", _MESSAGE),
    FieldDescriptor.TYPE_INT64: PathElement(4, "int64", _MESSAGE),
    FieldDescriptor.TYPE_UINT32: PathElement(5, "uint32", _MESSAGE),
    FieldDescriptor.TYPE_UINT64: PathElement(6, "uint64", _MESSAGE),
}
_DURATION = PathElement(21, "duration", _MESSAGE)


def invalid_argument(
    operation: Operation, model: type[Message], errors: Sequence[tuple[ValidationError, str | None]]
) -> ConnectError:
    """Return the error for a request that violates rules, with each violation for people and for programs.

    Args:
        operation: the method of the request.
        model: the model that validated the request.
        errors: pydantic's errors, for the whole request or for a message in the field of this JSON name.
    """
    found = [item for error, within in errors for item in _violations(operation, model, error, within)]
    texts = [f"{violation.path}: {violation.message}" for violation in found[:MOST]]
    if len(found) > MOST:
        texts.append(f"and {len(found) - MOST} more")
    return ConnectError(
        ConnectCode.INVALID_ARGUMENT,
        f"validation error: {'; '.join(texts)}",
        (details.violations(found[:MOST]),),
    )


def out_of_order(method: str, name: str, reason: str) -> ConnectError:
    """Return the error for a valid request whose field `name` conflicts with the stored record."""
    field = descriptor_of(request_class(method)).fields_by_name[name]
    violation = Violation((PathElement(field.number, field.name, field.type),), reason, *_ordered(field))
    return ConnectError(
        ConnectCode.INVALID_ARGUMENT,
        f"validation error: {violation.path}: {reason}",
        (details.violations([violation]),),
    )


def _violations(
    operation: Operation, model: type[Message], error: ValidationError, within: str | None
) -> Iterator[Violation]:
    """Return every violation that pydantic has found, in pydantic's order."""
    descriptor = descriptor_of(request_class(operation.name))
    for item in error.errors(include_url=False):
        if within is not None:
            item["loc"] = (within, *item["loc"])
        yield _violation(model, descriptor, item)
        if item["type"] == "too_long":
            # Pydantic does not validate the items of such a list.
            info = _field(model, descriptor, item["loc"])[0]
            items = cast("list[Any]", item["input"])[:_MOST_ITEMS]
            try:
                TypeAdapter[Any](_list_of(info.annotation)).validate_python(items)
            except ValidationError as inner:
                for each in inner.errors(include_url=False):
                    each["loc"] = (*item["loc"], *each["loc"])
                    yield _violation(model, descriptor, each)


def _violation(model: type[Message], descriptor: Descriptor, item: ErrorDetails) -> Violation:
    if not item["loc"]:
        return Violation((), item["msg"])
    info, field, path = _field(model, descriptor, item["loc"])
    rule_id, rule = _rule(item, info, field)
    if rule and path[-1].index is not None:
        rule = (*_ITEMS, *rule)
    return Violation(path, _reason(item), rule_id, rule)


def _field(
    model: type[Message], descriptor: Descriptor, location: tuple[int | str, ...]
) -> tuple[FieldInfo, FieldDescriptor, tuple[PathElement, ...]]:
    """Return the field at a pydantic location, and the path to it."""
    path: list[PathElement] = []
    info: Any = None
    field: Any = None
    for part in location:
        if isinstance(part, int):
            last = path[-1]
            path[-1] = PathElement(last.number, last.name, last.type, part)
            continue
        if field is not None:
            model, descriptor = _message_model(info.annotation), field.message_type
        info = next(info for name, info in model.model_fields.items() if part in (info.alias, name))
        field = next(field for field in descriptor.fields if part in (field.json_name, field.name))
        path.append(PathElement(field.number, field.name, field.type))
    return info, field, tuple(path)


def _rule(item: ErrorDetails, info: FieldInfo, field: FieldDescriptor) -> tuple[str, tuple[PathElement, ...]]:
    """Return the id and the path of the violated rule; both are empty if the value has the wrong type."""
    value = item["input"]
    match item["type"]:
        case "required":
            return "required", _REQUIRED
        case "uuid" if isinstance(value, str):
            return ("string.uuid" if value else "string.uuid_empty"), _UUID
        case "enum" if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return "enum.defined_only", _DEFINED_ONLY
        case "too_long":
            return "repeated.max_items", _MAX_ITEMS
        case "greater_than_equal" | "less_than_equal" if field.type in _NUMBERS:
            marks = list(_marks(info))
            low = any(isinstance(mark, Ge) for mark in marks)
            high = any(isinstance(mark, Le) for mark in marks)
            return _bounds(_NUMBERS[field.type], field.type, lowest_number=2, low=low, high=high)
        case "protobuf-duration" if _is_duration(value):
            bounds = next((mark.format for mark in _marks(info) if isinstance(mark, FormattedString)), None)
            low, high = (
                bounds is not None and bool(bound) for bound in (bounds and bounds.minimum, bounds and bounds.maximum)
            )
            return _bounds(_DURATION, _MESSAGE, lowest_number=3, low=low, high=high)
        case "ordered":
            return _ordered(field)
        case _:
            return "", ()


def _ordered(field: FieldDescriptor) -> tuple[str, tuple[PathElement, ...]]:
    # ASSUMPTION: no descriptor specifies that one field is at most another, so this id is invented.
    return f"{field.name}.ordered", ()


def _bounds(
    of: PathElement, kind: int, *, lowest_number: int, low: bool, high: bool
) -> tuple[str, tuple[PathElement, ...]]:
    """Return the rule for a number's bounds. If both bounds are given, one rule covers both, at the lower bound."""
    name = "gte_lte" if low and high else "gte" if low else "lte"
    bound = PathElement(lowest_number + 3, "gte", kind) if low else PathElement(lowest_number + 1, "lte", kind)
    return f"{of.name}.{name}", (of, bound)


def _reason(item: ErrorDetails) -> str:
    match item["type"]:
        case "model_type":
            return "value must be an object"
        case "enum":
            return "value must be one of the enum"
        case "too_long":
            return f"value must have at most {item.get('ctx', {})['max_length']} items"
        case _:
            return item["msg"].replace("Input should be", "value must be", 1)


def _is_duration(value: object) -> bool:
    try:
        PARSERS["protobuf-duration"](value)
    except ValueError:
        return False
    return True


def _marks(info: FieldInfo) -> Iterator[Any]:
    """Yield the metadata of the field's annotation."""
    yield from info.metadata
    for kind in _parts(info.annotation):
        if typing.get_origin(kind) is typing.Annotated:
            for mark in typing.get_args(kind)[1:]:
                if isinstance(mark, FieldInfo):
                    yield from mark.metadata
                else:
                    yield mark


def _list_of(annotation: Any) -> Any:
    """Return the list type in an annotation, without its length limit."""
    return next(kind for kind in _parts(annotation) if typing.get_origin(kind) is list)


def _parts(annotation: Any) -> Iterator[Any]:
    kinds: list[Any] = [annotation]
    while kinds:
        kind = kinds.pop()
        yield kind
        kinds.extend(typing.get_args(kind)[:2])


def _message_model(annotation: Any) -> type[Message]:
    """Return the message model in a field's annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return annotation
    return next(model for part in typing.get_args(annotation) if (model := _message_model(part)))
