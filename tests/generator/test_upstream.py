"""The schema agrees with the vendor's descriptor, and every way not to agree is reported.

Differences are planted in a copy of the real schema, or in a copy of the real descriptor, one at a
time; the report has to consist of exactly the lines that belong to it.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    MethodOptions,
)

from generator import upstream
from generator.upstream import PROTO_FILE, SCHEMA, Difference, UnavailableError

Document = dict[str, Any]
Files = dict[str, FileDescriptorProto]
Lines = list[tuple[str, str, str]]
"""Of each expected line: where and what, what the schema says, what the vendor says."""

# One worker downloads the vendor's package, reads it and keeps it.
pytestmark = pytest.mark.xdist_group("upstream")

WHEEL_NAME = "gitpod_sdk-1.2.0-py3-none-any.whl"


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The vendor's package, downloaded if this is a fresh clone."""
    return upstream.find_wheel()


@pytest.fixture(scope="session")
def published(wheel: Path) -> Files:
    return upstream.read_wheel(wheel)


@pytest.fixture(scope="session")
def theirs(published: Files) -> upstream.Service:
    return upstream.read_descriptor(published)


@pytest.fixture(scope="session")
def written() -> Document:
    document: Document = yaml.safe_load(SCHEMA.read_bytes())
    return document


@pytest.fixture
def files(published: Files) -> Files:
    """A descriptor to plant differences in."""
    return copy.deepcopy(published)


@pytest.fixture
def document(written: Document) -> Document:
    """A schema to plant differences in."""
    return copy.deepcopy(written)


def report(document: Mapping[str, Any], theirs: upstream.Service) -> list[str]:
    differences = upstream.compare(upstream.read_schema(document), theirs)
    return [difference.line("gitpod-sdk 1.2.0") for difference in differences]


def written_out(lines: Lines) -> list[str]:
    return [f"{what}: schema says {ours}, gitpod-sdk 1.2.0 says {theirs}" for what, ours, theirs in lines]


def test_the_schema_agrees_with_the_vendor(document: Document, theirs: upstream.Service) -> None:
    assert report(document, theirs) == []


def test_the_whole_service_is_compared(theirs: upstream.Service) -> None:
    assert len(theirs.methods) == 11
    assert len(theirs.messages) == 35
    assert set(theirs.enums) == {
        "PrebuildMetadata.PrebuildTrigger",
        "PrebuildPhase",
        "Principal",
        "WarmPoolPhase",
    }
    assert sum(len(message.fields) for message in theirs.messages.values()) == 91
    nothing = {"x-protobuf-package": "gitpod.v1"}
    assert len(report(nothing, theirs)) == 11 + 35 + 4


def test_a_difference_is_one_readable_line() -> None:
    difference = Difference("PrebuildSpec.timeout", "bound", "300s..7200s", "300s..3600s")
    assert difference.line("gitpod-sdk 1.2.0") == (
        "PrebuildSpec.timeout: bound: schema says 300s..7200s, gitpod-sdk 1.2.0 says 300s..3600s"
    )


# --- differences planted in the schema ---------------------------------------------------------

Path_ = tuple[str, ...]


@dataclass(frozen=True)
class CopyOf:
    """The value that stands elsewhere in the document."""

    path: Path_


ABSENT = object()


def component(name: str, *rest: str) -> Path_:
    return ("components", "schemas", name, *rest)


def field(message: str, name: str, *rest: str) -> Path_:
    return component(message, "properties", name, *rest)


def method(name: str, *rest: str) -> Path_:
    return ("paths", f"/gitpod.v1.PrebuildService/{name}", *rest)


def body(*steps: str) -> Path_:
    return (*steps, "content", "application/json", "schema", "$ref")


def ref(name: str) -> str:
    return f"#/components/schemas/{name}"


def at(document: Document, path: Path_) -> Any:
    node: Any = document
    for step in path:
        node = node[step]
    return node


def plant(document: Document, path: Path_, value: Any) -> None:
    *parents, last = path
    parent = at(document, tuple(parents))
    if value is ABSENT:
        del parent[last]
    elif isinstance(value, CopyOf):
        parent[last] = copy.deepcopy(at(document, value.path))
    else:
        parent[last] = value


def planted(name: str, edits: dict[Path_, Any], lines: Lines) -> Any:
    return pytest.param(edits, lines, id=name)


UUID_FIELD = {"type": "string", "format": "uuid", "x-protobuf-number": 9}
GET = "/gitpod.v1.PrebuildService/GetPrebuild"
FILTER = "ListPrebuildsRequest.Filter"
TRIGGER = "PrebuildMetadata.PrebuildTrigger"
PRINCIPALS = (
    "enum with PRINCIPAL_UNSPECIFIED, PRINCIPAL_ACCOUNT, PRINCIPAL_USER, PRINCIPAL_RUNNER,"
    " PRINCIPAL_ENVIRONMENT, PRINCIPAL_SERVICE_ACCOUNT, PRINCIPAL_RUNNER_MANAGER"
)
UNNAMED = "#/components/schemas/PaginationResponse (which names no protobuf type)"

