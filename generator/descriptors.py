"""The protobuf descriptor set of the schema: `protoc` would produce it from an equivalent `.proto` file."""

from __future__ import annotations

import re

from google.protobuf import (
    descriptor,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
)

from . import spec
from .problems import PipelineError, Problem

_Field = descriptor_pb2.FieldDescriptorProto
_Method = descriptor_pb2.MethodOptions

_SCALARS = {
    ("string", ""): _Field.TYPE_STRING,
    ("string", "uuid"): _Field.TYPE_STRING,
    ("string", "uri"): _Field.TYPE_STRING,
    ("string", "int64"): _Field.TYPE_INT64,
    ("string", "uint64"): _Field.TYPE_UINT64,
    ("string", "byte"): _Field.TYPE_BYTES,
    ("integer", ""): _Field.TYPE_INT32,
    ("integer", "int32"): _Field.TYPE_INT32,
    ("integer", "uint32"): _Field.TYPE_UINT32,
    ("number", ""): _Field.TYPE_DOUBLE,
    ("number", "float"): _Field.TYPE_FLOAT,
    ("number", "double"): _Field.TYPE_DOUBLE,
    ("boolean", ""): _Field.TYPE_BOOL,
}

# Types that protobuf brings along, each with the module that declares it.
_TIMESTAMP = (timestamp_pb2.DESCRIPTOR, "google.protobuf.Timestamp")
_DURATION = (duration_pb2.DESCRIPTOR, "google.protobuf.Duration")
_VALUE = (struct_pb2.DESCRIPTOR, "google.protobuf.Value")

_IDEMPOTENCY = {
    "no_side_effects": _Method.NO_SIDE_EFFECTS,
    "idempotent": _Method.IDEMPOTENT,
    "unsafe": _Method.IDEMPOTENCY_UNKNOWN,
}


def build(api: spec.Api) -> descriptor_pb2.FileDescriptorSet:
    """The descriptor set of `api`: the files that it imports, then its own, `gitpod/v1/prebuild.proto` for instance.

    Raises:
        PipelineError: protobuf rejects it, a number that is used twice for instance.
    """
    found, result = _built(api)
    if found:
        raise PipelineError("generate", found)
    return result


def problems(api: spec.Api) -> list[Problem]:
    """Why protobuf rejects `api`."""
    return _built(api)[0]


def _built(api: spec.Api) -> tuple[list[Problem], descriptor_pb2.FileDescriptorSet]:
    builder = _Builder(api)
    own = builder.build()
    result = descriptor_pb2.FileDescriptorSet()
    for name in own.dependency:
        builder.imports[name].CopyToProto(result.file.add())
    result.file.add().CopyFrom(own)
    return builder.problems or _rejected(result, api), result


def _rejected(files: descriptor_pb2.FileDescriptorSet, api: spec.Api) -> list[Problem]:
    pool = descriptor_pool.DescriptorPool()
    try:
        for item in files.file:
            pool.AddSerializedFile(item.SerializeToString())
    except TypeError as error:
        reason = str(error).removeprefix("Couldn't build proto file into descriptor pool: ")
        return [Problem(f"protobuf rejects this: {reason}", _named_in(reason, api))]
    return []


def _named_in(reason: str, api: spec.Api) -> str:
    """The place of the message, enum or member that a message of protobuf names."""
    words = re.findall(r"[A-Za-z_][\w.]*", reason)
    for word in reversed(words):
        name = word.strip(".").removeprefix(f"{api.package}.")
        for message in api.messages.values():
            if message.protobuf_name and (
                message.protobuf_name == name or name.startswith(f"{message.protobuf_name}.")
            ):
                return f"#/components/schemas/{message.name}"
        for enum in api.enums.values():
            members = [member.value for member in enum.members if enum.protobuf_name]
            if enum.protobuf_name == name or name.rpartition(".")[2] in members:
                return f"#/components/schemas/{enum.name}"
    return "#/components/schemas"


