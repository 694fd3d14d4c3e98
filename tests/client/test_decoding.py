"""The decoding rules, shown on the documented responses and on a complete document of each message."""

import copy
import json
import pickle
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from prebuild_api import models, types
from prebuild_api.types import DecodeError, Model, OpenEnum

from .cases import case

HERE = Path(__file__).parent
SCHEMA = yaml.safe_load((HERE.parents[1] / "schema" / "prebuild_service.yaml").read_text("utf-8"))
COMPONENTS: dict[str, Any] = SCHEMA["components"]["schemas"]
MESSAGES = sorted(name for name in COMPONENTS if COMPONENTS[name]["type"] == "object")
ENUMS = sorted(name for name in COMPONENTS if "enum" in COMPONENTS[name])

NEXT_YEAR = "PREBUILD_PHASE_OF_NEXT_YEAR"


@pytest.fixture(params=["orjson", "the standard library"])
def json_library(request, monkeypatch):
    """The test runs with both readers of JSON."""
    if request.param == "the standard library":
        monkeypatch.setattr(types, "orjson", None)
    elif types.orjson is None:
        pytest.skip("orjson is not installed")


with_both_readers = pytest.mark.usefixtures("json_library")
"""For the tests to which the text of a document matters. All others have to do with what was read from it."""


# -- Documents and the places in them ----------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a value stands in a document, and what the schema says of it."""

    keys: tuple[str | int, ...]
    schema: Mapping[str, Any]
    required: bool

    @property
    def path(self) -> str:
        """The place as an error names it."""
        steps = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.keys]
        return "".join(steps).removeprefix(".")

    @property
    def kind(self) -> str:
        """What stands there: object, array, enum, date-time, string, integer, wide integer or any."""
        schema = self.schema
        if "enum" in schema:
            return "enum"
        if schema.get("format") in ("int64", "uint64"):
            return "wide integer"
        if schema.get("format") == "date-time":
            return "date-time"
        return schema.get("type", "any")

    def within(self, document: Any) -> Any:
        for key in self.keys:
            document = document[key]
        return document

    def attribute(self, message: Any) -> Any:
        for key in self.keys:
            message = message[key] if isinstance(key, int) else getattr(message, snake_case(key))
        return message

    def replaced(self, document: Any, value: object) -> Any:
        """A copy of `document` with `value` in this place."""
        document = copy.deepcopy(document)
        Place(self.keys[:-1], {}, True).within(document)[self.keys[-1]] = value
        return document

    def removed(self, document: Any) -> Any:
        """A copy of `document` without this place."""
        document = copy.deepcopy(document)
        del Place(self.keys[:-1], {}, True).within(document)[self.keys[-1]]
        return document


