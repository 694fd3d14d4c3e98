"""The descriptor set that is made of a schema: names, numbers, types, presence, and that protobuf works with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from generator import descriptors, document, spec
from generator.problems import PipelineError

from .conftest import Schema

REPOSITORY = Path(__file__).parents[2]

Field = descriptor_pb2.FieldDescriptorProto

# One field of each kind, in a message that holds another message and an enum.
MESSAGES = """
Kinds:
  type: object
  x-protobuf-message: Kinds
  properties:
    text: {type: string, x-protobuf-number: 1}
    key: {type: string, format: uuid, x-protobuf-number: 2}
    link: {type: string, format: uri, x-protobuf-number: 3}
    blob: {type: string, format: byte, x-protobuf-number: 4}
    int32: {type: integer, format: int32, x-protobuf-number: 5}
    uint32: {type: integer, format: uint32, x-protobuf-number: 6}
    int64: {type: string, format: int64, x-protobuf-number: 7}
    uint64: {type: string, format: uint64, x-protobuf-number: 8}
    flag: {type: boolean, x-protobuf-number: 9}
    double: {type: number, format: double, x-protobuf-number: 10}
    float: {type: number, format: float, x-protobuf-number: 11}
    moment: {type: string, format: date-time, x-protobuf-number: 12}
    span: {type: string, format: protobuf-duration, x-protobuf-number: 13}
    brewTime: {type: string, format: brew-time, x-protobuf-number: 14}
    anything: {x-protobuf-number: 15}
    tea: {$ref: '#/components/schemas/TeaKind', x-protobuf-number: 16}
    inner: {$ref: '#/components/schemas/KindsInner', x-protobuf-number: 17}
    mood: {$ref: '#/components/schemas/KindsMood', x-protobuf-number: 18}
    from: {type: string, deprecated: true, x-protobuf-number: 1000}
KindsInner:
  type: object
  x-protobuf-message: Kinds.Inner
  properties:
    deep: {$ref: '#/components/schemas/KindsInnerDeep', x-protobuf-number: 1}
KindsInnerDeep:
  type: object
  x-protobuf-message: Kinds.Inner.Deep
  properties:
    again: {$ref: '#/components/schemas/Kinds', x-protobuf-number: 1}
KindsMood:
  type: string
  enum: [MOOD_GOOD, MOOD_UNSPECIFIED, MOOD_BAD]
  x-protobuf-enum: Kinds.Mood
  x-enum-numbers: {MOOD_GOOD: 7, MOOD_UNSPECIFIED: 0, MOOD_BAD: -1}
Many:
  type: object
  x-protobuf-message: Many
  properties:
    texts: {type: array, items: {type: string}, x-protobuf-number: 1}
    moments: {type: array, items: {type: string, format: date-time}, x-protobuf-number: 2}
    teas: {type: array, items: {$ref: '#/components/schemas/TeaKind'}, x-protobuf-number: 3}
    inners: {type: array, items: {$ref: '#/components/schemas/KindsInner'}, x-protobuf-number: 4}
    textByName: {type: object, additionalProperties: {type: string}, x-protobuf-number: 5}
    spanByName: {type: object, additionalProperties: {type: string, format: protobuf-duration}, x-protobuf-number: 6}
    teaByName: {type: object, additionalProperties: {$ref: '#/components/schemas/TeaKind'}, x-protobuf-number: 7}
    innerByName: {type: object, additionalProperties: {$ref: '#/components/schemas/KindsInner'}, x-protobuf-number: 8}
    sizeByName: {type: object, additionalProperties: {type: string, format: int64}, x-protobuf-number: 9}
Explicit:
  type: object
  x-protobuf-message: Explicit
  properties:
    plain: {type: integer, format: int32, x-protobuf-number: 1}
    pageSize: {type: integer, format: int32, x-presence: explicit, x-protobuf-number: 2}
    tea: {$ref: '#/components/schemas/TeaKind', x-presence: explicit, x-protobuf-number: 3}
    moment: {type: string, format: date-time, x-protobuf-number: 4}
    inner: {$ref: '#/components/schemas/KindsInner', x-protobuf-number: 5}