class _Builder:
    """Collects the parts of one file, and their problems."""

    def __init__(self, api: spec.Api) -> None:
        self.api = api
        self.problems: list[Problem] = []
        self.imports: dict[str, descriptor.FileDescriptor] = {}
        stem = spec.snake_case(api.service.removesuffix("Service")) or "service"
        folder = "".join(f"{part}/" for part in api.package.split(".") if part)
        self.file = descriptor_pb2.FileDescriptorProto(
            name=f"{folder}{stem}.proto", package=api.package, syntax="proto3"
        )
        self.messages: dict[str, descriptor_pb2.DescriptorProto] = {}

    def build(self) -> descriptor_pb2.FileDescriptorProto:
        named = sorted(
            (item for item in self.api.messages.values() if item.protobuf_name is not None),
            key=lambda item: (item.protobuf_name or "").count("."),
        )
        for message in named:
            self._declare(message)
        for enum in self.api.enums.values():
            if enum.protobuf_name is not None:
                self._enum(enum, enum.protobuf_name)
        for message in named:
            if (target := self.messages.get(message.protobuf_name or "")) is not None:
                self._fields(message, target)
        self._services()
        self.file.dependency.extend(sorted(self.imports))
        return self.file

    def _problem(self, component: str, reason: str, field: str = "") -> None:
        pointer = f"#/components/schemas/{component}" + (f"/properties/{field}" if field else "")
        self.problems.append(Problem(reason, pointer))

    def _declare(self, message: spec.Message) -> None:
        name = message.protobuf_name or ""
        outer, _, short = name.rpartition(".")
        if name in self.messages:
            self._problem(message.name, f"the protobuf message {name} is declared twice")
        elif not outer:
            self.messages[name] = self.file.message_type.add(name=short)
        elif outer in self.messages:
            self.messages[name] = self.messages[outer].nested_type.add(name=short)
        else:
            self._problem(message.name, f"there is no protobuf message {outer} to hold {short}")

    def _enum(self, enum: spec.Enum, name: str) -> None:
        outer, _, short = name.rpartition(".")
        if outer and outer not in self.messages:
            self._problem(enum.name, f"there is no protobuf message {outer} to hold {short}")
            return
        home = self.messages[outer].enum_type if outer else self.file.enum_type
        target = home.add(name=short)
        # protobuf requires the zero member in the first position.
        for member in sorted(enum.members, key=lambda member: member.number != 0):
            if member.number is None:
                self._problem(enum.name, f"the member {member.value} has no number")
            else:
                value = target.value.add(name=member.value, number=member.number)
                if member.deprecated:
                    value.options.deprecated = True
        if enum.deprecated:
            target.options.deprecated = True

    def _fields(self, message: spec.Message, target: descriptor_pb2.DescriptorProto) -> None:
        optional: list[_Field] = []
        if message.deprecated:
            target.options.deprecated = True
        for field in message.fields:
            if field.number is None:
                self._problem(message.name, "the field has no x-protobuf-number", field.json_name)
                continue
            item = target.field.add(
                name=field.protobuf_name,
                number=field.number,
                json_name=field.json_name,
                label=_Field.LABEL_OPTIONAL,
            )
            if field.deprecated:
                item.options.deprecated = True
            if field.mapped:
                self._map(message, field, item, target)
                continue
            self._type(message, field, item)
            if field.repeated:
                item.label = _Field.LABEL_REPEATED
            elif field.explicit and item.type != _Field.TYPE_MESSAGE:
                optional.append(item)
        # As protoc does it: each optional scalar is the only member of a oneof, and those stand behind all others.
        taken = {item.name for item in target.field}
        for item in optional:
            item.proto3_optional = True
            item.oneof_index = len(target.oneof_decl)
            name = f"_{item.name}"
            while name in taken:
                name = f"X{name}"
            taken.add(name)
            target.oneof_decl.add(name=name)

    def _map(
        self,
        message: spec.Message,
        field: spec.Field,
        item: _Field,
        target: descriptor_pb2.DescriptorProto,
    ) -> None:
        name = "".join(part[:1].upper() + part[1:] for part in item.name.split("_")) + "Entry"
        entry = target.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(
            name="key",
            json_name="key",
            number=1,
            label=_Field.LABEL_OPTIONAL,
            type=_Field.TYPE_STRING,
        )
        value = entry.field.add(name="value", json_name="value", number=2, label=_Field.LABEL_OPTIONAL)
        self._type(message, field, value)
        item.label = _Field.LABEL_REPEATED
        item.type = _Field.TYPE_MESSAGE
        item.type_name = f".{self._full(message.protobuf_name or '')}.{name}"

    def _type(self, message: spec.Message, field: spec.Field, item: _Field) -> None:
        declared = self.api.formats.get(field.format)
        base = declared.base if declared else field.format
        known = (
            _TIMESTAMP
            if field.kind == "timestamp" or base == "date-time"
            else _DURATION
            if base == "protobuf-duration"
            else _VALUE
            if field.kind == "json"
            else None
        )
        if known:
            file, full_name = known
            self.imports[file.name] = file
            item.type = _Field.TYPE_MESSAGE
            item.type_name = f".{full_name}"
        elif field.kind in ("message", "enum"):
            group = self.api.messages if field.kind == "message" else self.api.enums
            name = group[field.type].protobuf_name
            if name is None:
                reason = f"{field.type} has no protobuf name"
                self._problem(message.name, reason, field.json_name)
                return
            item.type = _Field.TYPE_MESSAGE if field.kind == "message" else _Field.TYPE_ENUM
            item.type_name = f".{self._full(name)}"
        elif (field.kind, base) in _SCALARS:
            item.type = _SCALARS[field.kind, base]
        else:
            reason = f"protobuf has no type for a {field.kind} of the format {base!r}"
            self._problem(message.name, reason, field.json_name)

    def _services(self) -> None:
        for item in self.api.services:
            service = self.file.service.add(name=item.name)
            for operation in item.operations:
                request, response = (self._message_name(message) for message in (operation.request, operation.response))
                method = service.method.add(name=operation.name, input_type=request, output_type=response)
                level = _IDEMPOTENCY[operation.idempotency]
                if level != _Method.IDEMPOTENCY_UNKNOWN:
                    method.options.idempotency_level = level
                if operation.deprecated:
                    method.options.deprecated = True

    def _message_name(self, message: spec.Message) -> str:
        if message.protobuf_name is None:
            self._problem(message.name, "a request or response needs an x-protobuf-message")
            return ""
        return f".{self._full(message.protobuf_name)}"

    def _full(self, name: str) -> str:
        return f"{self.api.package}.{name}" if self.api.package else name