def snake_case(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return COMPONENTS[schema["$ref"].rpartition("/")[2]]
    return schema


def places(schema: Mapping[str, Any], document: Any, keys: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Every place below the root of `document` that `schema` describes."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in schema.get("properties", {}):
                below = resolved(schema["properties"][name])
                yield Place((*keys, name), below, name in schema.get("required", []))
                yield from places(below, value, (*keys, name))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            below = resolved(schema["items"])
            yield Place((*keys, index), below, True)
            yield from places(below, value, (*keys, index))


def complete(schema: Mapping[str, Any]) -> Any:
    """A document with every field of `schema`, and two items in every list."""
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][-1]
    match schema.get("type"):
        case "object":
            return {name: complete(below) for name, below in schema.get("properties", {}).items()}
        case "array":
            return [complete(schema["items"]), complete(schema["items"])]
        case "integer":
            return schema.get("maximum", 7)
        case "string":
            return {
                "date-time": "2019-12-27T18:11:19.117Z",
                "uuid": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
                "prebuild-timeout": "3600s",
                "uint64": str(2**64 - 1),
                "int64": str(2**63 - 1),
            }.get(schema.get("format", ""), "text")
    return {"retryDelay": "1s"}


def canonical(schema: Mapping[str, Any], document: Any) -> Any:
    """What is written back for `document`: nothing for null, empty lists and zero members, and moments in UTC."""
    if isinstance(document, dict):
        fields = schema.get("properties", {})
        kept = {}
        for name, value in document.items():
            if name not in fields:
                kept[name] = value
                continue
            below = resolved(fields[name])
            zero = below["enum"][0] if "x-enum-numbers" in below else None
            if name in schema.get("required", []) or (value is not None and value not in ([], zero)):
                kept[name] = canonical(below, value)
        return kept
    if isinstance(document, list):
        return [canonical(resolved(schema["items"]), item) for item in document]
    if schema.get("format") == "date-time":
        return canonical_timestamp(document)
    return document


def canonical_timestamp(text: str) -> str:
    """`text` in UTC with 0, 3, 6 or 9 digits, by arithmetic on its parts."""
    match = re.fullmatch(r"(.{19})(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))", text)
    assert match, text
    whole, digits, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    moment = datetime.strptime(whole + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    moment = moment + offset if sign == "-" else moment - offset
    digits = (digits or "").ljust(9, "0")
    for _ in range(3):
        digits = digits.removesuffix("000") if len(digits) % 3 == 0 else digits
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}Z"


def decode_bytes(component: str, content: bytes) -> Any:
    """The message that `content` holds."""
    # Models are loaded when they are first used; their decoders are there from then on.
    return types.decode_json(types.DECODERS[getattr(models, component).__name__], content)


def decode(component: str, document: object) -> Any:
    """The message that the bytes of `document` hold."""
    return decode_bytes(component, json.dumps(document).encode())


def written(message: Model) -> Any:
    """The document that goes over the wire for `message`."""
    return json.loads(types.encode_json(message.to_dict()))


def documented() -> dict[str, Any]:
    """The responses of the published reference, placeholders included, by the message that they are."""
    files = sorted((HERE / "documented").glob("*.json"))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


DOCUMENTED = documented()
PREBUILD = DOCUMENTED["GetPrebuildResponse"]["prebuild"]
DOCUMENTS: list[tuple[str, str, Any]] = [
    *(("documented", name, document) for name, document in DOCUMENTED.items()),
    *(("complete", name, complete(COMPONENTS[name])) for name in MESSAGES),
]


each_document = pytest.mark.parametrize(
    ("component", "document"),
    [pytest.param(component, document, id=f"{label}-{component}") for label, component, document in DOCUMENTS],
)


def each_document_with(*kinds: str, required: bool | None = None, items: bool = True) -> pytest.MarkDecorator:
    """Each document with those of its places that are of one of `kinds`, any if there are none."""
    cases = []
    for label, component, document in DOCUMENTS:
        found = [
            place
            for place in places(COMPONENTS[component], document)
            if (not kinds or place.kind in kinds)
            and (required is None or required is place.required)
            and (items or not isinstance(place.keys[-1], int))
        ]
        if found:
            cases.append(pytest.param(component, document, found, id=f"{label}-{component}"))
    return pytest.mark.parametrize(("component", "document", "found"), cases)


# -- Documented and complete responses ---------------------------------------------------------------------------------


def test_the_reference_documents_four_responses():
    assert set(DOCUMENTED) == {
        "CancelPrebuildResponse",
        "CreatePrebuildResponse",
        "GetPrebuildResponse",
        "ListPrebuildsResponse",
    }


@with_both_readers
def test_the_documented_prebuild_is_read_field_by_field():
    prebuild = decode("GetPrebuildResponse", DOCUMENTED["GetPrebuildResponse"]).prebuild
    some_id = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
    moment = datetime(2019, 12, 27, 18, 11, 19, 117000, tzinfo=UTC)
    subject = models.Subject(id=some_id, principal=models.Principal.UNSPECIFIED)
    assert prebuild == models.Prebuild(
        id=some_id,
        metadata=models.PrebuildMetadata(
            organization_id=some_id,
            project_id=some_id,
            environment_class_id=some_id,
            creator=subject,
            created_at=moment,
            updated_at=moment,
            triggered_by=models.PrebuildTrigger.UNSPECIFIED,
            executor=subject,
        ),
        spec=models.PrebuildSpec(
            spec_version="specVersion",
            desired_phase=models.PrebuildPhase.UNSPECIFIED,
            timeout="+9125115.360s",
        ),
        status=models.PrebuildStatus(
            phase=models.PrebuildPhase.UNSPECIFIED,
            completion_time=moment,
            failure_message="failureMessage",
            log_url="https://example.com",
            environment_id=some_id,
            status_version="statusVersion",
            warning_message="warningMessage",
            snapshot_completion_percentage=100,
            snapshot_size_bytes="snapshotSizeBytes",
        ),
    )


def test_the_documented_page_holds_the_documented_prebuild_and_a_token():
    page = decode("ListPrebuildsResponse", DOCUMENTED["ListPrebuildsResponse"])
    assert page.prebuilds == [models.Prebuild.from_dict(PREBUILD)]
    assert page.pagination == models.PaginationResponse(next_token="nextToken")


@with_both_readers
@each_document
def test_a_document_becomes_its_message_and_is_written_back(component, document):
    message = decode(component, document)
    assert type(message) is getattr(models, component)
    assert written(message) == canonical(COMPONENTS[component], document)
    assert message == getattr(models, component).from_dict(document)
    assert message.additional_properties == {}


@each_document
def test_messages_survive_pickling_and_copying(component, document):
    message = decode(component, document | {"ofNextYear": [1]})
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message


@pytest.mark.parametrize("name", sorted(SCHEMA["components"]["examples"]))
def test_each_example_of_the_schema_that_is_a_response_is_read(name):
    document = SCHEMA["components"]["examples"][name]["value"]
    readers = [
        reader
        for reader in MESSAGES
        if reader.endswith("Response")
        and document.keys() <= COMPONENTS[reader].get("properties", {}).keys()
        and document.keys() >= set(COMPONENTS[reader].get("required", []))
    ]
    for reader in readers:
        assert written(decode(reader, document)) == canonical(COMPONENTS[reader], document)
    assert readers or "code" in document


# -- Absent and null ---------------------------------------------------------------------------------------------------


def absent_value(place: Place) -> object:
    """What a message has for a field that the document leaves out."""
    if place.kind == "array":
        return []
    if place.kind == "enum":
        return place.schema["enum"][0]
    return None


@each_document_with(required=False)
def test_an_optional_field_may_be_absent_or_null(component, document, found):
    for place, form in product(found, ["absent", "null"]):
        with case(f"{form} {place.path}"):
            without = place.removed(document)
            message = decode(component, without if form == "absent" else place.replaced(document, None))
            assert place.attribute(message) == absent_value(place)
            assert type(place.attribute(message)) is not str
            assert message.additional_properties == {}
            assert written(message) == canonical(COMPONENTS[component], without)
            assert message == decode(component, without)


def test_an_absent_enum_is_the_zero_member_itself():
    bare = decode("PrebuildStatus", {})
    assert bare.phase is models.PrebuildPhase.UNSPECIFIED
    assert bare.phase.is_known
    assert written(bare) == {}


@pytest.mark.parametrize("name", ["ListPrebuildsResponse", "ListWarmPoolsResponse"])
def test_an_empty_list_response_is_an_empty_page(name):
    page = decode(name, {})
    assert page.pagination is None
    assert (page.prebuilds if name == "ListPrebuildsResponse" else page.warm_pools) == []
    assert written(page) == {}


def test_two_absent_lists_are_two_lists():
    first, second = decode("ListPrebuildsResponse", {}), decode("ListPrebuildsResponse", {})
    first.prebuilds.append(models.Prebuild.from_dict(PREBUILD))
    first.additional_properties["ofNextYear"] = 1
    assert second.prebuilds == []
    assert second.additional_properties == {}


@each_document_with(required=True, items=False)
def test_a_required_field_is_missed_by_its_path(component, document, found):
    for place, form in product(found, ["absent", "null"]):
        with case(f"{form} {place.path}"):
            with pytest.raises(DecodeError) as caught:
                decode(component, place.removed(document) if form == "absent" else place.replaced(document, None))
            assert caught.value.path == place.path
            assert caught.value.found == "nothing"


def test_the_messages_that_are_always_set_are_the_required_ones():
    required = {place.path for place in places(COMPONENTS["Prebuild"], PREBUILD) if place.required}
    assert required == {
        "metadata",
        "metadata.creator",
        "metadata.createdAt",
        "metadata.updatedAt",
        "spec",
        "status",
    }


# -- Unknown fields ----------------------------------------------------------------------------------------------------

UNKNOWN: list[Any] = [None, True, 7, 7.5, "text", [], [{"a": [1]}], {}, {"a": {"b": None}}]


@with_both_readers
@each_document
def test_unknown_fields_are_kept_and_written_back_at_every_level(component, document):
    levels = [Place((), COMPONENTS[component], True)]
    levels += (place for place in places(COMPONENTS[component], document) if place.kind == "object")
    for place, absent in product(levels, ["complete", "with an optional field absent", "with a null"]):
        with case(f"{place.path} {absent}"):
            changed = copy.deepcopy(document)
            level = place.within(changed)
            schema = resolved(place.schema)
            optional = [name for name in level if name not in schema.get("required", [])]
            if optional and absent == "with an optional field absent":
                del level[optional[0]]
            elif optional and absent == "with a null":
                level[optional[0]] = None
            for index, value in enumerate(UNKNOWN):
                level[f"ofNextYear{index}"] = value
            level["additionalProperties"] = level["additional_properties"] = "a field like any other"
            message = decode(component, changed)
            found = place.attribute(message).additional_properties
            assert found == {name: level[name] for name in level if name not in schema.get("properties", {})}
            assert written(message) == canonical(COMPONENTS[component], changed)


# -- Other forms of the same ------------------------------------------------------------------------------------------
#
# Protobuf JSON has several forms for most values. All of them, on fields of each kind, are in
# tests/generator/test_api_decoding.py; here they are shown on the messages of the service.


def in_other_form(schema: Mapping[str, Any], value: Any) -> Any:
    """`value` with fields by their protobuf names, enums as numbers, and numbers as strings and the other way round."""
    schema = resolved(schema)
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        return {
            (snake_case(name) if name in fields else name): in_other_form(fields.get(name, {}), item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [in_other_form(schema["items"], item) for item in value]
    if "x-enum-numbers" in schema:
        return schema["x-enum-numbers"][value]
    if schema.get("format") in ("int64", "uint64") and value.isdigit():
        return int(value)
    if schema.get("type") == "integer":
        return f"{value}.0"
    return value


@with_both_readers
@each_document
def test_a_document_in_another_form_is_the_same_message(component, document):
    other = in_other_form(COMPONENTS[component], document)
    message = decode(component, other | {"ofNextYear": 1})
    assert message.additional_properties == {"ofNextYear": 1}
    del message.additional_properties["ofNextYear"]
    assert message == decode(component, document)
    assert written(message) == canonical(COMPONENTS[component], document)


@with_both_readers
def test_a_byte_order_mark_is_skipped():
    content = b"\xef\xbb\xbf" + json.dumps(DOCUMENTED["ListPrebuildsResponse"]).encode()
    assert decode_bytes("ListPrebuildsResponse", content) == decode(
        "ListPrebuildsResponse", DOCUMENTED["ListPrebuildsResponse"]
    )


def test_a_field_under_both_of_its_names_is_refused():
    page = {"prebuilds": [copy.deepcopy(PREBUILD)]}
    page["prebuilds"][0]["metadata"]["created_at"] = page["prebuilds"][0]["metadata"]["createdAt"]
    with pytest.raises(DecodeError) as caught:
        decode("ListPrebuildsResponse", page)
    assert caught.value.path == "prebuilds[0].metadata.created_at"
    assert str(caught.value).endswith("expected either createdAt or created_at, found both")


# -- Enums -------------------------------------------------------------------------------------------------------------


@each_document_with("enum")
def test_an_unknown_enum_value_is_kept_in_every_place(component, document, found):
    for place in found:
        with case(place.path):
            changed = place.replaced(document, NEXT_YEAR)
            message = decode(component, changed)
            value = place.attribute(message)
            assert isinstance(value, OpenEnum)
            assert not value.is_known
            assert value == NEXT_YEAR
            assert place.within(written(message)) == NEXT_YEAR
            assert written(message) == canonical(COMPONENTS[component], changed)
            if "x-enum-numbers" in place.schema:
                message = decode(component, place.replaced(document, 4711))
                value = place.attribute(message)
                assert (value, value.number, value.is_known) == ("4711", 4711, False)
                assert place.within(written(message)) == 4711


@pytest.mark.parametrize("name", ENUMS)
def test_an_unknown_enum_value_is_its_string(name):
    enum = getattr(models, name)
    value = enum(NEXT_YEAR)
    assert value == NEXT_YEAR
    assert value == enum(NEXT_YEAR)
    assert value != enum(NEXT_YEAR + "_AGAIN")
    assert value not in list(enum)
    assert hash(value) == hash(NEXT_YEAR)
    assert {value: 1}[NEXT_YEAR] == 1
    assert str(value) == f"{value}" == value.value == value.name == NEXT_YEAR
    assert value.is_known is False
    assert len(enum) == len(COMPONENTS[name]["enum"])
    for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert type(again) is enum
        assert again == value
        assert not again.is_known


@pytest.mark.parametrize("name", ENUMS)
def test_a_known_enum_value_is_the_member_and_its_string(name):
    enum = getattr(models, name)
    for text in COMPONENTS[name]["enum"]:
        value = enum(text)
        assert value in list(enum)
        assert value is enum[value.name]
        assert value == text
        assert hash(value) == hash(text)
        assert str(value) == f"{value}" == text
        assert value.is_known is True
        assert pickle.loads(pickle.dumps(value)) is value
    numbers = COMPONENTS[name].get("x-enum-numbers", {})
    for text, number in numbers.items():
        assert enum(number) is enum(text)
        assert enum(text).number == number
    for value in (None, True, 1.5, *(() if numbers else (0, 10))):
        with pytest.raises(ValueError, match=name):
            enum(value)


def test_a_known_enum_value_is_decoded_to_the_member():
    for phase in COMPONENTS["PrebuildPhase"]["enum"]:
        assert decode("PrebuildStatus", {"phase": phase}).phase is models.PrebuildPhase(phase), phase


# -- Timestamps --------------------------------------------------------------------------------------------------------

MOMENT = datetime(2019, 12, 27, 18, 11, 19, tzinfo=UTC)


ZONES = {
    "Z": "2019-12-27T18:11:19",
    "+00:00": "2019-12-27T18:11:19",
    "-00:00": "2019-12-27T18:11:19",
    "+01:00": "2019-12-27T19:11:19",
    "-08:00": "2019-12-27T10:11:19",
    "+05:30": "2019-12-27T23:41:19",
    "+14:00": "2019-12-28T08:11:19",
}


@pytest.mark.parametrize(
    ("digits", "microsecond", "nanosecond", "canonical_digits"),
    [
        ("", 0, 0, ""),
        (".117", 117000, 0, ".117"),
        (".117123", 117123, 0, ".117123"),
        (".117123456", 117123, 456, ".117123456"),
        (".117123999", 117123, 999, ".117123999"),
        (".000000001", 0, 1, ".000000001"),
        (".999999999", 999999, 999, ".999999999"),
        (".000000000", 0, 0, ""),
        (".117000000", 117000, 0, ".117"),
        (".117123000", 117123, 0, ".117123"),
        (".000", 0, 0, ""),
        (".1", 100000, 0, ".100"),
        (".1171234", 117123, 400, ".117123400"),
    ],
)
def test_timestamps_of_any_precision_and_zone(digits, microsecond, nanosecond, canonical_digits):
    for zone, clock in ZONES.items():
        with case(zone):
            text = f"{clock}{digits}{zone}"
            message = decode("PrebuildStatus", {"completionTime": text})
            assert message.completion_time == MOMENT.replace(microsecond=microsecond)
            assert message.completion_time.utcoffset() is not None
            assert getattr(message.completion_time, "nanosecond", 0) == nanosecond
            expected = f"2019-12-27T18:11:19{canonical_digits}Z"
            assert canonical_timestamp(text) == expected
            assert written(message) == {"completionTime": expected}
            for again in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
                assert again == message
                assert written(again) == {"completionTime": expected}


def test_a_moment_that_a_datetime_can_hold_is_a_plain_datetime():
    message = decode("PrebuildStatus", {"completionTime": "2019-12-27T18:11:19.117123Z"})
    assert type(message.completion_time) is datetime


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"])
def test_the_first_and_last_timestamps(text):
    assert written(decode("PrebuildStatus", {"completionTime": text})) == {"completionTime": text}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "completionTime",
        "2019-12-27",
        "18:11:19Z",
        "2019-12-27T18:11:19",
        "2019-12-27T18:11:19.117123456",
        "2019-13-27T18:11:19Z",
        "2019-12-32T18:11:19Z",
        "2019-12-27T25:11:19Z",
        "2019-12-27T18:11:19+25:00",
        "2019-12-27T18:11:19Z and more",
        "1577470279",
        "\N{ARABIC-INDIC DIGIT TWO}019-12-27T18:11:19Z",
    ],
)
def test_a_string_that_is_no_timestamp_is_refused(text):
    document = complete(COMPONENTS["Prebuild"])
    found = [place for place in places(COMPONENTS["Prebuild"], document) if place.kind == "date-time"]
    assert [place.path for place in found] == ["metadata.createdAt", "metadata.updatedAt", "status.completionTime"]
    for place in found:
        with case(place.path):
            with pytest.raises(DecodeError) as caught:
                decode("Prebuild", place.replaced(document, text))
            assert caught.value.path == place.path
            assert caught.value.expected.startswith("a timestamp")


def test_a_moment_without_a_zone_is_not_written():
    status = models.PrebuildStatus(completion_time=datetime(2019, 12, 27))  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        status.to_dict()


# -- Durations and large numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["3600s", "1.5s", "+9125115.360s", "-1s", "0s", "0.000000001s", "315576000000s", "timeout"],
)
def test_a_duration_is_kept_as_it_came(text):
    message = decode("PrebuildSpec", {"timeout": text})
    assert message.timeout == text
    assert written(message) == {"timeout": text}