METHODS = [
    planted(
        "method missing",
        {method("GetPrebuild"): ABSENT},
        [(f"{GET}: method", "none", "GetPrebuildRequest -> GetPrebuildResponse")],
    ),
    planted(
        "method extra",
        {method("PausePrebuild"): CopyOf(method("CancelPrebuild"))},
        [
            (
                "/gitpod.v1.PrebuildService/PausePrebuild: method",
                "CancelPrebuildRequest -> CancelPrebuildResponse",
                "none",
            )
        ],
    ),
    planted(
        "method renamed",
        {
            method("FetchPrebuild"): CopyOf(method("GetPrebuild")),
            method("GetPrebuild"): ABSENT,
        },
        [
            (f"{GET}: method", "none", "GetPrebuildRequest -> GetPrebuildResponse"),
            (
                "/gitpod.v1.PrebuildService/FetchPrebuild: method",
                "GetPrebuildRequest -> GetPrebuildResponse",
                "none",
            ),
        ],
    ),
    planted(
        "method under another service",
        {
            ("paths", "/gitpod.v2.PrebuildService/GetPrebuild"): CopyOf(method("GetPrebuild")),
            method("GetPrebuild"): ABSENT,
        },
        [
            (f"{GET}: method", "none", "GetPrebuildRequest -> GetPrebuildResponse"),
            (
                "/gitpod.v2.PrebuildService/GetPrebuild: method",
                "GetPrebuildRequest -> GetPrebuildResponse",
                "none",
            ),
        ],
    ),
    planted(
        "request of another type",
        {body(*method("GetPrebuild", "post", "requestBody")): ref("GetWarmPoolRequest")},
        [(f"{GET}: request", "GetWarmPoolRequest", "GetPrebuildRequest")],
    ),
    planted(
        "no request",
        {method("GetPrebuild", "post", "requestBody"): ABSENT},
        [(f"{GET}: request", "none", "GetPrebuildRequest")],
    ),
    planted(
        "method without a POST",
        {method("GetPrebuild", "post"): ABSENT},
        [
            (f"{GET}: request", "none", "GetPrebuildRequest"),
            (f"{GET}: response", "none", "GetPrebuildResponse"),
            (f"{GET}: idempotency", "none", "no_side_effects"),
        ],
    ),
    planted(
        "response of another type",
        {body(*method("GetPrebuild", "post", "responses", "200")): ref("GetWarmPoolResponse")},
        [(f"{GET}: response", "GetWarmPoolResponse", "GetPrebuildResponse")],
    ),
    planted(
        "idempotency",
        {method("GetPrebuild", "post", "x-idempotency"): "unsafe"},
        [(f"{GET}: idempotency", "unsafe", "no_side_effects")],
    ),
    planted(
        "idempotency where the vendor promises none",
        {method("CreatePrebuild", "post", "x-idempotency"): "idempotent"},
        [("/gitpod.v1.PrebuildService/CreatePrebuild: idempotency", "idempotent", "unsafe")],
    ),
    planted(
        "no idempotency",
        {method("GetPrebuild", "post", "x-idempotency"): ABSENT},
        [(f"{GET}: idempotency", "none", "no_side_effects")],
    ),
    planted(
        "method deprecated",
        {method("GetPrebuild", "post", "deprecated"): True},
        [(f"{GET}: deprecated", "yes", "no")],
    ),
]

MESSAGES = [
    planted(
        "another package",
        {("x-protobuf-package",): "gitpod.v2"},
        [("the document: package", "gitpod.v2", "gitpod.v1")],
    ),
    planted(
        "message missing",
        {component("PaginationResponse", "x-protobuf-message"): "Page"},
        [
            ("ListPrebuildsResponse.pagination: type", "Page", "PaginationResponse"),
            ("ListWarmPoolsResponse.pagination: type", "Page", "PaginationResponse"),
            ("PaginationResponse: message", "none", "message with nextToken"),
            ("Page: message", "message with nextToken", "none"),
        ],
    ),
    planted(
        "message that names no protobuf type",
        {component("PaginationResponse", "x-protobuf-message"): ABSENT},
        [
            ("ListPrebuildsResponse.pagination: type", UNNAMED, "PaginationResponse"),
            ("ListPrebuildsResponse.pagination: presence", "implicit", "explicit"),
            ("ListWarmPoolsResponse.pagination: type", UNNAMED, "PaginationResponse"),
            ("ListWarmPoolsResponse.pagination: presence", "implicit", "explicit"),
            ("PaginationResponse: message", "none", "message with nextToken"),
        ],
    ),
    planted(
        "message extra",
        {component("Snapshot"): {"type": "object", "x-protobuf-message": "Snapshot"}},
        [("Snapshot: message", "message with nothing", "none")],
    ),
    planted(
        "message twice",
        {component("Copy"): CopyOf(component("PaginationResponse"))},
        [("PaginationResponse (again, as Copy): message", "message with nextToken", "none")],
    ),
    planted(
        "message deprecated",
        {component("Subject", "deprecated"): True},
        [("Subject: deprecated", "yes", "no")],
    ),
    planted(
        "keyword on a message",
        {component("Subject", "minProperties"): 1},
        [("Subject: keyword minProperties", "1", "none")],
    ),
    planted(
        "required field that does not exist",
        {component("Subject", "required"): ["ident"]},
        [("Subject: keyword required", '["ident"]', "none")],
    ),
]

