"""Compares our schema with the descriptor that the vendor publishes.

    python -m generator.upstream [--schema FILE] [--wheel FILE]

The vendor's Python package carries the protobuf descriptor of the service, with its `buf.validate`
rules. Two readers turn that descriptor and our OpenAPI document into the same small model (a
`Service`); `compare` lists their differences, in both directions.

Nothing is skipped: a rule or option of the descriptor that this module does not understand is
itself a difference. A keyword of the schema for a fact unknown to the descriptor is one as well.

The vendor's code is never imported or run: the package requires an older protobuf than ours, and
this module needs only one bytes literal in each of a few source files.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import json
import re
import shlex
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from google.protobuf import message_factory, text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.unknown_fields import UnknownFieldSet

from . import document
from .problems import PipelineError

DISTRIBUTION = "gitpod-sdk"
VERSION = "1.2.0"
PROTO_FILE = "gitpod/v1/prebuild.proto"

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "schema" / "prebuild_service.yaml"
CACHE = ROOT / ".cache" / "upstream"

Fetch = Callable[[Path], None]
"""Puts the vendor's wheel into the given directory, or raises `UnavailableError`."""


class UnavailableError(Exception):
    """The vendor's package is unavailable or invalid; the text gives the reason."""


def main(argv: Sequence[str] | None = None, *, cache: Path = CACHE, fetch: Fetch | None = None) -> int:
    """Print every difference, one per line, then a summary.

    Returns 0 if there are no differences, 1 if there are some, and 2 if one of the two sides cannot be
    read. In that case, it prints the reason and its remedy to standard error. A wheel that is not yet
    in `cache` is fetched with `fetch`, by default `download`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m generator.upstream",
        description="Compare the schema with the protobuf descriptor that the vendor publishes.",
    )
    parser.add_argument("--schema", type=Path, default=SCHEMA, help="default: %(default)s")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--release", default=VERSION, help="a release of the vendor's package; default: %(default)s")
    source.add_argument("--wheel", type=Path, help="a file of the vendor's package")
    source.add_argument("--descriptors", type=Path, help="a file with a serialized FileDescriptorSet")
    parser.add_argument("--apply", action="store_true", help="write what the vendor says into the schema")
    arguments = parser.parse_args(argv)
    schema = cast(Path, arguments.schema)
    wheel = cast("Path | None", arguments.wheel)

    release = cast(str, arguments.release)
    descriptors = cast("Path | None", arguments.descriptors)
    try:
        ours = read_schema(document.load(schema).data)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        if descriptors is not None:
            theirs = read_descriptor(read_descriptors(descriptors))
        else:
            wheel = wheel or find_wheel(cache, fetch or functools.partial(download, release=release), release)
            theirs = read_descriptor(read_wheel(wheel))
    except UnavailableError as error:
        print(
            f"The vendor's package cannot be read: {error}\n"
            f"Where there is a network, this command gets it:\n\n    {_command(cache, release)}\n\n"
            "A damaged file has to be deleted first. A copy elsewhere is named with --wheel.",
            file=sys.stderr,
        )
        return 2

    vendor = _label(descriptors or cast(Path, wheel))
    if arguments.apply:
        return _apply(schema, theirs, vendor)
    differences = compare(ours, theirs)
    for difference in differences:
        print(difference.line(vendor))
    print(
        f"{len(differences)} difference{'' if len(differences) == 1 else 's'} between {schema.name}"
        f" and {vendor} ({len(theirs.methods)} methods, {len(theirs.messages)} messages,"
        f" {len(theirs.enums)} enums)"
    )
    return 1 if differences else 0


def _apply(schema: Path, theirs: Service, vendor: str) -> int:
    """Write the facts of `theirs` into `schema`. Returns 0 if no difference remains, 1 otherwise."""
    from .upstream_apply import apply  # which needs the model below

    try:
        before = schema.read_text(encoding="utf-8")
        text, notes = apply(before, schema, theirs)
    except PipelineError as error:
        print(f"{error}\nwhat {vendor} says cannot be written into {schema.name}, which is as it was", file=sys.stderr)
        return 1
    if text != before:
        temporary = schema.with_name(f".{schema.name}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(schema)
    for note in notes:
        print(note)
    differences = compare(read_schema(document.parse(text, schema).data), theirs)
    for difference in differences:
        print(difference.line(vendor))
    print(f"{schema.name} {'says' if text != before else 'already says'} what {vendor} says", end="")
    print(f", but for {len(differences)} differences that need a person" if differences else "; now: make gen")
    return 1 if differences else 0


# --- the model that both sides are read into ---------------------------------------------------

Facts = Mapping[str, str]
"""The facts about an element, by name. An unstated fact is absent."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """The common attributes of fields, messages, enums, enum members and methods.

    `rules` are bounds and other facts about the element, in the same notation on both sides:
    `bound` is `300s..7200s`, `number of items` is `..25`, a rule without a value is `yes`.
    """

    deprecated: bool = False
    rules: Facts = field(default_factory=dict[str, str])

    def facts(self) -> dict[str, str]:
        """The facts that must be equal on both sides."""
        return {**({"deprecated": _text(True)} if self.deprecated else {}), **self.rules}


@dataclass(frozen=True, kw_only=True)
class Field(Described):
    """A field of a message. `type` is worded as in `list of PrebuildPhase`."""

    json_name: str
    number: int | None
    type: str
    presence: str
    protobuf_name: str = ""
    """Its name in the descriptor; in the schema only where it does not follow from the JSON name."""

    def facts(self) -> dict[str, str]:
        """The facts of a field that must be equal."""
        return {
            "JSON name": self.json_name,
            "number": _text(self.number),
            "type": self.type,
            "presence": self.presence,
            **super().facts(),
        }

    def __str__(self) -> str:
        return f"{self.type} = {_text(self.number)}"


@dataclass(frozen=True, kw_only=True)
class Message(Described):
    """A message; its fields by their JSON names."""

    fields: Mapping[str, Field]

    def __str__(self) -> str:
        return f"message with {_listed(self.fields)}"


@dataclass(frozen=True, kw_only=True)
class Member(Described):
    """A member of an enum."""

    number: int | None

    def facts(self) -> dict[str, str]:
        """The facts of an enum member that must be equal."""
        return {"number": _text(self.number), **super().facts()}

    def __str__(self) -> str:
        return _text(self.number)


@dataclass(frozen=True, kw_only=True)
class Enum(Described):
    """An enum; its members by name."""

    members: Mapping[str, Member]

    def __str__(self) -> str:
        return f"enum with {_listed(self.members)}"


@dataclass(frozen=True, kw_only=True)
class Method(Described):
    """A method. `idempotency` is a value of `x-idempotency`."""

    request: str
    response: str
    idempotency: str

    def facts(self) -> dict[str, str]:
        """The facts of a method that must be equal."""
        return {
            "request": self.request,
            "response": self.response,
            "idempotency": self.idempotency,
            **super().facts(),
        }

    def __str__(self) -> str:
        return f"{self.request} -> {self.response}"


@dataclass(frozen=True, kw_only=True)
class Service(Described):
    """The complete model of one side.

    Methods are named by their URL path, messages and enums by their names below the package.
    """

    package: str
    methods: Mapping[str, Method]
    messages: Mapping[str, Message]
    enums: Mapping[str, Enum]

    def facts(self) -> dict[str, str]:
        """The facts of the service itself that must be equal."""
        return {"package": self.package, **super().facts()}


@dataclass(frozen=True)
class Difference:
    """A difference: its place `where`, its fact `what`, and the value of each side (None: no value)."""

    where: str
    what: str
    ours: str | None
    theirs: str | None

    def line(self, vendor: str) -> str:
        """One readable line; `vendor` is the name that the other side goes by."""
        nothing = "no" if "yes" in (self.ours, self.theirs) else "none"
        return f"{self.where}: {self.what}: schema says {self.ours or nothing}, {vendor} says {self.theirs or nothing}"


def compare(ours: Service, theirs: Service) -> list[Difference]:
    """Every difference, in the vendor's declaration order.

    Fields are paired by JSON name, and the remaining fields by number, so that a wrong JSON name is
    one difference. All other elements are paired by name. If one side lacks an element, its parts are
    not listed individually.
    """
    return list(_differences(ours, theirs))


# --- reading the schema ------------------------------------------------------------------------


def read_schema(document: Mapping[str, Any]) -> Service:
    """The model of our OpenAPI document, which uses the vocabulary of schema/README.md.

    `make gen` explains mistakes of form. Here they appear as differences, because missing or misplaced
    elements are missing from the model as well.
    """
    messages: dict[str, Message] = {}
    enums: dict[str, Enum] = {}
    for component, schema in _components(document).items():
        if name := schema.get("x-protobuf-message"):
            _add(messages, name, component, _schema_message(schema, document))
        if name := schema.get("x-protobuf-enum"):
            _add(enums, name, component, _schema_enum(schema))
    return Service(
        package=_text(document.get("x-protobuf-package")),
        methods={
            path: _schema_method(_mapping(item).get("post"), document)
            for path, item in _mapping(document.get("paths")).items()
        },
        messages=messages,
        enums=enums,
    )


_ANNOTATIONS = {"title", "description", "example", "examples", "externalDocs", "$comment"}

# Our own keys that state no fact of the descriptor.
_OUR_MESSAGE_KEYS = {"x-protobuf-message", "x-ordered"}
_OUR_ENUM_KEYS = {"x-protobuf-enum", "x-enum-descriptions", "x-phase-classes", "x-http-status"}

_TIMESTAMP = "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"
_VALUE = "google.protobuf.Value"

# By type and format.
_PROTOBUF_TYPES = {
    ("boolean", "none"): "bool",
    ("integer", "int32"): "int32",
    ("integer", "uint32"): "uint32",
    ("number", "float"): "float",
    ("number", "double"): "double",
    ("string", "byte"): "bytes",
    ("none", "none"): _VALUE,
    ("string", "none"): "string",
    ("string", "uuid"): "string",
    ("string", "uri"): "string",
    ("string", "int64"): "int64",
    ("string", "uint64"): "uint64",
    ("string", "date-time"): _TIMESTAMP,
    ("string", "protobuf-duration"): _DURATION,
}


def _schema_method(operation: Any, document: Mapping[str, Any]) -> Method:
    operation = _mapping(operation)
    responses = {str(status): value for status, value in _mapping(operation.get("responses")).items()}

    def message(body: Any) -> str:
        content = _mapping(_resolved(body, document).get("content"))
        schema = _mapping(_mapping(content.get("application/json")).get("schema"))
        return _reference(schema["$ref"], document)[0] if "$ref" in schema else _text(None)

    return Method(
        request=message(operation.get("requestBody")),
        response=message(responses.get("200")),
        idempotency=_text(operation.get("x-idempotency")),
        deprecated=operation.get("deprecated") is True,
    )


def _schema_message(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Message:
    keywords = _without(schema, _ANNOTATIONS | _OUR_MESSAGE_KEYS)
    if keywords.get("type") == "object":
        del keywords["type"]
    properties = _mapping(keywords.pop("properties", None))
    required = cast("list[str]", keywords.pop("required", []))
    deprecated = keywords.pop("deprecated", False) is True
    if strangers := [name for name in required if name not in properties]:
        keywords["required"] = strangers
    return Message(
        fields={
            name: _schema_field(name, _mapping(value), name in required, document) for name, value in properties.items()
        },
        deprecated=deprecated,
        rules=_leftover(keywords),
    )


def _schema_field(name: str, schema: Mapping[str, Any], required: bool, document: Mapping[str, Any]) -> Field:
    keywords = dict(schema)
    number = keywords.pop("x-protobuf-number", None)
    presence = keywords.pop("x-presence", None)
    deprecated = keywords.pop("deprecated", False) is True
    always_set = keywords.pop("x-always-set", False) is True
    ignore_zero = keywords.pop("x-ignore-zero", False) is True
    keywords.pop("x-secret", None)  # the vendor's descriptor marks no secrets
    protobuf_name = str(keywords.pop("x-protobuf-name", ""))
    type_, rules = _schema_value(keywords, document)
    if presence is None:
        singular_message = type_ in (_TIMESTAMP, _DURATION, _VALUE) or type_ in _message_names(document)
        presence = "explicit" if singular_message else "implicit"
    if required or always_set:
        rules["required"] = _text(True)
    if ignore_zero:
        rules["zero ignored"] = _text(True)
    return Field(
        json_name=name,
        number=number,
        type=type_,
        presence=_text(presence),
        deprecated=deprecated,
        rules=rules,
        protobuf_name=protobuf_name,
    )


def _schema_value(schema: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The type and the rules of a field's value, or of one item of a list."""
    keywords = _without(schema, _ANNOTATIONS)
    rules: dict[str, str] = {}
    if "$ref" in keywords:
        type_, _ = _reference(keywords.pop("$ref"), document)
        return type_, rules | _leftover(keywords)

    kind = keywords.pop("type", None)
    if kind == "array":
        inner, inner_rules = _schema_value(_mapping(keywords.pop("items", None)), document)
        type_ = f"list of {inner}"
        rules |= _prefixed("each item: ", inner_rules)
        rules |= _span("number of items", _popped(keywords, "minItems", "maxItems"))
        if keywords.get("uniqueItems") is True:
            rules["unique items"] = _text(keywords.pop("uniqueItems"))
    elif kind == "object" and isinstance(keywords.get("additionalProperties"), Mapping):
        inner, inner_rules = _schema_value(keywords.pop("additionalProperties"), document)
        type_ = f"map of string to {inner}"
        rules |= _prefixed("each value: ", inner_rules)
    else:
        type_, rules = _schema_scalar(kind, keywords, document)
    return type_, rules | _leftover(keywords)