@with_both_readers
@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("PrebuildStatus", "snapshotSizeBytes"),
        ("PrebuildStatus", "statusVersion"),
        ("PrebuildSpec", "specVersion"),
        ("WarmPoolSpec", "specVersion"),
    ],
)
def test_a_64_bit_number_is_a_string_and_exact(component, name):
    low, high = (-(2**63), 2**63 - 1) if name == "snapshotSizeBytes" else (0, 2**64 - 1)
    for number in (0, 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1):
        with case(number):
            message = decode(component, {name: str(number)})
            value = getattr(message, snake_case(name))
            assert value == str(number)
            assert int(value) == number
            assert written(message) == {name: str(number)}
            if low <= number <= high:
                assert decode(component, {name: number}) == message
            else:
                with pytest.raises(DecodeError) as caught:
                    decode(component, {name: number})
                assert caught.value.path == name
                assert caught.value.expected.endswith(f"from {low} to {high}")


@pytest.mark.parametrize("size", [0, 1, 20, 2**31 - 1])
def test_a_given_zero_differs_from_an_absent_number(size):
    message = decode("WarmPoolSpec", {"minSize": size})
    assert message.min_size == size
    assert message.max_size is None
    assert written(message) == {"minSize": size}


# -- Wrong types -------------------------------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "string": [True, False, 0, 7, 7.5, [], ["text"], {}, {"a": "text"}],
    "integer": [True, False, 7.5, 2**31, "7.5", "", "seven", [], [7], {}, {"a": 7}],
    "wide integer": [True, False, 7.5, 2**64, [], ["7"], {}, {"a": "7"}],
    "enum": [True, False, 7.5, 2**31, [], ["text"], {}, {"a": "text"}],
    "object": [True, False, 0, 7, 7.5, "", "text", [], [{}]],
    "array": [True, False, 0, 7, 7.5, "", "text", {}, {"0": "text"}],
}
WRONG["date-time"] = [*WRONG["string"], 1577470279]