FIELDS = [
    planted(
        "field missing",
        {field("Subject", "principal"): ABSENT},
        [("Subject.principal: field", "none", "Principal = 2")],
    ),
    planted(
        "field extra",
        {field("Subject", "tenantId"): UUID_FIELD},
        [("Subject.tenantId: field", "string = 9", "none")],
    ),
    planted(
        "JSON name",
        {
            field("Subject", "principalKind"): CopyOf(field("Subject", "principal")),
            field("Subject", "principal"): ABSENT,
        },
        [("Subject.principal: JSON name", "principalKind", "principal")],
    ),
    planted(
        "JSON name and number",
        {
            field("Subject", "kind"): {"$ref": ref("Principal"), "x-protobuf-number": 3},
            field("Subject", "principal"): ABSENT,
        },
        [
            ("Subject.principal: field", "none", "Principal = 2"),
            ("Subject.kind: field", "Principal = 3", "none"),
        ],
    ),
    planted(
        "number",
        {field("Subject", "principal", "x-protobuf-number"): 3},
        [("Subject.principal: number", "3", "2")],
    ),
    planted(
        "no number",
        {field("Subject", "principal", "x-protobuf-number"): ABSENT},
        [("Subject.principal: number", "none", "2")],
    ),
    planted(
        "int64 in place of int32",
        {
            field("WarmPoolStatus", "desiredSize", "type"): "string",
            field("WarmPoolStatus", "desiredSize", "format"): "int64",
        },
        [("WarmPoolStatus.desiredSize: type", "int64", "int32")],
    ),
    planted(
        "int32 in place of int64",
        {
            field("PrebuildStatus", "snapshotSizeBytes", "type"): "integer",
            field("PrebuildStatus", "snapshotSizeBytes", "format"): "int32",
        },
        [("PrebuildStatus.snapshotSizeBytes: type", "int32", "int64")],
    ),
    planted(
        "int64 as a JSON number",
        {field("PrebuildStatus", "snapshotSizeBytes", "type"): "integer"},
        [("PrebuildStatus.snapshotSizeBytes: type", "integer of format int64", "int64")],
    ),
    planted(
        "int64 in place of uint64",
        {field("PrebuildSpec", "specVersion", "format"): "int64"},
        [("PrebuildSpec.specVersion: type", "int64", "uint64")],
    ),
    planted(
        "integer of no format",
        {field("WarmPoolStatus", "desiredSize", "format"): ABSENT},
        [("WarmPoolStatus.desiredSize: type", "integer", "int32")],
    ),
    planted(
        "null allowed",
        {field("PrebuildStatus", "failureMessage", "type"): ["string", "null"]},
        [("PrebuildStatus.failureMessage: type", '["string", "null"]', "string")],
    ),
    planted(
        "string in place of a message",
        {field("Prebuild", "spec"): {"type": "string", "x-protobuf-number": 3}},
        [
            ("Prebuild.spec: type", "string", "PrebuildSpec"),
            ("Prebuild.spec: presence", "implicit", "explicit"),
        ],
    ),
    planted(
        "message in place of a string",
        {
            field("PrebuildStatus", "failureMessage"): {
                "$ref": ref("Subject"),
                "x-protobuf-number": 3,
            }
        },
        [
            ("PrebuildStatus.failureMessage: type", "Subject", "string"),
            ("PrebuildStatus.failureMessage: presence", "explicit", "implicit"),
        ],
    ),
    planted(
        "another message",
        {field("Prebuild", "spec", "$ref"): ref("WarmPoolSpec")},
        [("Prebuild.spec: type", "WarmPoolSpec", "PrebuildSpec")],
    ),
    planted(
        "another enum",
        {field("PrebuildStatus", "phase", "$ref"): ref("WarmPoolPhase")},
        [("PrebuildStatus.phase: type", "WarmPoolPhase", "PrebuildPhase")],
    ),
    planted(
        "timestamp as a bare string",
        {field("PrebuildStatus", "completionTime", "format"): ABSENT},
        [
            ("PrebuildStatus.completionTime: type", "string", "google.protobuf.Timestamp"),
            ("PrebuildStatus.completionTime: presence", "implicit", "explicit"),
        ],
    ),
    planted(
        "list in place of one",
        {
            field("PrebuildStatus", "failureMessage", "type"): "array",
            field("PrebuildStatus", "failureMessage", "items"): {"type": "string"},
        },
        [("PrebuildStatus.failureMessage: type", "list of string", "string")],
    ),
    planted(
        "one in place of a list",
        {
            field("ListPrebuildsResponse", "prebuilds"): {
                "$ref": ref("Prebuild"),
                "x-protobuf-number": 2,
            }
        },
        [
            ("ListPrebuildsResponse.prebuilds: type", "Prebuild", "list of Prebuild"),
            ("ListPrebuildsResponse.prebuilds: presence", "explicit", "implicit"),
        ],
    ),
    planted(
        "list of something else",
        {field("ListPrebuildsResponse", "prebuilds", "items", "$ref"): ref("WarmPool")},
        [("ListPrebuildsResponse.prebuilds: type", "list of WarmPool", "list of Prebuild")],
    ),
    planted(
        "map in place of a string",
        {
            field("PrebuildStatus", "failureMessage"): {
                "type": "object",
                "additionalProperties": {"type": "string", "format": "uuid"},
                "x-protobuf-number": 3,
            }
        },
        [
            ("PrebuildStatus.failureMessage: type", "map of string to string", "string"),
            ("PrebuildStatus.failureMessage: each value: format uuid", "yes", "no"),
        ],
    ),
    planted(
        "message without a name of its own",
        {field("PrebuildStatus", "failureMessage", "type"): "object"},
        [("PrebuildStatus.failureMessage: type", "object", "string")],
    ),
    planted(
        "reference to nothing",
        {field("Prebuild", "spec", "$ref"): ref("Nowhere")},
        [
            (
                "Prebuild.spec: type",
                "#/components/schemas/Nowhere (which names no protobuf type)",
                "PrebuildSpec",
            ),
            ("Prebuild.spec: presence", "implicit", "explicit"),
        ],
    ),
    planted(
        "explicit presence dropped",
        {field("WarmPoolSpec", "minSize", "x-presence"): ABSENT},
        [("WarmPoolSpec.minSize: presence", "implicit", "explicit")],
    ),
    planted(
        "explicit presence added",
        {field("WarmPoolStatus", "desiredSize", "x-presence"): "explicit"},
        [("WarmPoolStatus.desiredSize: presence", "explicit", "implicit")],
    ),
    planted(
        "deprecation dropped",
        {field("WarmPoolSpec", "desiredSize", "deprecated"): ABSENT},
        [("WarmPoolSpec.desiredSize: deprecated", "no", "yes")],
    ),
    planted(
        "deprecation added",
        {field("WarmPoolSpec", "minSize", "deprecated"): True},
        [("WarmPoolSpec.minSize: deprecated", "yes", "no")],
    ),
]