"""


@pytest.fixture
def schema(tiny: Schema) -> Schema:
    """The small schema with `MESSAGES`."""
    tiny["components"]["schemas"].update(yaml.safe_load(MESSAGES))
    return tiny


def build(schema: Schema) -> descriptor_pb2.FileDescriptorProto:
    return descriptors.build(spec.read(schema)).file[-1]


def message(file: descriptor_pb2.FileDescriptorProto, name: str) -> descriptor_pb2.DescriptorProto:
    return next(item for item in file.message_type if item.name == name)


def message_class(schema: Schema, name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for item in descriptors.build(spec.read(schema)).file:
        pool.Add(item)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def test_the_file_is_named_for_package_and_service(schema: Schema) -> None:
    file = build(schema)
    assert (file.name, file.package, file.syntax) == ("kettle/v1/kettle.proto", "kettle.v1", "proto3")


def test_imports_stand_before_what_needs_them(schema: Schema) -> None:
    files = [file.name for file in descriptors.build(spec.read(schema)).file]
    assert files == [
        "google/protobuf/duration.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/timestamp.proto",
        "kettle/v1/kettle.proto",
    ]
    assert list(build(schema).dependency) == files[:-1]


def test_each_kind_has_its_type(schema: Schema) -> None:
    kinds = message(build(schema), "Kinds")
    assert [(field.name, field.number, field.type, field.type_name) for field in kinds.field] == [
        ("text", 1, Field.TYPE_STRING, ""),
        ("key", 2, Field.TYPE_STRING, ""),
        ("link", 3, Field.TYPE_STRING, ""),
        ("blob", 4, Field.TYPE_BYTES, ""),
        ("int32", 5, Field.TYPE_INT32, ""),
        ("uint32", 6, Field.TYPE_UINT32, ""),
        ("int64", 7, Field.TYPE_INT64, ""),
        ("uint64", 8, Field.TYPE_UINT64, ""),
        ("flag", 9, Field.TYPE_BOOL, ""),
        ("double", 10, Field.TYPE_DOUBLE, ""),
        ("float", 11, Field.TYPE_FLOAT, ""),
        ("moment", 12, Field.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
        ("span", 13, Field.TYPE_MESSAGE, ".google.protobuf.Duration"),
        ("brew_time", 14, Field.TYPE_MESSAGE, ".google.protobuf.Duration"),
        ("anything", 15, Field.TYPE_MESSAGE, ".google.protobuf.Value"),
        ("tea", 16, Field.TYPE_ENUM, ".kettle.v1.TeaKind"),
        ("inner", 17, Field.TYPE_MESSAGE, ".kettle.v1.Kinds.Inner"),
        ("mood", 18, Field.TYPE_ENUM, ".kettle.v1.Kinds.Mood"),
        ("from", 1000, Field.TYPE_STRING, ""),
    ]
    assert kinds.field[13].json_name == "brewTime"
    assert [field.name for field in kinds.field if field.options.deprecated] == ["from"]


def test_messages_and_enums_nest_as_their_names_say(schema: Schema) -> None:
    kinds = message(build(schema), "Kinds")
    assert [item.name for item in kinds.nested_type] == ["Inner"]
    assert [item.name for item in kinds.nested_type[0].nested_type] == ["Deep"]
    assert [item.name for item in kinds.enum_type] == ["Mood"]


def test_the_zero_member_comes_first(schema: Schema) -> None:
    mood = message(build(schema), "Kinds").enum_type[0]
    numbers = [(value.name, value.number) for value in mood.value]
    assert numbers == [("MOOD_UNSPECIFIED", 0), ("MOOD_GOOD", 7), ("MOOD_BAD", -1)]


def test_lists_and_maps_are_repeated(schema: Schema) -> None:
    many = message(build(schema), "Many")
    assert {field.label for field in many.field} == {Field.LABEL_REPEATED}
    entries = {entry.name: entry for entry in many.nested_type}
    assert list(entries) == [f"{name}ByNameEntry" for name in ("Text", "Span", "Tea", "Inner", "Size")]
    assert all(entry.options.map_entry for entry in entries.values())
    assert {field.type_name for field in many.field if field.number == 8} == {".kettle.v1.Many.InnerByNameEntry"}
    assert entries["InnerByNameEntry"].field[1].type_name == ".kettle.v1.Kinds.Inner"


def test_explicit_scalars_are_optional_and_nothing_else_is(schema: Schema) -> None:
    explicit = message(build(schema), "Explicit")
    assert [field.name for field in explicit.field if field.proto3_optional] == ["page_size", "tea"]
    assert [oneof.name for oneof in explicit.oneof_decl] == ["_page_size", "_tea"]
    assert [field.oneof_index for field in explicit.field if field.proto3_optional] == [0, 1]
    made = message_class(schema, "kettle.v1.Explicit")
    assert json_format.MessageToDict(made(plain=0, page_size=0, tea=0)) == {"pageSize": 0, "tea": "TEA_UNSPECIFIED"}
    assert made.DESCRIPTOR.fields_by_name["moment"].has_presence
    assert not made.DESCRIPTOR.fields_by_name["plain"].has_presence


def test_what_is_of_no_protobuf_package_is_left_out(schema: Schema) -> None:
    file = build(schema)
    assert "ConnectError" not in {item.name for item in file.message_type}
    assert {item.name for item in file.enum_type} == {"TeaKind"}


def test_the_service_has_its_methods_with_their_idempotency(schema: Schema) -> None:
    schema["paths"]["/kettle.v1.KettleService/Brew"]["post"]["deprecated"] = True
    (service,) = build(schema).service
    assert service.name == "KettleService"
    levels = descriptor_pb2.MethodOptions
    assert [
        (item.name, item.input_type, item.output_type, item.options.idempotency_level, item.options.deprecated)
        for item in service.method
    ] == [
        ("Brew", ".kettle.v1.BrewRequest", ".kettle.v1.BrewResponse", levels.IDEMPOTENCY_UNKNOWN, True),
        ("ListPots", ".kettle.v1.ListPotsRequest", ".kettle.v1.ListPotsResponse", levels.NO_SIDE_EFFECTS, False),
    ]
    schema["paths"]["/kettle.v1.KettleService/Brew"]["post"]["x-idempotency"] = "idempotent"
    assert build(schema).service[0].method[0].options.idempotency_level == levels.IDEMPOTENT


def test_json_survives_the_binary_form(schema: Schema) -> None:
    kinds = {
        "text": "a", "blob": "CgIIHg==", "int32": -5, "uint32": 5, "int64": "-7", "uint64": "18446744073709551615",
        "flag": True, "double": "NaN", "float": 0.5, "moment": "2019-12-27T18:11:19.117Z", "span": "1.500s",
        "brewTime": "90s", "anything": {"a": [1.0, None, "x"]}, "tea": "TEA_BLACK", "mood": "MOOD_BAD", "from": "x",
        "inner": {"deep": {"again": {"text": "b"}}},
    }  # fmt: skip
    many = {
        "texts": ["a", "b"], "moments": ["2019-12-27T18:11:19Z"], "teas": ["TEA_GREEN", "TEA_UNSPECIFIED"],
        "inners": [{}, {"deep": {}}], "textByName": {"a": "b"}, "spanByName": {"a": "1s"},
        "teaByName": {"a": "TEA_GREEN"}, "innerByName": {"a": {}}, "sizeByName": {"a": "7"},
    }  # fmt: skip
    for name, value in (("Kinds", kinds), ("Many", many)):
        made = message_class(schema, f"kettle.v1.{name}")
        binary = json_format.ParseDict(value, made()).SerializeToString()
        assert json_format.MessageToDict(made.FromString(binary)) == value


def test_twice_the_same_bytes(schema: Schema) -> None:
    first, second = (descriptors.build(spec.read(schema)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_a_package_is_no_must(schema: Schema) -> None:
    del schema["x-protobuf-package"]
    file = build(schema)
    assert (file.name, file.package) == ("kettle.proto", "")
    assert message(file, "Kinds").field[16].type_name == ".Kinds.Inner"


SCHEMAS = "#/components/schemas"


@pytest.mark.parametrize(
    ("component", "change", "pointer", "reason"),
    [
        ("Kinds", {"properties": {"a": {"type": "string"}}}, f"{SCHEMAS}/Kinds/properties/a", "no x-protobuf-number"),
        ("KindsInner", {"x-protobuf-message": "Pan.Inner"}, f"{SCHEMAS}/KindsInner", "no protobuf message Pan"),
        ("Many", {"x-protobuf-message": "Kinds"}, f"{SCHEMAS}/Many", "declared twice"),
        ("KindsMood", {"x-protobuf-enum": "Pan.Mood"}, f"{SCHEMAS}/KindsMood", "no protobuf message Pan"),
        ("KindsMood", {"x-enum-numbers": {"MOOD_UNSPECIFIED": 0}}, f"{SCHEMAS}/KindsMood", "MOOD_GOOD has no number"),
        ("KindsMood", {"x-protobuf-enum": None}, f"{SCHEMAS}/Kinds/properties/mood", "no protobuf name"),
        ("BrewRequest", {"x-protobuf-message": None}, f"{SCHEMAS}/BrewRequest", "needs an x-protobuf-message"),
        (
            "Kinds",
            {"properties": {"a": {"type": "string", "format": "odd", "x-protobuf-number": 1}}},
            f"{SCHEMAS}/Kinds/properties/a",
            "no type for a string of the format 'odd'",
        ),
    ],
)
def test_what_protobuf_cannot_say_is_reported_at_its_place(
    schema: Schema, component: str, change: dict[str, Any], pointer: str, reason: str
) -> None:
    schema["components"]["schemas"][component].update(change)
    with pytest.raises(PipelineError) as caught:
        descriptors.build(spec.read(schema))
    assert caught.value.stage == "generate"
    assert (pointer, True) in [(item.pointer, reason in item.reason) for item in caught.value.problems]


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "string", "x-protobuf-number": 1}, "b": {"type": "string", "x-protobuf-number": 1}},
        {"a": {"type": "string", "x-protobuf-number": 0}},
    ],
)
def test_what_protobuf_refuses_is_reported(schema: Schema, properties: dict[str, Any]) -> None:
    schema["components"]["schemas"]["Many"]["properties"] = properties
    with pytest.raises(PipelineError, match="protobuf rejects this: "):
        descriptors.build(spec.read(schema))


# -- The real schema ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> descriptor_pb2.FileDescriptorProto:
    return build(document.load(REPOSITORY / "schema" / "prebuild_service.yaml").data)


def test_the_service_as_the_vendor_declares_it(real: descriptor_pb2.FileDescriptorProto) -> None:
    assert (real.name, real.package) == ("gitpod/v1/prebuild.proto", "gitpod.v1")
    level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    harmless = [item.name for item in real.service[0].method if item.options.idempotency_level == level]
    assert harmless == ["ListPrebuilds", "GetPrebuild", "GetWarmPool", "ListWarmPools"]
    assert len(real.service[0].method) == 11


def test_names_numbers_and_presence_of_a_real_message(real: descriptor_pb2.FileDescriptorProto) -> None:
    pool = message(real, "WarmPoolSpec")
    assert [(field.name, field.json_name, field.number, field.proto3_optional) for field in pool.field] == [
        ("spec_version", "specVersion", 1, False),
        ("desired_size", "desiredSize", 2, False),
        ("snapshot_id", "snapshotId", 3, True),
        ("desired_phase", "desiredPhase", 4, False),
        ("min_size", "minSize", 5, True),
        ("max_size", "maxSize", 6, True),
    ]
    assert [item.name for item in message(real, "ListPrebuildsRequest").nested_type] == ["Filter"]
    assert [item.name for item in message(real, "PrebuildMetadata").enum_type] == ["PrebuildTrigger"]