@each_document_with(*WRONG)
def test_a_wrong_type_anywhere_is_refused_with_its_path(component, document, found):
    for place in found:
        for value in WRONG[place.kind] + ([None] if place.required else []):
            with case(f"{value!r} in {place.path}"):
                broken = place.replaced(document, value)
                with pytest.raises(DecodeError) as caught:
                    decode(component, broken)
                assert caught.value.path == place.path
                assert str(caught.value).startswith(f"{place.path}: expected {caught.value.expected}")
                assert caught.value.expected != caught.value.found
                with pytest.raises(DecodeError) as again:
                    getattr(models, component).from_dict(broken)
                assert again.value.path == place.path


@with_both_readers
@pytest.mark.parametrize("component", MESSAGES)
def test_a_document_that_is_no_object_is_refused(component):
    for value in (None, True, 7, 7.5, "text", [], [PREBUILD]):
        with case(value):
            with pytest.raises(DecodeError, match="^the document: expected an object") as caught:
                decode(component, value)
            assert caught.value.path == ""
            with pytest.raises(DecodeError):
                getattr(models, component).from_dict(value)


def test_the_path_names_the_item_among_equal_ones():
    for index in range(5):
        page = {"prebuilds": [copy.deepcopy(PREBUILD) for _ in range(5)]}
        page["prebuilds"][index]["metadata"]["createdAt"] = 7
        with pytest.raises(DecodeError) as caught:
            decode("ListPrebuildsResponse", page)
        assert caught.value.path == f"prebuilds[{index}].metadata.createdAt"


