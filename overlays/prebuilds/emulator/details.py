"""Error details: protobuf messages with more information than the code and the message.

The messages are `buf.validate.Violations`, all violated bounds of a request, and `google.rpc.RetryInfo`, the retry
delay. Their descriptors, reduced to the fields in use, are defined here in a separate pool. The field numbers are the
published ones.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, json_format, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class PathElement:
    """A step from a message to one of its fields; `index` is the position of an item in a repeated field."""

    number: int
    name: str
    type: int
    """The field's type, a number of `FieldDescriptorProto.Type`."""

    index: int | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that violates a rule.

    `field` is the path from the request, `rule` the path from `buf.validate.FieldRules`. A value of the wrong type
    violates no rule: `rule_id` and `rule` are then empty.
    """

    field: tuple[PathElement, ...]
    message: str
    rule_id: str = ""
    rule: tuple[PathElement, ...] = ()

    @property
    def path(self) -> str:
        """The field's path for people, for example `filter.project_ids[1]`."""
        steps = (item.name if item.index is None else f"{item.name}[{item.index}]" for item in self.field)
        return ".".join(steps) or "message"


def violations(found: Sequence[Violation]) -> dict[str, Any]:
    """Return the detail that contains each violation."""
    message: Any = _message_class("buf.validate.Violations")()
    for item in found:
        violation = message.violations.add(message=item.message)
        if item.rule_id:
            violation.rule_id = item.rule_id
        for path, elements in ((violation.field, item.field), (violation.rule, item.rule)):
            for element in elements:
                added = path.elements.add(field_number=element.number, field_name=element.name, field_type=element.type)
                if element.index is not None:
                    added.index = element.index
    return _detail(message)


def retry_info(seconds: float) -> dict[str, Any]:
    """Return the detail with the delay after which the client should retry.

    Raises:
        ValueError: the delay is negative or not a number.
    """
    if not seconds >= 0:
        raise ValueError("the time to wait is a number of seconds, 0 or more")
    message: Any = _message_class("google.rpc.RetryInfo")()
    message.retry_delay.FromNanoseconds(round(seconds * 1_000_000_000))
    return _detail(message)


def _detail(message: Message) -> dict[str, Any]:
    """Return a message as in Connect: base64 without padding, and JSON for people, which programs must not use."""
    return {
        "type": message.DESCRIPTOR.full_name,
        "value": base64.b64encode(message.SerializeToString(deterministic=True)).decode().rstrip("="),
        "debug": json_format.MessageToDict(message),
    }


@functools.cache
def _message_class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


@functools.cache
def _pool() -> DescriptorPool:
    result = DescriptorPool()
    for known in (descriptor_pb2, duration_pb2):
        result.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    result.Add(_validate_file())
    result.Add(_retry_file())
    return result


def _validate_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="buf/validate/validate.proto",
        package="buf.validate",
        syntax="proto2",
        dependency=["google/protobuf/descriptor.proto"],
    )
    _declare(file, "Violations", (1, "violations", "*.buf.validate.Violation"))
    _declare(
        file,
        "Violation",
        (2, "rule_id", FieldDescriptorProto.TYPE_STRING),
        (3, "message", FieldDescriptorProto.TYPE_STRING),
        (5, "field", ".buf.validate.FieldPath"),
        (6, "rule", ".buf.validate.FieldPath"),
    )
    _declare(file, "FieldPath", (1, "elements", "*.buf.validate.FieldPathElement"))
    _declare(
        file,
        "FieldPathElement",
        (1, "field_number", FieldDescriptorProto.TYPE_INT32),
        (2, "field_name", FieldDescriptorProto.TYPE_STRING),
        (3, "field_type", "=.google.protobuf.FieldDescriptorProto.Type"),
        (6, "index", FieldDescriptorProto.TYPE_UINT64),
    )
    return file


def _retry_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/error_details.proto",
        package="google.rpc",
        syntax="proto3",
        dependency=["google/protobuf/duration.proto"],
    )
    _declare(file, "RetryInfo", (1, "retry_delay", ".google.protobuf.Duration"))
    return file


def _declare(
    file: descriptor_pb2.FileDescriptorProto,
    name: str,
    *fields: tuple[int, str, str | FieldDescriptorProto.Type.ValueType],
) -> None:
    """Add a message to the file.

    The type of a field is the number of a scalar, or the name of a message. The prefix `*` makes the field repeated,
    and `=` marks the name of an enum.
    """
    message = file.message_type.add(name=name)
    for number, field_name, kind in fields:
        field = message.field.add(name=field_name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if not isinstance(kind, str):
            field.type = kind
            continue
        field.type = FieldDescriptorProto.TYPE_ENUM if kind[0] == "=" else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = kind.lstrip("*=")
        if kind[0] == "*":
            field.label = FieldDescriptorProto.LABEL_REPEATED