ENUMS = [
    planted(
        "enum missing",
        {component("Principal", "x-protobuf-enum"): "PrincipalKind"},
        [
            ("Subject.principal: type", "PrincipalKind", "Principal"),
            (
                "Principal: enum",
                "none",
                PRINCIPALS,
            ),
            (
                "PrincipalKind: enum",
                PRINCIPALS,
                "none",
            ),
        ],
    ),
    planted(
        "enum extra",
        {
            component("Colour"): {
                "type": "string",
                "x-protobuf-enum": "Colour",
                "enum": ["COLOUR_UNSPECIFIED"],
                "x-enum-numbers": {"COLOUR_UNSPECIFIED": 0},
            }
        },
        [("Colour: enum", "enum with COLOUR_UNSPECIFIED", "none")],
    ),
    planted(
        "member missing",
        {
            component("PrebuildTrigger", "enum"): [
                "PREBUILD_TRIGGER_UNSPECIFIED",
                "PREBUILD_TRIGGER_MANUAL",
            ],
            component("PrebuildTrigger", "x-enum-numbers", "PREBUILD_TRIGGER_SCHEDULED"): ABSENT,
        },
        [(f"{TRIGGER}.PREBUILD_TRIGGER_SCHEDULED: member", "none", "2")],
    ),
    planted(
        "member missing but numbered",
        {
            component("PrebuildTrigger", "enum"): [
                "PREBUILD_TRIGGER_UNSPECIFIED",
                "PREBUILD_TRIGGER_MANUAL",
            ],
        },
        [
            (f"{TRIGGER}: keyword x-enum-numbers", '{"PREBUILD_TRIGGER_SCHEDULED": 2}', "none"),
            (f"{TRIGGER}.PREBUILD_TRIGGER_SCHEDULED: member", "none", "2"),
        ],
    ),
    planted(
        "member extra",
        {
            component("PrebuildTrigger", "enum"): [
                "PREBUILD_TRIGGER_UNSPECIFIED",
                "PREBUILD_TRIGGER_MANUAL",
                "PREBUILD_TRIGGER_SCHEDULED",
                "PREBUILD_TRIGGER_PUSH",
            ],
            component("PrebuildTrigger", "x-enum-numbers", "PREBUILD_TRIGGER_PUSH"): 3,
        },
        [(f"{TRIGGER}.PREBUILD_TRIGGER_PUSH: member", "3", "none")],
    ),
    planted(
        "member's number",
        {component("PrebuildTrigger", "x-enum-numbers", "PREBUILD_TRIGGER_SCHEDULED"): 3},
        [(f"{TRIGGER}.PREBUILD_TRIGGER_SCHEDULED: number", "3", "2")],
    ),
    planted(
        "member without a number",
        {component("PrebuildTrigger", "x-enum-numbers", "PREBUILD_TRIGGER_SCHEDULED"): ABSENT},
        [(f"{TRIGGER}.PREBUILD_TRIGGER_SCHEDULED: number", "none", "2")],
    ),
    planted(
        "enum of integers",
        {component("PrebuildTrigger", "type"): "integer"},
        [(f"{TRIGGER}: keyword type", "integer", "none")],
    ),
    planted(
        "enum deprecated",
        {component("PrebuildTrigger", "deprecated"): True},
        [(f"{TRIGGER}: deprecated", "yes", "no")],
    ),
]

TIMEOUT = ("x-formats", "prebuild-timeout")
PERCENTAGE = "PrebuildStatus.snapshotCompletionPercentage"

BOUNDS = [
    planted(
        "shortest duration",
        {(*TIMEOUT, "minimum"): "60s"},
        [("PrebuildSpec.timeout: bound", "60s..7200s", "300s..7200s")],
    ),
    planted(
        "longest duration",
        {(*TIMEOUT, "maximum"): "3600s"},
        [("PrebuildSpec.timeout: bound", "300s..3600s", "300s..7200s")],
    ),
    planted(
        "a nanosecond too long",
        {(*TIMEOUT, "maximum"): "7200.000000001s"},
        [("PrebuildSpec.timeout: bound", "300s..7200.000000001s", "300s..7200s")],
    ),
    planted(
        "no duration at all",
        {(*TIMEOUT, "maximum"): "2h"},
        [("PrebuildSpec.timeout: bound", "300s..2h", "300s..7200s")],
    ),
    planted(
        "no longest duration",
        {(*TIMEOUT, "maximum"): ABSENT},
        [("PrebuildSpec.timeout: bound", "300s..", "300s..7200s")],
    ),
    planted(
        "duration without bounds",
        {field("PrebuildSpec", "timeout", "format"): "protobuf-duration"},
        [("PrebuildSpec.timeout: bound", "none", "300s..7200s")],
    ),
    planted(
        "format that is not declared",
        {TIMEOUT: ABSENT},
        [
            (
                "PrebuildSpec.timeout: type",
                "string of format prebuild-timeout",
                "google.protobuf.Duration",
            ),
            ("PrebuildSpec.timeout: presence", "implicit", "explicit"),
            ("PrebuildSpec.timeout: bound", "none", "300s..7200s"),
        ],
    ),
    planted(
        "format with another base",
        {(*TIMEOUT, "base"): "int64"},
        [
            ("PrebuildSpec.timeout: type", "int64", "google.protobuf.Duration"),
            ("PrebuildSpec.timeout: presence", "implicit", "explicit"),
        ],
    ),
    planted(
        "format with more to it",
        {(*TIMEOUT, "multipleOf"): "60s"},
        [("PrebuildSpec.timeout: keyword multipleOf", "60s", "none")],
    ),
    planted(
        "bounds of a long integer",
        {
            ("x-formats", "snapshot-size"): {"base": "int64", "minimum": "0", "maximum": "0100"},
            field("PrebuildStatus", "snapshotSizeBytes", "format"): "snapshot-size",
        },
        [("PrebuildStatus.snapshotSizeBytes: bound", "0..100", "none")],
    ),
    planted(
        "least integer",
        {field("WarmPoolSpec", "minSize", "minimum"): 1},
        [("WarmPoolSpec.minSize: bound", "1..20", "0..20")],
    ),
    planted(
        "greatest integer",
        {field("WarmPoolSpec", "minSize", "maximum"): 25},
        [("WarmPoolSpec.minSize: bound", "0..25", "0..20")],
    ),
    planted(
        "least integer dropped",
        {field("WarmPoolSpec", "minSize", "minimum"): ABSENT},
        [("WarmPoolSpec.minSize: bound", "..20", "0..20")],
    ),
    planted(
        "integer bounds dropped",
        {
            field("WarmPoolSpec", "minSize", "minimum"): ABSENT,
            field("WarmPoolSpec", "minSize", "maximum"): ABSENT,
        },
        [("WarmPoolSpec.minSize: bound", "none", "0..20")],
    ),
    planted(
        "integer bounds added",
        {field("WarmPoolStatus", "desiredSize", "minimum"): 0},
        [("WarmPoolStatus.desiredSize: bound", "0..", "none")],
    ),
    planted(
        "exclusive bounds",
        {
            field("PrebuildStatus", "snapshotCompletionPercentage", "exclusiveMinimum"): 0,
            field("PrebuildStatus", "snapshotCompletionPercentage", "exclusiveMaximum"): 100,
        },
        [(f"{PERCENTAGE}: bound", "0 and >0..100 and <100", "0..100")],
    ),
    planted(
        "most items",
        {field("ListPrebuildsRequestFilter", "phases", "maxItems"): 12},
        [(f"{FILTER}.phases: number of items", "..12", "..10")],
    ),
    planted(
        "most items dropped",
        {field("ListPrebuildsRequestFilter", "phases", "maxItems"): ABSENT},
        [(f"{FILTER}.phases: number of items", "none", "..10")],
    ),
    planted(
        "least items added",
        {field("ListPrebuildsRequestFilter", "phases", "minItems"): 1},
        [(f"{FILTER}.phases: number of items", "1..10", "..10")],
    ),
    planted(
        "unique items added",
        {field("ListPrebuildsRequestFilter", "phases", "uniqueItems"): True},
        [(f"{FILTER}.phases: unique items", "yes", "no")],
    ),
    planted(
        "uuid dropped",
        {field("Prebuild", "id", "format"): ABSENT},
        [("Prebuild.id: format uuid", "no", "yes")],
    ),
    planted(
        "uuid added",
        {field("PaginationRequest", "token", "format"): "uuid"},
        [("PaginationRequest.token: format uuid", "yes", "no")],
    ),
    planted(
        "uuid of the items dropped",
        {field("ListPrebuildsRequestFilter", "projectIds", "items", "format"): ABSENT},
        [(f"{FILTER}.projectIds: each item: format uuid", "no", "yes")],
    ),
    planted(
        "uri dropped",
        {field("PrebuildStatus", "logUrl", "format"): ABSENT},
        [("PrebuildStatus.logUrl: format uri", "no", "yes")],
    ),
    planted(
        "uri in place of uuid",
        {field("Prebuild", "id", "format"): "uri"},
        [("Prebuild.id: format uuid", "no", "yes"), ("Prebuild.id: format uri", "yes", "no")],
    ),
    planted(
        "required dropped",
        {component("GetPrebuildRequest", "required"): ABSENT},
        [("GetPrebuildRequest.prebuildId: required", "no", "yes")],
    ),
    planted(
        "required added",
        {component("PaginationRequest", "required"): ["token"]},
        [("PaginationRequest.token: required", "yes", "no")],
    ),
    planted(
        "always set dropped",
        {field("PrebuildStatus", "phase", "x-always-set"): ABSENT},
        [("PrebuildStatus.phase: required", "no", "yes")],
    ),
    planted(
        "always set added",
        {field("PrebuildStatus", "logUrl", "x-always-set"): True},
        [("PrebuildStatus.logUrl: required", "yes", "no")],
    ),
    planted(
        "zero no longer ignored",
        {field("Subject", "id", "x-ignore-zero"): ABSENT},
        [("Subject.id: zero ignored", "no", "yes")],
    ),
    planted(
        "zero ignored",
        {field("Prebuild", "id", "x-ignore-zero"): True},
        [("Prebuild.id: zero ignored", "yes", "no")],
    ),
    planted(
        "length",
        {
            field("PaginationRequest", "token", "minLength"): 1,
            field("PaginationRequest", "token", "maxLength"): 20,
        },
        [("PaginationRequest.token: length", "1..20", "none")],
    ),
    planted(
        "pattern",
        {field("PaginationRequest", "token", "pattern"): "^[a-z]+$"},
        [("PaginationRequest.token: pattern", "^[a-z]+$", "none")],
    ),
]

