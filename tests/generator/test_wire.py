"""The generated package for servers: what its models take, refuse, keep and write back."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pool, json_format
from pydantic import ValidationError

import prebuild_wire
from generator import document, spec, stamp, wire

from .conftest import Schema, small

# One worker makes the packages.
pytestmark = pytest.mark.xdist_group("wire")

REPOSITORY = Path(__file__).parents[2]
ID = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
MOMENT = "2019-12-27T18:11:19.117Z"

# Messages that are added to the small schema: one field of each kind, with bounds.
KINDS = """
Kinds:
  type: object
  x-protobuf-message: Kinds
  description: One field of each kind. It says "so".
  properties:
    text: {type: string, minLength: 2, maxLength: 4, x-protobuf-number: 1}
    plain: {type: string, x-protobuf-number: 2}
    small: {type: integer, format: int32, minimum: -5, maximum: 5, x-protobuf-number: 3}
    int32: {type: integer, format: int32, x-protobuf-number: 4}
    uint32: {type: integer, format: uint32, x-protobuf-number: 5}
    int64: {type: string, format: int64, x-protobuf-number: 6}
    uint64: {type: string, format: uint64, x-protobuf-number: 7}
    flag: {type: boolean, x-protobuf-number: 8}
    double: {type: number, format: double, minimum: -1.5, maximum: 1.5, x-protobuf-number: 9}
    wide: {type: number, format: double, x-protobuf-number: 10}
    float: {type: number, format: float, x-protobuf-number: 11}
    moment: {type: string, format: date-time, x-protobuf-number: 12}
    span: {type: string, format: protobuf-duration, x-protobuf-number: 13}
    short: {type: string, format: nap, x-protobuf-number: 14}
    count: {type: string, format: dozen, x-protobuf-number: 15}
    key: {type: string, format: uuid, x-protobuf-number: 16}
    link: {type: string, format: uri, x-protobuf-number: 17}
    blob: {type: string, format: byte, x-protobuf-number: 18}
    tea: {$ref: '#/components/schemas/TeaKind', x-protobuf-number: 19}
    pot: {$ref: '#/components/schemas/Pot', x-protobuf-number: 20}
    anything: {x-protobuf-number: 21}
    names:
      {type: array, minItems: 1, maxItems: 2, items: {type: string, minLength: 1, maxLength: 3}, x-protobuf-number: 22}
    sizes: {type: array, items: {type: integer, format: int32, minimum: 1, maximum: 9}, x-protobuf-number: 23}
    teas: {type: array, items: {$ref: '#/components/schemas/TeaKind'}, x-protobuf-number: 24}
    pots: {type: array, items: {$ref: '#/components/schemas/Pot'}, x-protobuf-number: 25}
    labels:
      type: object
      minProperties: 1
      maxProperties: 2
      additionalProperties: {type: string, maxLength: 3}
      x-protobuf-number: 26
    scores: {type: object, additionalProperties: {type: integer, format: int32, maximum: 9}, x-protobuf-number: 27}
    teaOf: {type: object, additionalProperties: {$ref: '#/components/schemas/TeaKind'}, x-protobuf-number: 28}
    potOf: {type: object, additionalProperties: {$ref: '#/components/schemas/Pot'}, x-protobuf-number: 29}
    from: {type: string, deprecated: true, x-protobuf-number: 30}
    moments: {type: array, items: {type: string, format: date-time}, x-protobuf-number: 31}
Presence:
  type: object
  x-protobuf-message: Kinds.Presence
  properties:
    text: {type: string, x-presence: explicit, x-protobuf-number: 1}
    number: {type: integer, format: int32, x-presence: explicit, x-protobuf-number: 2}
    flag: {type: boolean, x-presence: explicit, x-protobuf-number: 3}
    tea: {$ref: '#/components/schemas/TeaKind', x-presence: explicit, x-protobuf-number: 4}
    wide: {type: string, format: int64, x-presence: explicit, x-protobuf-number: 5}
IgnoreZero:
  type: object
  x-protobuf-message: IgnoreZero
  x-ordered: [[low, high]]
  properties:
    key: {type: string, format: uuid, x-ignore-zero: true, x-protobuf-number: 1}
    low: {type: integer, format: int32, minimum: 1, x-ignore-zero: true, x-protobuf-number: 2}
    high: {type: integer, format: int32, minimum: 1, x-ignore-zero: true, x-protobuf-number: 3}