def test_the_path_is_found_behind_unknown_fields():
    page = {"ofNextYear": {"prebuilds": [PREBUILD]}, "prebuilds": [copy.deepcopy(PREBUILD)]}
    page["prebuilds"][0]["ofNextYear"] = [{"status": {}}, [[[]]]]
    page["prebuilds"][0]["status"] = {"phase": 7.5}
    with pytest.raises(DecodeError) as caught:
        decode("ListPrebuildsResponse", page)
    assert caught.value.path == "prebuilds[0].status.phase"
    assert caught.value.found == "the number 7.5"


def test_an_error_tells_what_it_found_in_few_words():
    with pytest.raises(DecodeError) as caught:
        decode("PrebuildStatus", {"phase": "x", "completionTime": "x" * 100_000})
    assert len(str(caught.value)) < 200


def test_an_error_survives_pickling():
    with pytest.raises(DecodeError) as caught:
        decode("PrebuildStatus", {"phase": 7.5})
    error = caught.value
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, again.expected, again.found) == (error.path, error.expected, error.found)
    assert str(again) == str(error)
    assert isinstance(error, ValueError)


# -- Bytes that are no JSON --------------------------------------------------------------------------------------------


@with_both_readers
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b" \n", id="white space"),
        pytest.param(b"<html>502 Bad Gateway</html>", id="html"),
        pytest.param(b"{'prebuilds': []}", id="single quotes"),
        pytest.param(b'{"prebuilds": []} {}', id="two documents"),
        pytest.param(b'{"prebuilds": [],}', id="a comma too many"),
        pytest.param(b'{"ofNextYear": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"ofNextYear": "a\nb"}', id="a bare line break"),
        pytest.param(b'{"ofNextYear": NaN}', id="NaN"),
        pytest.param(b'{"ofNextYear": Infinity}', id="infinity"),
        pytest.param(b'{"ofNextYear": [-Infinity]}', id="negative infinity"),
        pytest.param(b'{"ofNextYear": 1e999}', id="too large for a number"),
        pytest.param(b"[" * 200_000, id="deep lists"),
        pytest.param(b'{"a":' * 200_000, id="deep objects"),
        pytest.param(b'{"ofNextYear": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", id="deep and well-formed"),
    ],
)
def test_a_body_that_is_no_json_is_refused(content):
    with pytest.raises(DecodeError) as caught:
        decode_bytes("ListPrebuildsResponse", content)
    assert caught.value.path == ""
    assert caught.value.expected == "JSON"
    assert len(str(caught.value)) < 600