NOT_OF_THE_DESCRIPTOR = [
    planted(
        f"{keyword} on {name}",
        {field("WarmPoolSpec", name, keyword): value},
        [(f"WarmPoolSpec.{name}: keyword {keyword}", said, "none")],
    )
    for name, keyword, value, said in [
        ("minSize", "multipleOf", 5, "5"),
        ("minSize", "const", 5, "5"),
        ("minSize", "default", 1, "1"),
        ("minSize", "minLength", 1, "1"),  # means nothing on a number
        ("minSize", "x-surprise", "!", "!"),
        ("specVersion", "minimum", 1, "1"),  # means nothing on a string
        ("snapshotId", "enum", ["a", "b"], '["a", "b"]'),
        ("desiredPhase", "const", "WARM_POOL_PHASE_READY", "WARM_POOL_PHASE_READY"),
        ("desiredPhase", "not", {"type": "null"}, '{"type": "null"}'),
    ]
]


@pytest.mark.parametrize(("edits", "lines"), [*METHODS, *MESSAGES, *FIELDS, *ENUMS, *BOUNDS, *NOT_OF_THE_DESCRIPTOR])
def test_a_difference_in_the_schema_is_reported(
    document: Document, theirs: upstream.Service, edits: dict[Path_, Any], lines: Lines
) -> None:
    for path, value in edits.items():
        plant(document, path, value)
    assert report(document, theirs) == written_out(lines)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param((*TIMEOUT, "minimum"), "300.000s", id="a duration with superfluous zeros"),
        pytest.param(field("WarmPoolSpec", "minSize", "maximum"), 20.0, id="a number with a point"),
        pytest.param(component("WarmPoolSpec", "x-ordered"), ABSENT, id="x-ordered"),
        pytest.param(component("ConnectCode", "enum"), ["canceled"], id="the error of Connect"),
        pytest.param(component("Subject", "title"), "Who", id="words about a message"),
        pytest.param(field("Subject", "id", "examples"), ["a"], id="words about a field"),
    ],
)
def test_what_says_nothing_else_is_no_difference(
    document: Document, theirs: upstream.Service, path: Path_, value: Any
) -> None:
    plant(document, path, value)
    assert report(document, theirs) == []


# --- differences planted in the descriptor -----------------------------------------------------
#
# Options are planted in their wire format, as the module under test finds them, so that rules can
# be planted that no release of buf.validate has declared yet.

VALIDATE = 1159  # the number of the buf.validate extensions
CEL, REQUIRED, IGNORE, INT32, STRING, REPEATED, TIMESTAMP = 23, 25, 27, 3, 14, 18, 22


def number(field_number: int, value: int) -> bytes:
    return _varint(field_number << 3) + _varint(value)