Required:
  type: object
  x-protobuf-message: Required
  required: [text, number, wide, flag, tea, list, map, moment, pot, given]
  properties:
    text: {type: string, x-protobuf-number: 1}
    number: {type: integer, format: int32, x-protobuf-number: 2}
    wide: {type: string, format: uint64, x-protobuf-number: 3}
    flag: {type: boolean, x-protobuf-number: 4}
    tea: {$ref: '#/components/schemas/TeaKind', x-protobuf-number: 5}
    list: {type: array, items: {type: string}, x-protobuf-number: 6}
    map: {type: object, additionalProperties: {type: string}, x-protobuf-number: 7}
    moment: {type: string, format: date-time, x-protobuf-number: 8}
    pot: {$ref: '#/components/schemas/Page', x-protobuf-number: 9}
    given: {type: integer, format: int32, x-presence: explicit, x-protobuf-number: 10}
Page:
  type: object
  x-protobuf-message: Page
  properties: {}
Wide:
  type: object
  x-protobuf-message: Wide
  x-ordered: [[least, most]]
  properties:
    least: {type: string, format: int64, x-presence: explicit, x-protobuf-number: 1}
    most: {type: string, format: int64, x-presence: explicit, x-protobuf-number: 2}
    note: {type: string, x-protobuf-number: 3}
"""

# Names of fields that mean something to Python, to pydantic or to the models. Each has a message to itself.
AWKWARD = ["schema", "copy", "json", "type", "str", "list", "int", "class", "to_json", "field"]

NASTY = 'Ends with \\ and """ and "quotes"'

FORMATS = """
nap: {base: protobuf-duration, minimum: 1.5s, maximum: 90s, description: A nap.}
dozen: {base: uint64, minimum: '12', description: A dozen at least.}
"""

_names = (f"tiny_wire_{number}" for number in itertools.count())

Import = Callable[[Schema], ModuleType]


def parsed(text: str) -> Any:
    return yaml.load(text, Loader=document.Loader)


def generate(schema: Schema, out: Path) -> Path:
    """Make a package as the pipeline does, its stages before and after left out."""
    wire.generate(schema, spec.read(schema), out)
    return out


def load(schema: Schema, folder: Path) -> ModuleType:
    """Make a package of a name of its own and import it, stamped as it is shipped."""
    out = generate(schema, folder / next(_names))
    stamp.format_and_stamp(out)
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module(out.name)
        for module in ("models", "enums", "formats", "operations", "descriptors", "fields"):
            importlib.import_module(f"{out.name}.{module}")
    finally:
        sys.path.remove(str(folder))
    return package


def forget(package: ModuleType) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package.__name__]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def schema() -> Schema:
    """The small schema with `KINDS`."""
    schema = small()
    schema["components"]["schemas"].update(parsed(KINDS))
    schema["x-formats"].update(parsed(FORMATS))
    return schema