@with_both_readers
def test_a_truncated_body_is_refused_wherever_it_is_cut():
    content = json.dumps(DOCUMENTED["GetPrebuildResponse"]).encode()
    for end in range(len(content)):
        with pytest.raises(DecodeError) as caught:
            decode_bytes("GetPrebuildResponse", content[:end])
        assert caught.value.path == ""


@with_both_readers
def test_text_of_all_planes_is_kept():
    text = 'žluťoučký \N{SNOWMAN} \N{ROCKET} \x00 \\ " \u2028'
    message = decode("PrebuildStatus", {"failureMessage": text})
    assert message.failure_message == text
    assert written(message) == {"failureMessage": text}


# -- Messages made in Python -------------------------------------------------------------------------------------------


def test_a_document_is_not_changed_by_reading_it():
    document = copy.deepcopy(DOCUMENTED["ListPrebuildsResponse"])
    models.ListPrebuildsResponse.from_dict(document).to_dict()
    assert document == DOCUMENTED["ListPrebuildsResponse"]


def test_any_mapping_is_a_document():
    class Headers(Mapping[str, Any]):
        def __getitem__(self, key):
            return {"nextToken": "nextToken"}[key]

        def __iter__(self):
            return iter(["nextToken"])

        def __len__(self):
            return 1

    assert models.PaginationResponse.from_dict(Headers()).next_token == "nextToken"


@pytest.mark.parametrize("component", MESSAGES)
def test_a_decoded_message_has_every_attribute_of_a_made_one(component):
    """Decoders fill in the fields without calling the constructor: none may be forgotten."""
    bare = complete(COMPONENTS[component])
    for place in list(places(COMPONENTS[component], bare)):
        if len(place.keys) == 1 and not place.required:
            del bare[place.keys[0]]
    message = decode(component, bare)
    required = {snake_case(name) for name in COMPONENTS[component].get("required", [])}
    made = type(message)(**{name: getattr(message, name) for name in required})
    assert made == message
    assert repr(made) == repr(message)


@with_both_readers
def test_a_message_that_broke_off_is_not_shown_but_a_page_is():
    with pytest.raises(DecodeError) as broken:
        decode_bytes("CreatePrebuildLogsTokenResponse", b'{"accessToken":"secret"')
    assert "secret" not in str(broken.value)
    with pytest.raises(DecodeError, match="<html>"):
        decode_bytes("CreatePrebuildLogsTokenResponse", b"<html>Bad gateway</html>")