def nested(field_number: int, content: bytes) -> bytes:
    return _varint(field_number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def find_message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(each for each in file.message_type if each.name == name)


def find_field(file: FileDescriptorProto, message: str, name: str) -> FieldDescriptorProto:
    return next(each for each in find_message(file, message).field if each.name == name)


def find_method(file: FileDescriptorProto, name: str) -> MethodDescriptorProto:
    return next(each for each in file.service[0].method if each.name == name)


def find_enum(file: FileDescriptorProto, name: str) -> EnumDescriptorProto:
    return next(each for each in file.enum_type if each.name == name)


Plant = Callable[[FileDescriptorProto], object]


def option(message: str, name: str, content: bytes) -> Plant:
    """Something more among the options of a field."""
    return lambda file: find_field(file, message, name).options.MergeFromString(content)


def rule(message: str, name: str, content: bytes) -> Plant:
    """Something more among the validation rules of a field."""
    return option(message, name, nested(VALIDATE, content))


def at_vendor(name: str, plant: Plant, lines: Lines) -> Any:
    return pytest.param(plant, lines, id=name)


def make_oneof(file: FileDescriptorProto) -> None:
    message = find_message(file, "PrebuildSpec")
    oneof = message.oneof_decl.add(name="limit")
    oneof.options.MergeFromString(nested(VALIDATE, number(1, 1)))
    find_field(file, "PrebuildSpec", "timeout").oneof_index = 0


def make_map(file: FileDescriptorProto) -> None:
    """Turns PrebuildStatus.failureMessage into a map."""
    message = find_message(file, "PrebuildStatus")
    entry = message.nested_type.add(name="FailureMessageEntry")
    entry.options.map_entry = True
    for index, name in enumerate(("key", "value"), start=1):
        entry.field.add(
            name=name,
            number=index,
            type=FieldDescriptorProto.TYPE_STRING,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
    changed = find_field(file, "PrebuildStatus", "failure_message")
    changed.type = FieldDescriptorProto.TYPE_MESSAGE
    changed.label = FieldDescriptorProto.LABEL_REPEATED
    changed.type_name = ".gitpod.v1.PrebuildStatus.FailureMessageEntry"


def add_message(file: FileDescriptorProto) -> None:
    """A message that nothing refers to, with one nested in it."""
    message = file.message_type.add(name="Snapshot")
    message.nested_type.add(name="Layer")


def deprecate_service(file: FileDescriptorProto) -> None:
    file.service[0].options.deprecated = True


def deprecate_message(file: FileDescriptorProto) -> None:
    find_message(file, "Prebuild").options.deprecated = True


def deprecate_method(file: FileDescriptorProto) -> None:
    find_method(file, "GetPrebuild").options.deprecated = True


def deprecate_member(file: FileDescriptorProto) -> None:
    find_enum(file, "WarmPoolPhase").value[3].options.deprecated = True


def deprecate_enum(file: FileDescriptorProto) -> None:
    find_enum(file, "WarmPoolPhase").options.deprecated = True


def allow_aliases(file: FileDescriptorProto) -> None:
    """The option asks for a member to make use of it."""
    enum = find_enum(file, "WarmPoolPhase")
    enum.options.allow_alias = True
    enum.value.add(name="WARM_POOL_PHASE_GONE", number=50)


def add_enum(file: FileDescriptorProto) -> None:
    """An enum that nothing refers to."""
    file.enum_type.add(name="Colour").value.add(name="COLOUR_UNSPECIFIED", number=0)


def answer_from_another_file(file: FileDescriptorProto) -> None:
    find_method(file, "DeletePrebuild").output_type = ".gitpod.v1.GetIDTokenResponse"


def make_boolean(file: FileDescriptorProto) -> None:
    changed = find_field(file, "PrebuildStatus", "failure_message")
    changed.type = FieldDescriptorProto.TYPE_BOOL


def make_idempotent(file: FileDescriptorProto) -> None:
    find_method(file, "CancelPrebuild").options.idempotency_level = MethodOptions.IDEMPOTENT


def stream_the_response(file: FileDescriptorProto) -> None:
    find_method(file, "GetPrebuild").server_streaming = True


def stream_the_request(file: FileDescriptorProto) -> None:
    find_method(file, "GetPrebuild").client_streaming = True


def add_field(file: FileDescriptorProto) -> None:
    find_message(file, "Prebuild").field.add(
        name="display_name",
        json_name="displayName",
        number=5,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )


def message_rule(file: FileDescriptorProto) -> None:
    expression = nested(3, nested(1, b"sizes") + nested(3, b"this.min <= this.max"))
    find_message(file, "WarmPoolSpec").options.MergeFromString(nested(VALIDATE, expression))


@pytest.mark.parametrize(
    ("plant_in", "lines"),
    [
        at_vendor(
            "a rule that the check does not understand",
            rule("Prebuild", "id", nested(STRING, nested(7, b"env-"))),
            [("Prebuild.id: rule string.prefix", "none", "env-")],
        ),
        at_vendor(
            "a rule that the vendor's own files do not declare",
            rule("Prebuild", "id", nested(STRING, number(999, 1))),
            [("Prebuild.id: rule string.999", "none", "something undeclared")],
        ),
        at_vendor(
            "an option that the vendor's own files do not declare",
            option("Prebuild", "id", number(50001, 1)),
            [("Prebuild.id: option 50001", "none", "something undeclared")],
        ),
        at_vendor(
            "an option that the schema cannot state",
            option("Prebuild", "id", number(16, 1)),
            [("Prebuild.id: option debug_redact", "no", "yes")],
        ),
        at_vendor(
            "an expression on a field",
            rule("Prebuild", "id", nested(CEL, nested(1, b"id") + nested(3, b"this != ''"))),
            [("Prebuild.id: rule cel", "none", """[{id: "id" expression: "this != \\'\\'"}]""")],
        ),
        at_vendor(
            "an expression on a message",
            message_rule,
            [
                (
                    "WarmPoolSpec: option (buf.validate.message).cel",
                    "none",
                    '[{id: "sizes" expression: "this.min <= this.max"}]',
                )
            ],
        ),
        at_vendor(
            "another kind of ignoring",
            rule("Prebuild", "id", number(IGNORE, 3)),
            [("Prebuild.id: rule ignore", "none", "IGNORE_ALWAYS")],
        ),
        at_vendor(
            "a timestamp compared with the epoch",
            rule("PrebuildStatus", "completion_time", nested(TIMESTAMP, nested(5, b""))),
            [("PrebuildStatus.completionTime: rule timestamp.gt", "none", "{}")],
        ),
        at_vendor(
            "a rule on the items of a list",
            rule(
                "ListPrebuildsResponse",
                "prebuilds",
                nested(REPEATED, number(1, 2) + nested(4, number(REQUIRED, 1))),
            ),
            [
                ("ListPrebuildsResponse.prebuilds: number of items", "none", "2.."),
                ("ListPrebuildsResponse.prebuilds: each item: required", "no", "yes"),
            ],
        ),
        at_vendor(
            "a set of allowed integers",
            rule("WarmPoolStatus", "desired_size", nested(INT32, number(6, 1) + number(6, 3))),
            [("WarmPoolStatus.desiredSize: rule int32.in", "none", "[1, 3]")],
        ),
        at_vendor(
            "exclusive bounds",
            rule("WarmPoolStatus", "desired_size", nested(INT32, number(4, 0) + number(2, 30))),
            [("WarmPoolStatus.desiredSize: bound", "none", "1..29")],
        ),
        at_vendor(
            "a oneof",
            make_oneof,
            [
                ("PrebuildSpec: oneof limit", "none", "timeout"),
                ("PrebuildSpec: option (buf.validate.oneof).required", "no", "yes"),
            ],
        ),
        at_vendor(
            "a map",
            make_map,
            [("PrebuildStatus.failureMessage: type", "string", "map of string to string")],
        ),
        at_vendor(
            "a message of no use yet",
            add_message,
            [
                ("Snapshot: message", "none", "message with nothing"),
                ("Snapshot.Layer: message", "none", "message with nothing"),
            ],
        ),
        at_vendor(
            "a new field",
            add_field,
            [("Prebuild.displayName: field", "none", "string = 5")],
        ),
        at_vendor(
            "a deprecated service",
            deprecate_service,
            [("the document: option deprecated", "no", "yes")],
        ),
        at_vendor(
            "a deprecated message",
            deprecate_message,
            [("Prebuild: deprecated", "no", "yes")],
        ),
        at_vendor(
            "a deprecated method",
            deprecate_method,
            [(f"{GET}: deprecated", "no", "yes")],
        ),
        at_vendor(
            "a deprecated enum member",
            deprecate_member,
            [("WarmPoolPhase.WARM_POOL_PHASE_DEGRADED: deprecated", "no", "yes")],
        ),
        at_vendor(
            "a deprecated enum",
            deprecate_enum,
            [("WarmPoolPhase: deprecated", "no", "yes")],
        ),
        at_vendor(
            "two members of one number",
            allow_aliases,
            [
                ("WarmPoolPhase: option allow_alias", "no", "yes"),
                ("WarmPoolPhase.WARM_POOL_PHASE_GONE: member", "none", "50"),
            ],
        ),
        at_vendor(
            "an enum of no use yet",
            add_enum,
            [("Colour: enum", "none", "enum with COLOUR_UNSPECIFIED")],
        ),
        at_vendor(
            "a response that another file declares",
            answer_from_another_file,
            [
                (
                    "/gitpod.v1.PrebuildService/DeletePrebuild: response",
                    "DeletePrebuildResponse",
                    "GetIDTokenResponse",
                ),
                ("GetIDTokenResponse: message", "none", "message with token"),
            ],
        ),
        at_vendor(
            "a field of another type",
            make_boolean,
            [("PrebuildStatus.failureMessage: type", "string", "bool")],
        ),
        at_vendor(
            "an idempotent method",
            make_idempotent,
            [("/gitpod.v1.PrebuildService/CancelPrebuild: idempotency", "unsafe", "idempotent")],
        ),
        at_vendor(
            "a streamed response",
            stream_the_response,
            [(f"{GET}: streamed response", "no", "yes")],
        ),
        at_vendor(
            "a streamed request",
            stream_the_request,
            [(f"{GET}: streamed request", "no", "yes")],
        ),
    ],
)
def test_a_difference_at_the_vendor_is_reported(
    document: Document, files: Files, plant_in: Plant, lines: Lines
) -> None:
    plant_in(files[PROTO_FILE])
    assert report(document, upstream.read_descriptor(files)) == written_out(lines)


SIZE = "desiredSize"


@pytest.mark.parametrize(
    ("plant_in", "edits"),
    [
        pytest.param(
            rule("PrebuildStatus", "failure_message", nested(STRING, number(2, 1) + number(3, 9))),
            {
                field("PrebuildStatus", "failureMessage", "minLength"): 1,
                field("PrebuildStatus", "failureMessage", "maxLength"): 9,
            },
            id="length",
        ),
        pytest.param(
            rule("PrebuildStatus", "failure_message", nested(STRING, nested(6, b"^[a-z]$"))),
            {field("PrebuildStatus", "failureMessage", "pattern"): "^[a-z]$"},
            id="pattern",
        ),
        pytest.param(
            rule("WarmPoolStatus", "desired_size", nested(INT32, number(4, 0) + number(2, 30))),
            {
                field("WarmPoolStatus", SIZE, "exclusiveMinimum"): 0,
                field("WarmPoolStatus", SIZE, "exclusiveMaximum"): 30,
            },
            id="exclusive bounds",
        ),
        pytest.param(
            rule("ListPrebuildsResponse", "prebuilds", nested(REPEATED, number(1, 0) + number(3, 1))),
            {
                field("ListPrebuildsResponse", "prebuilds", "minItems"): 0,
                field("ListPrebuildsResponse", "prebuilds", "uniqueItems"): True,
            },
            id="items",
        ),
        pytest.param(
            rule("PrebuildSpec", "timeout", nested(21, nested(4, number(2, 500_000_000)))),
            {(*TIMEOUT, "maximum"): "7200.5s"},
            id="half a second",
        ),
        pytest.param(
            rule("PrebuildStatus", "failure_message", nested(STRING, number(22, 0))),
            {},
            id="a rule that is off",
        ),
        pytest.param(
            deprecate_method,
            {method("GetPrebuild", "post", "deprecated"): True},
            id="deprecated method",
        ),
        pytest.param(
            deprecate_message,
            {component("Prebuild", "deprecated"): True},
            id="deprecated message",
        ),
        pytest.param(
            make_idempotent,
            {method("CancelPrebuild", "post", "x-idempotency"): "idempotent"},
            id="idempotent method",
        ),
        pytest.param(
            make_boolean,
            {field("PrebuildStatus", "failureMessage", "type"): "boolean"},
            id="boolean",
        ),
        pytest.param(
            make_map,
            {
                field("PrebuildStatus", "failureMessage", "type"): "object",
                field("PrebuildStatus", "failureMessage", "additionalProperties"): {"type": "string"},
            },
            id="map",
        ),
    ],
)
def test_what_both_sides_state_is_no_difference(
    document: Document, files: Files, plant_in: Plant, edits: dict[Path_, Any]
) -> None:
    plant_in(files[PROTO_FILE])
    for path, value in edits.items():
        plant(document, path, value)
    assert report(document, upstream.read_descriptor(files)) == []


def test_a_later_name_for_ignoring_zero_is_understood(document: Document, files: Files) -> None:
    names = find_enum(files["buf/validate/validate.proto"], "Ignore").value
    assert names[1].name == "IGNORE_IF_UNPOPULATED"
    names[1].name = "IGNORE_IF_ZERO_VALUE"
    assert report(document, upstream.read_descriptor(files)) == []


# --- the command -------------------------------------------------------------------------------


SCOPE = "gitpod-sdk 1.2.0 (11 methods, 35 messages, 4 enums)"

SMALL = ("--schema", str(Path(__file__).parent / "tiny.yaml"))
"""Another schema, for where it comes to no comparison: it is read more quickly."""


def refuse(directory: Path) -> None:
    raise UnavailableError("the network is down")


def unexpected(directory: Path) -> None:
    pytest.fail(f"nothing was to be fetched into {directory}")


def test_agreement_is_success(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upstream.main([], fetch=unexpected) == 0
    summary = f"0 differences between prebuild_service.yaml and {SCOPE}\n"
    assert capsys.readouterr().out == summary


def test_the_module_is_a_command(wheel: Path) -> None:
    command = [sys.executable, "-m", "generator.upstream", "--wheel", str(wheel)]
    run = subprocess.run(command, cwd=upstream.ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith(f"{SCOPE}\n")


def test_differences_are_printed_and_counted(
    document: Document, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(document, (*TIMEOUT, "maximum"), "3600s")
    plant(document, field("Prebuild", "id", "format"), ABSENT)
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(document))
    assert upstream.main(["--schema", str(changed)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Prebuild.id: format uuid: schema says no, gitpod-sdk 1.2.0 says yes",
        "PrebuildSpec.timeout: bound: schema says 300s..3600s, gitpod-sdk 1.2.0 says 300s..7200s",
        f"2 differences between changed.yaml and {SCOPE}",
    ]


def test_another_release_is_called_by_its_version(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = shutil.copy(wheel, tmp_path / WHEEL_NAME.replace("1.2.0", "1.3.0"))
    assert upstream.main(["--wheel", str(newer)], fetch=unexpected) == 0
    assert "and gitpod-sdk 1.3.0 (" in capsys.readouterr().out


def test_a_wheel_that_cannot_be_had_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upstream.main(SMALL, cache=tmp_path, fetch=refuse) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "The vendor's package cannot be read: the network is down\n" in output.err
    command = "python -m pip download --no-deps --only-binary=:all:"
    assert f"{command} --dest {tmp_path} gitpod-sdk==1.2.0\n" in output.err
    assert "--wheel" in output.err


def test_a_fetch_that_brings_nothing_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upstream.main(SMALL, cache=tmp_path, fetch=lambda directory: None) == 2
    assert f"there is no gitpod_sdk-1.2.0-*.whl in {tmp_path}\n" in capsys.readouterr().err


def test_a_wheel_is_fetched_once(wheel: Path, tmp_path: Path) -> None:
    cache = tmp_path / "not" / "yet"

    def fetch(directory: Path) -> None:
        directory.mkdir(parents=True)
        shutil.copy(wheel, directory)

    assert upstream.main([], cache=cache, fetch=fetch) == 0
    assert upstream.main([], cache=cache, fetch=unexpected) == 0


def test_pip_downloads_the_wheel(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    found = upstream.find_wheel(tmp_path / "cache")
    assert found.parent == tmp_path / "cache"
    assert found.read_bytes() == wheel.read_bytes()


def test_a_complaint_of_pip_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UnavailableError, match=r"No matching distribution found for gitpod-sdk==1\.2\.0"):
        upstream.download(tmp_path)


def rewritten(wheel: Path, into: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of the wheel with other content in its files; None leaves a file out."""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(into / WHEEL_NAME, "w") as new:
        for name in old.namelist():
            if (content := change(name, old.read(name))) is not None:
                new.writestr(name, content)
    return into / WHEEL_NAME


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no gitpod/v1/identity_pb2.py"),
        (b"x = 1\n", "gitpod/v1/identity_pb2.py of {} has 0 descriptors, not one"),
        (
            b"pool.AddSerializedFile(b'\\xff')\n",
            "gitpod/v1/identity_pb2.py of {} has no descriptor",
        ),
        (b"def\n", "gitpod/v1/identity_pb2.py of {} is no Python"),
    ],
)
def test_a_package_of_another_make_is_explained(
    wheel: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    reason: str,
) -> None:
    odd = rewritten(wheel, tmp_path, lambda name, old: content if name.endswith("identity_pb2.py") else old)
    assert upstream.main([*SMALL, "--wheel", str(odd)]) == 2
    assert reason.format(odd) in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"<html>"])
def test_a_damaged_wheel_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    damaged = tmp_path / WHEEL_NAME
    if content is not None:
        damaged.write_bytes(content)
    assert upstream.main([*SMALL, "--wheel", str(damaged)]) == 2
    assert f"{damaged} cannot be opened" in capsys.readouterr().err


def test_a_schema_that_cannot_be_read_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.yaml"
    assert upstream.main(["--schema", str(missing)], fetch=unexpected) == 2
    assert f"{missing}: #: cannot be read" in capsys.readouterr().err


def test_the_vendors_code_is_never_run(wheel: Path, tmp_path: Path) -> None:
    def booby_trap(name: str, source: bytes) -> bytes:
        return b"raise SystemExit('was run')\n" + source if name.endswith(".py") else source

    trapped = rewritten(wheel, tmp_path, booby_trap)
    assert upstream.main(["--wheel", str(trapped)]) == 0
    assert not [name for name in sys.modules if name.split(".")[0] in ("buf", "gitpod")]