def _schema_scalar(kind: Any, keywords: dict[str, Any], document: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """As `_schema_value`, for scalars and enums; takes the keywords that it reads out of `keywords`."""
    rules: dict[str, str] = {}
    format_ = keywords.pop("format", None)
    if declared := _mapping(_mapping(document.get("x-formats")).get(_text(format_))):
        details = _without(declared, _ANNOTATIONS)
        format_ = details.pop("base", None)
        canonical = _duration_text if format_ == "protobuf-duration" else _integer_text
        bounds = _popped(details, "minimum", "maximum")
        rules |= _span("bound", [None if each is None else canonical(each) for each in bounds])
        rules |= _leftover(details)

    type_ = _PROTOBUF_TYPES.get((_text(kind), _text(format_)))
    if type_ is None:
        type_ = f"{_text(kind)}{f' of format {_text(format_)}' if format_ else ''}"
    if kind in ("integer", "number"):
        for exclusive, inclusive, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
            if kind == "integer" and isinstance(keywords.get(exclusive), int) and inclusive not in keywords:
                keywords[inclusive] = keywords.pop(exclusive) + step
        names = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        rules |= _span("bound", _popped(keywords, *names))
    elif kind == "string":
        if format_ in ("uuid", "uri"):
            rules[f"format {format_}"] = _text(True)
        rules |= _span("length", _popped(keywords, "minLength", "maxLength"))
        if "pattern" in keywords:
            rules["pattern"] = _text(keywords.pop("pattern"))
    return type_, rules


def _schema_enum(schema: Mapping[str, Any]) -> Enum:
    keywords = _without(schema, _ANNOTATIONS | _OUR_ENUM_KEYS)
    if keywords.get("type") == "string":
        del keywords["type"]
    names = cast("list[str]", keywords.pop("enum", []))
    numbers = dict(_mapping(keywords.pop("x-enum-numbers", None)))
    deprecated = keywords.pop("deprecated", False) is True
    old = cast("list[str]", keywords.pop("x-enum-deprecated", []))
    members = {name: Member(number=numbers.pop(name, None), deprecated=name in old) for name in names}
    if numbers:
        keywords["x-enum-numbers"] = numbers  # of members that are not in the enum
    return Enum(members=members, deprecated=deprecated, rules=_leftover(keywords))


def _reference(pointer: str, document: Mapping[str, Any]) -> tuple[str, bool]:
    """The protobuf name of a `$ref` target, and whether the target is an enum."""
    schema = _resolved({"$ref": pointer}, document)
    if "x-protobuf-enum" in schema:
        return _text(schema["x-protobuf-enum"]), True
    if "x-protobuf-message" in schema:
        return _text(schema["x-protobuf-message"]), False
    return f"{pointer} (which names no protobuf type)", False


def _resolved(value: Any, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The target of a reference into the document; nothing if the target does not exist."""
    node = _mapping(value)
    if "$ref" in node:
        steps = _text(node["$ref"]).removeprefix("#/").split("/")
        node = document
        for step in steps:
            node = _mapping(node.get(step))
    return node


def _components(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    components = _mapping(_mapping(document.get("components")).get("schemas"))
    return {name: _mapping(schema) for name, schema in components.items()}


def _message_names(document: Mapping[str, Any]) -> set[str]:
    return {schema["x-protobuf-message"] for schema in _components(document).values() if "x-protobuf-message" in schema}


def _leftover(keywords: Mapping[str, Any]) -> dict[str, str]:
    """Keywords that no rule of ours has taken: facts that the descriptor cannot agree with."""
    return {f"keyword {name}": _text(value) for name, value in keywords.items()}


_Named = TypeVar("_Named")


def _add(into: dict[str, _Named], name: str, component: str, value: _Named) -> None:
    """If a second component claims a name, the result is a name that the descriptor does not have."""
    into[f"{name} (again, as {component})" if name in into else name] = value


# --- finding and reading the vendor's package --------------------------------------------------


_PIP_DOWNLOAD = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest")


def download(directory: Path, release: str = VERSION) -> None:
    """Put the wheel into `directory` with pip. Raises `UnavailableError` with pip's error message.

    Only a wheel is acceptable: building a source distribution would run the vendor's code.
    """
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    run = subprocess.run(
        [sys.executable, *_PIP_DOWNLOAD, str(directory), f"{DISTRIBUTION}=={release}", *quiet],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        complaint = (run.stderr or run.stdout).strip().splitlines() or ["no reason given"]
        raise UnavailableError(f"pip cannot download {DISTRIBUTION} {release}: {complaint[-1]}")


def find_wheel(cache: Path = CACHE, fetch: Fetch = download, release: str = VERSION) -> Path:
    """The wheel of `DISTRIBUTION` at `release` in `cache`, fetched first if it is not there.

    Raises `UnavailableError` if it can be found neither before nor after.
    """
    pattern = f"{DISTRIBUTION.replace('-', '_')}-{release}-*.whl"
    if not any(cache.glob(pattern)):
        fetch(cache)
    wheels = sorted(cache.glob(pattern))
    if not wheels:
        raise UnavailableError(f"there is no {pattern} in {cache}")
    return wheels[0]


def read_wheel(wheel: Path) -> dict[str, FileDescriptorProto]:
    """The descriptor of the service's file and of all its imports, imports first.

    Read from the sources in the wheel, without unpacking or running them; the files of
    google.protobuf are the installed ones. Raises `UnavailableError` if the wheel is damaged or is
    not the expected package.
    """
    files: dict[str, FileDescriptorProto] = {}

    def collect(name: str, archive: zipfile.ZipFile) -> None:
        if name in files:
            return
        well_known = name.startswith("google/protobuf/")
        file = _installed_file(name) if well_known else _packaged_file(name, archive)
        for imported in file.dependency:
            collect(imported, archive)
        files[name] = file

    try:
        with zipfile.ZipFile(wheel) as archive:
            collect("google/protobuf/descriptor.proto", archive)  # declares the options
            collect(PROTO_FILE, archive)
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UnavailableError(f"{wheel} cannot be opened: {error}") from error
    return files


def _command(directory: Path, release: str) -> str:
    """The shell command that is equivalent to `download`."""
    return shlex.join(["python", *_PIP_DOWNLOAD, str(directory), f"{DISTRIBUTION}=={release}"])


def read_descriptors(path: Path) -> dict[str, FileDescriptorProto]:
    """The files of a serialized FileDescriptorSet, imports first; the files of google.protobuf may be missing.

    Raises `UnavailableError` if the file is not a valid set, or lacks an imported file.
    """
    try:
        given = {file.name: file for file in FileDescriptorSet.FromString(path.read_bytes()).file}
    except (OSError, DecodeError) as error:
        raise UnavailableError(f"{path} cannot be read as a FileDescriptorSet: {error}") from error
    files: dict[str, FileDescriptorProto] = {}

    def collect(name: str, trail: tuple[str, ...]) -> None:
        if name in files or name in trail:
            return
        file = given.get(name)
        if file is None and not name.startswith("google/protobuf/"):
            raise UnavailableError(f"{path} lacks {name}")
        file = file or _installed_file(name)
        for imported in file.dependency:
            collect(imported, (*trail, name))
        files[name] = file

    collect("google/protobuf/descriptor.proto", ())
    collect(PROTO_FILE, ())
    return files


def _label(wheel: Path) -> str:
    """`gitpod-sdk 1.2.0`, from a wheel's file name."""
    parts = wheel.name.split("-")
    return f"{parts[0].replace('_', '-')} {parts[1]}" if len(parts) >= 5 else wheel.name


def _installed_file(name: str) -> FileDescriptorProto:
    try:
        module = importlib.import_module(f"{name.removesuffix('.proto').replace('/', '.')}_pb2")
    except ModuleNotFoundError as error:
        raise UnavailableError(f"the installed protobuf has no {name}") from error
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def _packaged_file(name: str, archive: zipfile.ZipFile) -> FileDescriptorProto:
    """The descriptor that the source generated from `name` hands to AddSerializedFile."""
    source = f"{name.removesuffix('.proto').replace('-', '_')}_pb2.py"
    try:
        tree = ast.parse(archive.read(source), source)
    except KeyError as error:
        raise UnavailableError(f"{archive.filename} has no {source}") from error
    except (SyntaxError, ValueError) as error:
        raise UnavailableError(f"{source} of {archive.filename} is no Python: {error}") from error
    found = [
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "AddSerializedFile"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, bytes)
    ]
    if len(found) != 1:
        raise UnavailableError(f"{source} of {archive.filename} has {len(found)} descriptors, not one")
    try:
        return FileDescriptorProto.FromString(found[0])
    except DecodeError as error:
        raise UnavailableError(f"{source} of {archive.filename} has no descriptor: {error}") from error


# --- reading the descriptor --------------------------------------------------------------------


def read_descriptor(files: Mapping[str, FileDescriptorProto]) -> Service:
    """The model of `PROTO_FILE` and of the messages and enums of other files that it refers to.

    `files` is the result of `read_wheel`: complete, and imports first. Raises `UnavailableError` if protobuf rejects a
    file.
    """
    pool = DescriptorPool()
    for file in files.values():
        try:
            pool.AddSerializedFile(file.SerializeToString())
        except TypeError as error:
            raise UnavailableError(f"protobuf rejects {file.name}: {error}") from error
    main_file = pool.FindFileByName(PROTO_FILE)
    package = main_file.package
    services = list(main_file.services_by_name.values())
    methods = [method for service in services for method in service.methods]
    service_options = [_leftover_options(_options(service, pool)) for service in services]

    messages: dict[str, Message] = {}
    enums: dict[str, Enum] = {}
    pending: list[Descriptor | EnumDescriptor] = [
        *(each for method in methods for each in (method.input_type, method.output_type)),
        *main_file.message_types_by_name.values(),
        *main_file.enum_types_by_name.values(),
    ]
    while pending:
        found = pending.pop(0)
        name = _below(package, found.full_name)
        if name in messages or name in enums or name.startswith("google.protobuf."):
            continue
        if isinstance(found, EnumDescriptor):
            enums[name] = _descriptor_enum(found, pool)
            continue
        pending += [*found.nested_types, *found.enum_types]
        pending += [each for f in found.fields if (each := f.message_type or f.enum_type)]
        if not found.GetOptions().map_entry:
            messages[name] = _descriptor_message(found, package, pool)

    return Service(
        package=package,
        methods={
            f"/{method.containing_service.full_name}/{method.name}": _descriptor_method(method, package, pool)
            for method in methods
        },
        messages=messages,
        enums=enums,
        rules={name: value for options in service_options for name, value in options.items()},
    )


_IDEMPOTENCY = {
    "IDEMPOTENCY_UNKNOWN": "unsafe",
    "NO_SIDE_EFFECTS": "no_side_effects",
    "IDEMPOTENT": "idempotent",
}

_FIELD_RULES = "(buf.validate.field)."

# Rules that are just on or off.
_SWITCHES = {
    "required": "required",
    "string.uuid": "format uuid",
    "string.uri": "format uri",
    "repeated.unique": "unique items",
}

_NUMERIC_RULES = (
    *("duration", "float", "double", "int32", "int64", "uint32", "uint64", "sint32", "sint64"),
    *("fixed32", "fixed64", "sfixed32", "sfixed64"),
)


def _descriptor_method(method: MethodDescriptor, package: str, pool: DescriptorPool) -> Method:
    options = _options(method, pool)
    deprecated = _is_deprecated(options)
    level = options.pop("idempotency_level", "IDEMPOTENCY_UNKNOWN")
    rules = _leftover_options(options)
    if method.client_streaming:
        rules["streamed request"] = _text(True)
    if method.server_streaming:
        rules["streamed response"] = _text(True)
    return Method(
        request=_below(package, method.input_type.full_name),
        response=_below(package, method.output_type.full_name),
        idempotency=_IDEMPOTENCY.get(level, level),
        deprecated=deprecated,
        rules=rules,
    )


def _descriptor_message(message: Descriptor, package: str, pool: DescriptorPool) -> Message:
    options = _options(message, pool)
    deprecated = _is_deprecated(options)
    rules = _leftover_options(options)
    proto = DescriptorProto()
    message.CopyToProto(proto)
    synthetic = {each.oneof_index for each in proto.field if each.proto3_optional}
    for oneof in message.oneofs:
        if oneof.index not in synthetic:
            rules[f"oneof {oneof.name}"] = _listed(each.json_name for each in oneof.fields)
            rules |= _leftover_options(_options(oneof, pool))
    return Message(
        fields={each.json_name: _descriptor_field(each, package, pool) for each in message.fields},
        deprecated=deprecated,
        rules=rules,
    )


def _descriptor_field(each: FieldDescriptor, package: str, pool: DescriptorPool) -> Field:
    options = _options(each, pool)
    deprecated = _is_deprecated(options)
    validation = {
        name.removeprefix(_FIELD_RULES): options.pop(name) for name in list(options) if name.startswith(_FIELD_RULES)
    }
    return Field(
        json_name=each.json_name,
        number=each.number,
        protobuf_name=each.name,
        type=_descriptor_type(each, package),
        presence="explicit" if each.has_presence else "implicit",
        deprecated=deprecated,
        rules={**_validation_rules(validation), **_leftover_options(options)},
    )


def _descriptor_type(each: FieldDescriptor, package: str) -> str:
    entry = each.message_type
    if entry and entry.GetOptions().map_entry:
        key, value = (entry.fields_by_name[name] for name in ("key", "value"))
        return f"map of {_descriptor_type(key, package)} to {_descriptor_type(value, package)}"
    if named := each.message_type or each.enum_type:
        single = _below(package, named.full_name)
    else:
        number = cast("FieldDescriptorProto.Type.ValueType", each.type)
        single = FieldDescriptorProto.Type.Name(number).removeprefix("TYPE_").lower()
    return f"list of {single}" if each.is_repeated else single


def _descriptor_enum(enum: EnumDescriptor, pool: DescriptorPool) -> Enum:
    def member(number: int, options: dict[str, str]) -> Member:
        deprecated = _is_deprecated(options)
        return Member(number=number, deprecated=deprecated, rules=_leftover_options(options))

    options = _options(enum, pool)
    return Enum(
        deprecated=_is_deprecated(options),
        members={each.name: member(each.number, _options(each, pool)) for each in enum.values},
        rules=_leftover_options(options),
    )


def _validation_rules(validation: dict[str, str]) -> dict[str, str]:
    """Rules of `buf.validate`, by their paths below a field's rules, in the notation of the model.

    An unknown rule keeps its path, so that it differs from any value in the schema.
    """
    rules: dict[str, str] = {}
    validation.pop("enum.defined_only", None)  # an enum of JSON Schema always is, and has no words for another
    for path, name in _SWITCHES.items():
        if validation.pop(path, "no") == "yes":
            rules[name] = _text(True)
    # Later releases of buf.validate use the second name.
    if validation.get("ignore") in ("IGNORE_IF_UNPOPULATED", "IGNORE_IF_ZERO_VALUE"):
        rules["zero ignored"] = _text(True)
        del validation["ignore"]
    for kind in _NUMERIC_RULES:
        _make_inclusive(kind, validation)
        bounds = (f"{kind}.{each}" for each in ("gte", "lte", "gt", "lt"))
        rules |= _span("bound", _popped(validation, *bounds))
    rules |= _span("length", _popped(validation, "string.min_len", "string.max_len"))
    rules |= _span("number of items", _popped(validation, "repeated.min_items", "repeated.max_items"))
    if "string.pattern" in validation:
        rules["pattern"] = validation.pop("string.pattern")
    for path, prefix in (("repeated.items.", "each item: "), ("map.values.", "each value: ")):
        inner = {name.removeprefix(path): validation.pop(name) for name in list(validation) if name.startswith(path)}
        if inner:
            rules |= _prefixed(prefix, _validation_rules(inner))
    return rules | {f"rule {path}": value for path, value in validation.items()}


def _make_inclusive(kind: str, validation: dict[str, str]) -> None:
    """Write the exclusive bounds of whole numbers as inclusive ones, which the schema has."""
    for exclusive, inclusive, step in (("gt", "gte", 1), ("lt", "lte", -1)):
        text = validation.get(f"{kind}.{exclusive}", "")
        if "int" in kind and f"{kind}.{inclusive}" not in validation and re.fullmatch(r"-?\d+", text):
            validation[f"{kind}.{inclusive}"] = str(int(text) + step)
            del validation[f"{kind}.{exclusive}"]


def _options(described: Any, pool: DescriptorPool) -> dict[str, str]:
    """Every option that is set on something, by its path: `(buf.validate.field).string.uuid`.

    Options come parsed by the installed protobuf, which knows no extension of the vendor's: they
    are parsed once more as the private pool declares them.
    """
    parsed = cast(ProtobufMessage, described.GetOptions())
    own_type = pool.FindMessageTypeByName(parsed.DESCRIPTOR.full_name)
    own = message_factory.GetMessageClass(own_type).FromString(parsed.SerializeToString())
    return dict(_settings(own, ""))


def _settings(message: ProtobufMessage, path: str) -> Iterator[tuple[str, str]]:
    for each, value in message.ListFields():
        here = path + (f"({each.full_name})" if each.is_extension else each.name)
        if each.is_repeated:
            yield here, f"[{', '.join(_setting(each, item) for item in value)}]"
        elif each.message_type and not each.message_type.full_name.startswith("google.protobuf."):
            yield from _settings(value, f"{here}.")
        else:
            yield here, _setting(each, value)
    unknown = UnknownFieldSet(message)
    for index in range(len(unknown)):
        # Declared nowhere in the vendor's files, so that its number is all there is to say.
        yield f"{path}{unknown[index].field_number}", "something undeclared"


def _setting(each: FieldDescriptor, value: Any) -> str:
    if each.message_type and each.message_type.full_name == _DURATION:
        duration = Duration(seconds=value.seconds, nanos=value.nanos)
        return _duration_text(duration.ToJsonString())
    if each.message_type:
        return f"{{{text_format.MessageToString(value, as_one_line=True)}}}"
    if each.enum_type and value in each.enum_type.values_by_number:
        return each.enum_type.values_by_number[value].name
    return _text(value)


def _leftover_options(options: Mapping[str, str]) -> dict[str, str]:
    return {f"option {path}": value for path, value in options.items()}


def _is_deprecated(options: dict[str, str]) -> bool:
    """Takes the option out of `options`."""
    return options.pop("deprecated", "no") == "yes"


def _below(package: str, full_name: str) -> str:
    return full_name.removeprefix(f"{package}.")


# --- comparing ---------------------------------------------------------------------------------

_Item = TypeVar("_Item", bound=Described)


def _differences(ours: Service, theirs: Service) -> Iterator[Difference]:
    yield from _fact_differences("the document", ours, theirs)
    for path, our_method, their_method in _pairs(ours.methods, theirs.methods):
        yield from _item_differences(path, "method", our_method, their_method)
    for name, our_message, their_message in _pairs(ours.messages, theirs.messages):
        yield from _item_differences(name, "message", our_message, their_message)
        if our_message and their_message:
            for json_name, our_field, their_field in _pairs(
                _renumbered(our_message.fields, their_message.fields), their_message.fields
            ):
                yield from _item_differences(f"{name}.{json_name}", "field", our_field, their_field)
    for name, our_enum, their_enum in _pairs(ours.enums, theirs.enums):
        yield from _item_differences(name, "enum", our_enum, their_enum)
        if our_enum and their_enum:
            for label, our_member, their_member in _pairs(our_enum.members, their_enum.members):
                yield from _item_differences(f"{name}.{label}", "member", our_member, their_member)


def _item_differences(where: str, what: str, ours: Described | None, theirs: Described | None) -> Iterator[Difference]:
    if ours and theirs:
        yield from _fact_differences(where, ours, theirs)
    else:
        yield Difference(
            where,
            what,
            None if ours is None else str(ours),
            None if theirs is None else str(theirs),
        )


def _fact_differences(where: str, ours: Described, theirs: Described) -> Iterator[Difference]:
    our_facts, their_facts = ours.facts(), theirs.facts()
    for fact in dict.fromkeys([*their_facts, *our_facts]):
        if our_facts.get(fact) != their_facts.get(fact):
            yield Difference(where, fact, our_facts.get(fact), their_facts.get(fact))


def _pairs(ours: Mapping[str, _Item], theirs: Mapping[str, _Item]) -> Iterator[tuple[str, _Item | None, _Item | None]]:
    for name in dict.fromkeys([*theirs, *ours]):
        yield name, ours.get(name), theirs.get(name)


def _renumbered(ours: Mapping[str, Field], theirs: Mapping[str, Field]) -> dict[str, Field]:
    """Our fields, under the vendor's JSON name where only the number is the same."""
    missing = {each.number: name for name, each in theirs.items() if name not in ours}
    return {name if name in theirs else missing.pop(each.number, name): each for name, each in ours.items()}


# --- wording -----------------------------------------------------------------------------------


def _text(value: Any) -> str:
    """A value in the words of the model, the same for both sides."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, default=str)


def _duration_text(value: Any) -> str:
    """A duration in JSON without superfluous zeros: `1.50s` becomes `1.5s`."""
    text = _text(value)
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?s", text):
        return text
    return f"{Decimal(text.removesuffix('s')).normalize():f}s"


def _integer_text(value: Any) -> str:
    text = _text(value)
    return str(int(text)) if re.fullmatch(r"[+-]?\d+", text) else text


def _span(name: str, bounds: Sequence[Any]) -> dict[str, str]:
    """The rule `name` from bounds `[least, most, above, below]`; no rule without bounds."""
    least, most, above, below = (*bounds, None, None)[:4]
    low = [_text(least)] * (least is not None) + [f">{_text(above)}"] * (above is not None)
    high = [_text(most)] * (most is not None) + [f"<{_text(below)}"] * (below is not None)
    return {name: f"{' and '.join(low)}..{' and '.join(high)}"} if low or high else {}


def _listed(names: Any) -> str:
    return ", ".join(names) or "nothing"


def _prefixed(prefix: str, rules: Facts) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in rules.items()}


def _popped(mapping: dict[str, Any], *names: str) -> list[Any]:
    return [mapping.pop(name, None) for name in names]


def _without(mapping: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def _mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, or an empty one where the document has something else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


if __name__ == "__main__":
    sys.exit(main())
