"""`make upstream-apply` writes what the vendor's descriptor says into the schema, and changes nothing else in it."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from generator import document, lint, upstream
from generator.upstream import PROTO_FILE, SCHEMA
from generator.yaml_edit import Editor

# One worker downloads the vendor's package, reads it and keeps it.
pytestmark = pytest.mark.xdist_group("upstream")

Field = descriptor_pb2.FieldDescriptorProto
TEXT = SCHEMA.read_text(encoding="utf-8")
SCHEMAS = ["components", "schemas"]
BOUNDS = ("minimum", "maximum", "maxItems", "x-ignore-zero", "deprecated", "x-presence", "x-always-set")


@pytest.fixture(scope="module")
def published() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    return upstream.read_wheel(upstream.find_wheel())


def apply(schema: Path, *source: str) -> int:
    return upstream.main(["--apply", "--schema", str(schema), *source])


def test_nothing_changes_where_nothing_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = tmp_path / "schema.yaml"
    schema.write_text(TEXT)
    assert apply(schema) == 0
    assert schema.read_text() == TEXT
    assert "already says" in capsys.readouterr().out


def without_a_fifth(seed: int) -> str:
    """The schema without a fifth of its fields, members, bounds and numbers."""
    chance = random.Random(seed)
    editor = Editor(TEXT)
    data: dict[str, Any] = document.parse(TEXT, SCHEMA).data
    for name, schema in data["components"]["schemas"].items():
        if "x-protobuf-message" not in schema and "x-protobuf-enum" not in schema:
            continue
        for field, item in schema.get("properties", {}).items():
            place = [*SCHEMAS, name, "properties", field]
            if chance.random() < 0.2:
                editor.remove(place)
                continue
            for key in BOUNDS:
                if key in item and chance.random() < 0.2:
                    editor.remove([*place, key])
        for index, _ in enumerate(schema.get("enum", [])):
            if chance.random() < 0.2:
                editor.remove([*SCHEMAS, name, "enum", str(index)])
    return editor.result()


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(2, 12))])
def test_what_was_removed_comes_back(seed: int, tmp_path: Path) -> None:
    schema = tmp_path / "schema.yaml"
    schema.write_text(without_a_fifth(seed))
    assert schema.read_text().count("\n") < TEXT.count("\n") - 50
    assert apply(schema) == 0
    loaded = document.load(schema)
    lint.lint(loaded)
    assert lint.unwritten(loaded)
    comments = [line for line in TEXT.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in schema.read_text().splitlines() if line.lstrip().startswith("#")] == comments


def planted(published: dict[str, descriptor_pb2.FileDescriptorProto]) -> descriptor_pb2.FileDescriptorSet:
    """The vendor's files with a change of every kind."""
    files = copy.deepcopy(published)
    main = files[PROTO_FILE]
    messages = {message.name: message for message in main.message_type}
    kinds = {
        "a_text": Field.TYPE_STRING, "a_flag": Field.TYPE_BOOL, "a_count": Field.TYPE_INT64,
        "a_size": Field.TYPE_UINT32, "a_ratio": Field.TYPE_DOUBLE, "a_part": Field.TYPE_FLOAT,
        "some_bytes": Field.TYPE_BYTES, "_odd": Field.TYPE_INT32,
    }  # fmt: skip
    for target in (messages["PrebuildSpec"], messages["PrebuildStatus"]):
        for number, (name, kind) in enumerate(kinds.items(), 100):
            json_name = "odd" if name == "_odd" else ""
            add(target, name, number, kind, json_name=json_name)
        add(target, "when", 120, Field.TYPE_MESSAGE, ".google.protobuf.Timestamp")
        add(target, "took", 121, Field.TYPE_MESSAGE, ".google.protobuf.Duration")
        add(target, "owner", 122, Field.TYPE_MESSAGE, ".gitpod.v1.Subject")
        add(target, "phases", 123, Field.TYPE_ENUM, ".gitpod.v1.PrebuildPhase").label = Field.LABEL_REPEATED
    new = main.message_type.add(name="RestartPrebuildRequest")
    new.nested_type.add(name="Reason").field.add(
        name="text", json_name="text", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL
    )
    add(new, "reason", 1, Field.TYPE_MESSAGE, ".gitpod.v1.RestartPrebuildRequest.Reason")
    main.message_type.add(name="RestartPrebuildResponse")
    main.service[0].method.add(
        name="RestartPrebuild",
        input_type=".gitpod.v1.RestartPrebuildRequest",
        output_type=".gitpod.v1.RestartPrebuildResponse",
    ).options.deprecated = True
    phases = next(enum for enum in main.enum_type if enum.name == "PrebuildPhase")
    phases.value.add(name="PREBUILD_PHASE_ARCHIVED", number=95)
    phases.value[1].options.deprecated = True
    messages["Prebuild"].options.deprecated = True
    messages["PrebuildSpec"].field[0].number = 99
    next(field for field in messages["CreateWarmPoolRequest"].field if field.name == "min_size").ClearField("options")
    remove(messages["PrebuildStatus"].field, "warning_message")
    remove(messages["ListPrebuildsRequest"].nested_type[0].field, "creator_ids")
    remove(main.service[0].method, "CreatePrebuildLogsToken")
    for name in ("CreatePrebuildLogsTokenRequest", "CreatePrebuildLogsTokenResponse"):
        remove(main.message_type, name)
    return descriptor_pb2.FileDescriptorSet(file=reversed(files.values()))


def add(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: Any, type_name: str = "", json_name: str = ""
) -> descriptor_pb2.FieldDescriptorProto:
    first, *rest = name.split("_")
    derived = first + "".join(word.capitalize() for word in rest)
    return message.field.add(
        name=name,
        number=number,
        type=kind,
        type_name=type_name or None,
        label=Field.LABEL_OPTIONAL,
        json_name=json_name or derived,
    )


def remove(items: Any, name: str) -> None:
    items.remove(next(item for item in items if item.name == name))


def test_a_change_of_every_kind(
    published: dict[str, descriptor_pb2.FileDescriptorProto], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema, descriptors = tmp_path / "schema.yaml", tmp_path / "vendor.binpb"
    schema.write_text(TEXT)
    descriptors.write_bytes(planted(published).SerializeToString())
    source = "--schema", str(schema), "--descriptors", str(descriptors)
    assert upstream.main([*source]) == 1
    assert apply(schema, "--descriptors", str(descriptors)) == 0, capsys.readouterr().out
    assert "taken for active" in capsys.readouterr().out
    assert upstream.main([*source]) == 0
    api = lint.lint(document.load(schema))
    assert [operation.name for operation in api.operations if operation.deprecated] == ["RestartPrebuild"]
    assert "CreatePrebuildLogsToken" not in {operation.name for operation in api.operations}
    assert api.messages["PrebuildSpec"].field("odd").protobuf_name == "_odd"
    assert api.messages["PrebuildSpec"].field("specVersion").number == 99


@pytest.mark.parametrize("content", [b"\xff\xff", b""])
def test_a_file_without_the_service_is_explained(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vendor.binpb"
    path.write_bytes(content)
    assert upstream.main(["--descriptors", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
