"""Requests that accept ids of any form, for clients whose own tests use ids that are not UUIDs."""

from __future__ import annotations

import copy
import functools
import types
import typing
from typing import Annotated, Any, Final, cast

from pydantic import StringConstraints, create_model
from pydantic.fields import FieldInfo

from prebuild_wire import Message
from prebuild_wire.fields import Uuid

LONGEST: Final = 255
"""The maximum length of such an id in characters."""

_UUID = typing.get_args(Uuid)[1]
_ANY_ID = StringConstraints(strict=True, min_length=1, max_length=LONGEST)


@functools.cache
def with_relaxed_ids(message: type[Message]) -> type[Message]:
    """Return a copy of a message class whose ids may be any non-empty text of at most `LONGEST` characters."""
    fields: dict[str, Any] = {}
    for name, info in message.model_fields.items():
        annotation = _annotation(info.annotation)
        metadata = [_rule(rule) for rule in info.metadata]
        if annotation != info.annotation or metadata != info.metadata:
            changed: FieldInfo = copy.copy(info)
            changed.annotation, changed.metadata = annotation, metadata
            fields[name] = (Annotated[annotation, *metadata] if metadata else annotation, changed)
    if not fields:
        return message
    return create_model(message.__name__, __base__=message, __doc__=message.__doc__, **fields)


def _rule(rule: Any) -> Any:
    return _ANY_ID if rule is _UUID else rule


def _annotation(kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return Annotated[_annotation(arguments[0]), *(_rule(rule) for rule in arguments[1:])]
    if origin in (types.UnionType, typing.Union):
        return functools.reduce(lambda left, right: left | right, (_annotation(item) for item in arguments))
    if origin is list:
        return list[_annotation(arguments[0])]  # type: ignore[misc]  # a type that is made at run time
    return with_relaxed_ids(cast("type[Message]", kind)) if _is_message(kind) else kind


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)