@pytest.fixture(scope="module")
def kinds(schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The package of that schema."""
    package = load(schema, tmp_path_factory.mktemp("kinds"))
    yield package
    forget(package)


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The package of the small schema with names and texts that could break it."""
    schema = small()
    schema["info"]["title"] = NASTY
    schema["x-formats"]["brew-time"]["description"] = NASTY
    schemas = schema["components"]["schemas"]
    schemas["Pot"]["description"] = schemas["Pot"]["properties"]["id"]["description"] = NASTY
    schemas["TeaKind"] |= {"description": NASTY, "x-enum-descriptions": {"TEA_GREEN": NASTY}}
    for name in AWKWARD:
        numbers = {"type": "array", "items": {"type": "integer", "format": "int32"}, "x-protobuf-number": 1}
        after = {"type": "array", "items": {"type": "string"}, "x-protobuf-number": 2}
        schemas[message_with(name)] = {
            "type": "object",
            "x-protobuf-message": message_with(name),
            "properties": {name: numbers, "after": after},
        }
    package = load(schema, tmp_path_factory.mktemp("awkward"))
    yield package
    forget(package)


def message_with(name: str) -> str:
    return f"With{name.title().replace('_', '')}"


@pytest.fixture(scope="module")
def real() -> ModuleType:
    """The package of the schema of the service. The pipeline's tests show that it is what the generator makes."""
    for module in ("descriptors", "models", "operations"):
        importlib.import_module(f"prebuild_wire.{module}")
    return prebuild_wire


def python_value(message: Any, field: str) -> object:
    """The value of a field by its JSON name."""
    name = next(name for name, info in type(message).model_fields.items() if field in (name, info.alias))
    return getattr(message, name)


def problems(message: Any, value: object) -> list[tuple[str, str]]:
    """The place and type of each violation."""
    try:
        message.model_validate(value)
    except ValidationError as error:
        return [(".".join(map(str, item["loc"])), item["type"]) for item in error.errors()]
    return []


# -- Single fields -----------------------------------------------------------------------------------------------------

# What is taken, and what becomes of it.
TAKEN: list[tuple[str, object, object]] = [
    ("text", "ab", "ab"),
    ("text", "äöüß", "äöüß"),
    ("text", "😀😀😀😀", "😀😀😀😀"),
    ("plain", "", ""),
    ("small", -5, -5),
    ("small", 5, 5),
    ("small", 5.0, 5),
    ("small", "5", 5),
    ("small", "-5", -5),
    ("small", "5e0", 5),
    ("small", "0.5e1", 5),
    ("small", "50E-1", 5),
    ("int32", -(2**31), -(2**31)),
    ("int32", 2**31 - 1, 2**31 - 1),
    ("int32", 1e2, 100),
    ("uint32", 2**32 - 1, 2**32 - 1),
    ("uint32", 0, 0),
    ("int64", "0", "0"),
    ("int64", 7, "7"),
    ("int64", 7.0, "7"),
    ("int64", "-9223372036854775808", "-9223372036854775808"),
    ("int64", "9223372036854775807", "9223372036854775807"),
    ("int64", "1e3", "1000"),
    ("int64", "-0", "0"),
    ("uint64", "18446744073709551615", "18446744073709551615"),
    ("uint64", 2**64 - 1, "18446744073709551615"),
    ("flag", True, True),
    ("flag", False, False),
    ("double", 1.5, 1.5),
    ("double", -1.5, -1.5),
    ("double", 1, 1.0),
    ("double", "1.5", 1.5),
    ("wide", "Infinity", math.inf),
    ("wide", "-Infinity", -math.inf),
    ("wide", "1e300", 1e300),
    ("float", 3.4028234663852886e38, 3.4028234663852886e38),
    ("moment", MOMENT, MOMENT),
    ("moment", "2019-12-27T18:11:19Z", "2019-12-27T18:11:19Z"),
    ("moment", "2019-12-27T18:11:19.123456789Z", "2019-12-27T18:11:19.123456789Z"),
    ("moment", "2019-12-27T18:11:19+02:00", "2019-12-27T18:11:19+02:00"),
    ("moment", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ("span", "3600s", "3600s"),
    ("span", "+9125115.360s", "+9125115.360s"),
    ("span", "-315576000000s", "-315576000000s"),
    ("span", "0.000000001s", "0.000000001s"),
    ("short", "1.5s", "1.5s"),
    ("short", "90s", "90s"),
    ("short", "90.000000000s", "90.000000000s"),
    ("count", "12", "12"),
    ("count", 12, "12"),
    ("key", ID, ID),
    ("key", ID.upper(), ID.upper()),
    ("key", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"),
    ("link", "https://example.com/%20?a=b#c", "https://example.com/%20?a=b#c"),
    ("blob", "CgIIHg", "CgIIHg"),
    ("blob", "CgIIHg==", "CgIIHg=="),
    ("blob", "-_-_", "-_-_"),
    ("blob", "", ""),
    ("tea", "TEA_GREEN", "TEA_GREEN"),
    ("tea", 1, "TEA_GREEN"),
    ("tea", 1.0, "TEA_GREEN"),
    ("anything", [1, {"a": None}], [1, {"a": None}]),
    ("names", ["abc"], ["abc"]),
    ("names", ["a", "b"], ["a", "b"]),
    ("sizes", [1, "9", 5.0], [1, 9, 5]),
    ("sizes", [], []),
    ("teas", ["TEA_BLACK", 1], ["TEA_BLACK", "TEA_GREEN"]),
    ("labels", {"a": "abc"}, {"a": "abc"}),
    ("scores", {"a": 9, "b": "8"}, {"a": 9, "b": 8}),
    ("teaOf", {"a": 2}, {"a": "TEA_BLACK"}),
    ("from", "here", "here"),
    ("moments", [MOMENT], [MOMENT]),
]

# What is refused, as the rest of the cases have it.
REFUSED: list[tuple[str, object]] = [
    ("text", "a"),
    ("text", "abcde"),
    ("text", ""),
    ("text", 12),
    ("plain", 1),
    ("plain", True),
    ("plain", ["a"]),
    ("plain", "\ud800"),
    ("small", -6),
    ("small", 6),
    ("small", "6"),
    ("small", 5.5),
    ("small", "4.5"),
    ("small", True),
    ("small", False),
    ("small", ""),
    ("small", " 5"),
    ("small", "5 "),
    ("small", "+5"),
    ("small", "05"),
    ("small", "1_0"),
    ("small", "five"),
    ("small", "\N{ARABIC-INDIC DIGIT FIVE}"),
    ("small", [5]),
    ("int32", 2**31),
    ("int32", -(2**31) - 1),
    ("int32", "2147483648"),
    ("int32", math.inf),
    ("int32", math.nan),
    ("int32", "1e400"),
    ("int32", "1e999999999"),
    ("int32", "1e9999999999999999999"),
    ("int32", "9" * 5000),
    ("uint32", -1),
    ("uint32", 2**32),
    ("int64", "9223372036854775808"),
    ("int64", "-9223372036854775809"),
    ("int64", True),
    ("int64", 1.5),
    ("int64", "1.5"),
    ("int64", ""),
    ("int64", "007"),
    ("uint64", "18446744073709551616"),
    ("uint64", "-1"),
    ("uint64", -1),
    ("flag", 1),
    ("flag", 0),
    ("flag", "true"),
    ("double", 1.6),
    ("double", -1.6),
    ("double", True),
    ("double", "one"),
    ("double", "NaN"),
    ("wide", math.inf),
    ("wide", math.nan),
    ("wide", "1e400"),
    ("wide", "inf"),
    ("wide", "nan"),
    ("wide", 10**400),
    ("float", 3.5e38),
    ("moment", "2019-12-27"),
    ("moment", "2019-12-27 18:11:19Z"),
    ("moment", "2019-12-27T18:11:19"),
    ("moment", "2019-12-27T18:11:19.Z"),
    ("moment", "2019-12-27T18:11:19.1234567890Z"),
    ("moment", "2019-13-27T18:11:19Z"),
    ("moment", "2019-02-30T18:11:19Z"),
    ("moment", "0000-01-01T00:00:00Z"),
    ("moment", "0001-01-01T00:00:00+01:00"),
    ("moment", "2019-12-27T18:11:19Z\n"),
    ("moment", 1577470279),
    ("span", "3600"),
    ("span", "1h"),
    ("span", 3600),
    ("span", ".5s"),
    ("span", "1.s"),
    ("span", "1.1234567890s"),
    ("span", "315576000001s"),
    ("short", "1.499999999s"),
    ("short", "90.000000001s"),
    ("short", "nap"),
    ("count", "11"),
    ("count", 11),
    ("count", "twelve"),
    ("key", ID[:-1]),
    ("key", ID.replace("-", "")),
    ("key", f"{{{ID}}}"),
    ("key", f"{ID}\n"),
    ("key", ""),
    ("link", "example.com"),
    ("link", "https://exa mple.com"),
    ("link", "http://[::1"),
    ("blob", "A"),
    ("blob", "+-"),
    ("blob", "AAAAA==="),
    ("tea", "TEA_RED"),
    ("tea", "tea_green"),
    ("tea", 7),
    ("tea", True),
    ("tea", 1.5),
    ("tea", "1"),
    ("pot", []),
    ("pot", "pot"),
    ("anything", {"a": "\ud800"}),
    ("anything", math.nan),
    ("names", []),
    ("names", ["a", "b", "c"]),
    ("names", [""]),
    ("names", ["abcd"]),
    ("names", [None]),
    ("names", "a"),
    ("names", {"a": 1}),
    ("sizes", [0]),
    ("sizes", [10]),
    ("sizes", [True]),
    ("teas", ["TEA_RED"]),
    ("teas", [None]),
    ("pots", [None]),
    ("pots", [{}]),
    ("labels", {}),
    ("labels", {"a": "a", "b": "b", "c": "c"}),
    ("labels", {"a": "abcd"}),
    ("labels", {"a": None}),
    ("labels", {"\ud800": "a"}),
    ("labels", ["a"]),
    ("scores", {"a": 10}),
    ("scores", {"a": True}),
    ("teaOf", {"a": "TEA_RED"}),
    ("potOf", {"a": {}}),
    ("moments", ["today"]),
]


@pytest.mark.parametrize("of", dict.fromkeys(field for field, *_ in TAKEN))
def test_a_value_within_the_rules_is_taken(kinds: ModuleType, of: str) -> None:
    for field, value, kept in TAKEN:
        if field == of:
            message = kinds.models.Kinds.model_validate({field: value})
            assert (python_value(message, field), value) == (kept, value)


@pytest.mark.parametrize("of", dict.fromkeys(field for field, _ in REFUSED))
def test_a_value_outside_of_the_rules_is_refused_at_its_place(kinds: ModuleType, of: str) -> None:
    for field, value in REFUSED:
        if field == of:
            found = problems(kinds.models.Kinds, {field: value})
            assert {place.partition(".")[0] for place, _ in found} == {field}, value


def test_null_and_nothing_are_absent(kinds: ModuleType) -> None:
    for field in parsed(KINDS)["Kinds"]["properties"]:
        message = kinds.models.Kinds.model_validate({field: None})
        assert python_value(message, field) is None, field
        assert message == kinds.models.Kinds.model_validate({}), field
        assert message.to_json() == {}, field


def test_nan_is_a_number_of_its_own(kinds: ModuleType) -> None:
    assert math.isnan(kinds.models.Kinds.model_validate({"wide": "NaN"}).wide)


def test_fields_go_by_either_name_and_unknown_ones_are_ignored(kinds: ModuleType) -> None:
    by_json = kinds.models.Kinds.model_validate({"teaOf": {"a": 1}, "from": "x", "novelty": {"a": 1}})
    by_python = kinds.models.Kinds.model_validate({"tea_of": {"a": 1}, "from_": "x"})
    assert by_json == by_python
    assert by_python.to_json() == {"teaOf": {"a": "TEA_GREEN"}, "from": "x"}


def test_a_violation_deep_inside_is_found_at_its_place(kinds: ModuleType) -> None:
    value: dict[str, Any] = {
        "pots": [{"brewedAt": MOMENT}, {"brewedAt": "x", "refill": {"refill": {"brewedAt": MOMENT}}}]
    }
    assert problems(kinds.models.Kinds, value) == [
        ("pots.1.brewedAt", "date-time"),
        ("pots.1.refill.brewedAt", "required"),
    ]


def test_what_is_no_object_is_refused(kinds: ModuleType) -> None:
    values: list[object] = [[], "x", 1, None]
    for value in values:
        assert problems(kinds.models.Kinds, value) == [("", "model_type")]


def test_messages_name_the_value_that_is_asked_for(kinds: ModuleType) -> None:
    with pytest.raises(ValidationError) as caught:
        kinds.models.Kinds.model_validate({"short": "91s", "key": "{x}", "uint32": -1, "blob": "A"})
    assert [item["msg"] for item in caught.value.errors()] == [
        "value must be a whole number from 0 to 4294967295",
        "value must be at most 90s",
        "value must be a valid UUID",
        "value must be base64",
    ]


# -- Presence ----------------------------------------------------------------------------------------------------------


def test_implicit_zeros_are_left_out_of_the_json(kinds: ModuleType) -> None:
    zeros = {"plain": "", "int32": 0, "int64": "0", "flag": False, "wide": 0.0, "tea": 0, "sizes": [], "teaOf": {}}
    assert kinds.models.Kinds.model_validate(zeros).to_json() == {}


def test_explicit_zeros_stay(kinds: ModuleType) -> None:
    zeros = {"text": "", "number": 0, "flag": False, "tea": "TEA_UNSPECIFIED", "wide": "0"}
    message = kinds.models.Presence.model_validate(zeros)
    assert message.to_json() == zeros
    assert kinds.models.Presence.model_validate({}).to_json() == {}


def test_empty_messages_and_any_json_stay(kinds: ModuleType) -> None:
    full = {"anything": [], "pot": {"brewedAt": MOMENT}, "potOf": {"a": {"brewedAt": MOMENT}}}
    assert kinds.models.Kinds.model_validate(full).to_json() == full
    assert kinds.models.ListPotsRequest.model_validate({"page": {}}).to_json() == {"page": {}}


def test_numbers_that_json_lacks_are_written_as_strings(kinds: ModuleType) -> None:
    for text in ("NaN", "Infinity", "-Infinity"):
        message = kinds.models.Kinds.model_validate({"wide": text})
        assert message.to_json() == {"wide": text}


REQUIRED: dict[str, Any] = {
    "text": "a", "number": 1, "wide": "1", "flag": True, "tea": "TEA_GREEN", "list": ["a"], "map": {"a": "b"},
    "moment": MOMENT, "pot": {}, "given": 0,
}  # fmt: skip


def test_required_fields_are_taken_when_they_say_something(kinds: ModuleType) -> None:
    assert kinds.models.Required.model_validate(REQUIRED).to_json() == REQUIRED


def test_a_required_field_that_is_absent_or_null_is_a_violation(kinds: ModuleType) -> None:
    for field in REQUIRED:
        absent = {name: value for name, value in REQUIRED.items() if name != field}
        assert problems(kinds.models.Required, absent) == [(field, "required")]
        assert problems(kinds.models.Required, {**REQUIRED, field: None}) == [(field, "required")]


@pytest.mark.parametrize(
    ("field", "zero"),
    [
        ("text", ""),
        ("number", 0),
        ("number", 0.0),
        ("number", "0"),
        ("number", "-0.0e5"),
        ("wide", "0"),
        ("wide", 0),
        ("flag", False),
        ("tea", "TEA_UNSPECIFIED"),
        ("tea", 0),
        ("list", []),
        ("map", {}),
    ],
)
def test_a_required_field_that_is_zero_is_a_violation(kinds: ModuleType, field: str, zero: object) -> None:
    assert problems(kinds.models.Required, {**REQUIRED, field: zero}) == [(field, "required")]


def test_every_required_field_is_reported_at_once(kinds: ModuleType) -> None:
    assert problems(kinds.models.Required, {"number": "x"}) == [
        (name, "integer" if name == "number" else "required") for name in REQUIRED
    ]
    with pytest.raises(ValidationError, match="value is required"):
        kinds.models.Required.model_validate({})


def test_zero_of_another_type_is_no_zero(kinds: ModuleType) -> None:
    assert problems(kinds.models.Required, {**REQUIRED, "number": False}) == [("number", "integer")]
    assert problems(kinds.models.IgnoreZero, {"low": False}) == [("low", "integer")]
    assert problems(kinds.models.IgnoreZero, {"key": 0}) == [("key", "uuid")]


def test_a_zero_that_is_ignored_is_absent(kinds: ModuleType) -> None:
    message = kinds.models.IgnoreZero.model_validate({"key": "", "low": 0, "high": "0"})
    assert (message.key, message.low, message.high) == (None, None, None)
    assert problems(kinds.models.IgnoreZero, {"key": "x", "low": -1}) == [
        ("key", "uuid"),
        ("low", "greater_than_equal"),
    ]


# -- Ordered pairs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"low": 2}, {"high": 2}, {"low": 2, "high": 2}, {"low": 1, "high": "2"}, {}])
def test_pairs_in_order_are_taken(kinds: ModuleType, value: dict[str, Any]) -> None:
    assert problems(kinds.models.IgnoreZero, value) == []


def test_pairs_out_of_order_are_a_violation_at_the_first(kinds: ModuleType) -> None:
    assert problems(kinds.models.IgnoreZero, {"low": 3, "high": 2}) == [("low", "ordered")]
    assert problems(kinds.models.IgnoreZero, {"low": 3, "high": 0}) == []


def test_the_order_is_checked_beside_other_violations(kinds: ModuleType) -> None:
    value = {"key": "x", "low": "3", "high": 2.0}
    assert problems(kinds.models.IgnoreZero, value) == [("key", "uuid"), ("low", "ordered")]
    assert problems(kinds.models.IgnoreZero, {"key": "x", "low": 3, "high": 0}) == [("key", "uuid")]
    assert problems(kinds.models.IgnoreZero, {"low": "x", "high": 2}) == [("low", "integer")]


def test_64_bit_integers_are_compared_exactly(kinds: ModuleType) -> None:
    large, larger = "9007199254740992", "9007199254740993"
    assert problems(kinds.models.Wide, {"least": larger, "most": large}) == [("least", "ordered")]
    assert problems(kinds.models.Wide, {"least": large, "most": larger}) == []
    assert problems(kinds.models.Wide, {"least": larger, "most": large, "note": 1}) == [
        ("note", "string_type"),
        ("least", "ordered"),
    ]


def test_an_ordered_message_takes_an_instance(kinds: ModuleType) -> None:
    message = kinds.models.IgnoreZero(low=1, high=2)
    assert kinds.models.IgnoreZero.model_validate(message) == message


# -- Enums, formats, operations ----------------------------------------------------------------------------------------


def test_enum_members_are_strings_with_numbers(kinds: ModuleType) -> None:
    tea = kinds.enums.TeaKind
    assert [(member.name, member.value, member.number) for member in tea] == [
        ("UNSPECIFIED", "TEA_UNSPECIFIED", 0),
        ("GREEN", "TEA_GREEN", 1),
        ("BLACK", "TEA_BLACK", 2),
    ]
    assert tea.GREEN == "TEA_GREEN"
    assert tea(2) is tea.BLACK
    for value in (7, True, 1.5, "GREEN", None):
        with pytest.raises(ValueError, match="is not a valid TeaKind"):
            tea(value)


def test_error_codes_know_their_http_status(kinds: ModuleType) -> None:
    assert kinds.enums.ConnectCode.NOT_FOUND.http_status == 404
    assert kinds.enums.ConnectCode("canceled").http_status == 499
    error = kinds.models.ConnectError.model_validate({"code": "not_found", "details": [{"debug": {"a": 1}}]})
    assert error.to_json() == {"code": "not_found", "details": [{"debug": {"a": 1}}]}
    assert problems(kinds.models.ConnectError, {"code": "lost"}) == [("code", "enum")]


def test_formats_tell_what_is_within_their_bounds(kinds: ModuleType) -> None:
    formats = kinds.formats.FORMATS
    assert list(formats) == ["brew-time", "nap", "dozen"]
    assert (formats["nap"].base, formats["nap"].minimum, formats["nap"].maximum) == ("protobuf-duration", "1.5s", "90s")
    assert formats["dozen"].maximum is None
    assert formats["dozen"].parse("12") == 12
    for name, value in (("nap", "91s"), ("nap", "1s"), ("nap", 2), ("dozen", "11")):
        with pytest.raises(ValueError, match="value must be"):
            formats[name].parse(value)


def test_operations_name_their_messages(kinds: ModuleType) -> None:
    brew, pots = kinds.OPERATIONS.values()
    assert (brew.name, brew.path, brew.idempotency) == ("Brew", "/kettle.v1.KettleService/Brew", "unsafe")
    assert (brew.request, brew.response) == (kinds.models.BrewRequest, kinds.models.BrewResponse)
    assert (brew.paged, brew.client_method) == (False, "brew")
    assert (pots.paged, pots.client_method, pots.idempotency) == (True, "list", "no_side_effects")


# -- The package -------------------------------------------------------------------------------------------------------


def test_the_document_is_kept_in_its_own_order(kinds: ModuleType, schema: Schema) -> None:
    kept = json.loads(Path(kinds.__path__[0], "openapi.json").read_text(encoding="utf-8"))
    assert json.dumps(kept) == json.dumps(schema)


def test_the_models_are_made_to_be_read(kinds: ModuleType) -> None:
    source = Path(str(kinds.models.__file__)).read_text(encoding="utf-8")
    assert "arbitrary_types_allowed" not in source
    assert "from . import base as _base" in source
    assert '    from_: _Annotated[str | None, _Field(alias="from")] = None\n    """Deprecated.' in source
    assert 'It says "so".' in kinds.models.Kinds.__doc__
    assert max(map(len, source.splitlines())) <= 120


def test_texts_cannot_break_out_of_their_docstrings(awkward: ModuleType) -> None:
    assert awkward.models.Pot.__doc__.strip() == NASTY
    assert awkward.enums.TeaKind.__doc__.strip() == NASTY


@pytest.mark.parametrize("name", AWKWARD)
def test_a_field_of_an_awkward_name_comes_through(awkward: ModuleType, name: str) -> None:
    value = {name: [1], "after": ["a"]}
    assert getattr(awkward.models, message_with(name)).model_validate(value).to_json() == value


# -- The real schema ---------------------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str, str, Any]]:
    """Method, `request` or `response`, name and value of each example of the schema."""
    data = document.load(REPOSITORY / "schema" / "prebuild_service.yaml").data
    shared = data["components"]["examples"]
    found: list[tuple[str, str, str, Any]] = []
    for item in data["paths"].values():
        post = item["post"]
        for role, content in (
            ("request", post["requestBody"]["content"]),
            ("response", post["responses"]["200"]["content"]),
        ):
            for name, example in content["application/json"].get("examples", {}).items():
                if "$ref" in example:
                    example = shared[example["$ref"].rpartition("/")[2]]
                found.append((post["operationId"], role, name, example["value"]))
    return found


def test_every_example_survives_the_models_and_the_binary_form(real: ModuleType) -> None:
    for method, role, name, value in examples():
        message = getattr(real.OPERATIONS[method], role).model_validate(value)
        assert message.to_json() == value, (method, role, name)
        binary = getattr(real.descriptors, f"{role}_class")(method)
        bytes_ = json_format.ParseDict(value, binary()).SerializeToString()
        assert json_format.MessageToDict(binary.FromString(bytes_)) == value, (method, role, name)


def test_all_eleven_methods_are_there(real: ModuleType) -> None:
    assert len(real.OPERATIONS) == 11
    assert real.OPERATIONS["GetPrebuild"].client_method == "retrieve"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"minSize": 0, "maxSize": 20}, []),
        ({"minSize": -1, "maxSize": 20}, [("minSize", "greater_than_equal")]),
        ({"minSize": 0, "maxSize": 21}, [("maxSize", "less_than_equal")]),
        ({"minSize": 0, "maxSize": 0}, [("maxSize", "greater_than_equal")]),
        ({"minSize": 6, "maxSize": 5}, [("minSize", "ordered")]),
        ({"desiredSize": 0}, []),
        ({"desiredSize": 21}, [("desiredSize", "less_than_equal")]),
    ],
)
def test_the_sizes_of_a_warm_pool(real: ModuleType, value: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    request = {"projectId": ID, "environmentClassId": ID, **value}
    assert problems(real.models.CreateWarmPoolRequest, request) == expected


@pytest.mark.parametrize(
    ("timeout", "taken"), [("299.999999999s", False), ("300s", True), ("7200s", True), ("7200.1s", False)]
)
def test_the_timeout_of_a_prebuild(real: ModuleType, timeout: str, taken: bool) -> None:
    request = {"projectId": ID, "spec": {"timeout": timeout}}
    assert (not problems(real.models.CreatePrebuildRequest, request)) is taken


def test_validation_is_fast_enough_to_go_unnoticed(real: ModuleType) -> None:
    get, create = real.models.GetPrebuildRequest, real.models.CreatePrebuildRequest
    value = {"projectId": ID, "environmentClassId": ID, "spec": {"timeout": "3600s"}}
    # Three times what was measured, and more.
    assert microseconds(lambda: get.model_validate({"prebuildId": ID})) < 5
    assert microseconds(lambda: create.model_validate(value)) < 15


def microseconds(call: Callable[[], object]) -> float:
    # The time of this thread alone, as the machine may be busy with other tests.
    return min(timeit.repeat(call, timer=time.thread_time, number=200, repeat=50)) / 200 * 1e6


# -- The loader of the descriptor set ----------------------------------------------------------------------------------


def test_protobuf_classes_go_by_message_and_by_method(kinds: ModuleType) -> None:
    loader = kinds.descriptors
    assert loader.file().name == "kettle/v1/kettle.proto"
    assert loader.message_class("ListPotsRequest.Page").DESCRIPTOR.full_name == "kettle.v1.ListPotsRequest.Page"
    assert loader.request_class("Brew") is loader.message_class("BrewRequest")
    assert loader.response_class("Brew") is loader.message_class("BrewResponse")
    for look_up in (loader.message_class, loader.request_class, loader.response_class):
        with pytest.raises(KeyError):
            look_up("Spill")


def test_the_classes_are_not_in_the_pool_that_everyone_shares(kinds: ModuleType) -> None:
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("kettle.v1.Pot")
    assert kinds.descriptors.pool() is not descriptor_pool.Default()
