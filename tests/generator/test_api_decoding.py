"""The forms of protobuf JSON that generated models accept, shown on a message with a field of each kind."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from .conftest import Schema, imported, small

KINDS: dict[str, Schema] = {
    "oneInt": {"type": "integer", "format": "int32"},
    "oneUint": {"type": "integer", "format": "uint32"},
    "oneLong": {"type": "string", "format": "int64"},
    "oneUlong": {"type": "string", "format": "uint64"},
    "oneCount": {"type": "string", "format": "cup-count"},
    "oneFloat": {"type": "number", "format": "float"},
    "oneDouble": {"type": "number", "format": "double"},
    "oneBool": {"type": "boolean"},
    "oneText": {"type": "string"},
    "oneTime": {"type": "string", "format": "date-time"},
    "oneKind": {"$ref": "#/components/schemas/TeaKind"},
    "onePot": {"$ref": "#/components/schemas/Pot"},
}
ANY: Schema = {}  # google.protobuf.Value
POT = {"brewedAt": "2019-12-27T18:11:19.117Z"}


def many(name: str) -> str:
    """The list of what the field `name` has one of."""
    return name.replace("one", "many")


def each(name: str) -> str:
    """The map of what the field `name` has one of."""
    return name.replace("one", "each")


def everything() -> Schema:
    """The small schema, and in it the message `Everything` with one, many and a map of each kind."""
    schema = small()
    schema["x-formats"]["cup-count"] = {"base": "uint64", "maximum": "8", "description": "Cups."}
    properties: Schema = {}
    for name, item in KINDS.items():
        properties[name] = item
        properties[many(name)] = {"type": "array", "items": item}
        properties[each(name)] = {"type": "object", "additionalProperties": item}
    properties["class"] = {"type": "string"}
    properties["oneValue"] = {}
    properties["manyValue"] = {"type": "array", "items": {}}
    schema["components"]["schemas"]["Everything"] = {"type": "object", "properties": properties}
    schema["components"]["schemas"]["Recipe"] = {
        "type": "object",
        "required": ["firstPot", "lastTime", "oneKind", "oneInt", "pot"],
        "properties": {
            "firstPot": {"$ref": "#/components/schemas/Pot"},
            "lastTime": {"type": "string", "format": "date-time"},
            "oneKind": {"$ref": "#/components/schemas/TeaKind"},
            "oneInt": {"type": "integer", "format": "int32"},
            "pot": {"$ref": "#/components/schemas/Pot"},
            "otherText": {"type": "string"},
        },
    }
    return schema


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package of `everything`."""
    with imported(everything(), tmp_path_factory.mktemp("everything")) as found:
        yield found


@pytest.fixture(params=["orjson", "the standard library"])
def parser(request: pytest.FixtureRequest, package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs with both readers of JSON."""
    if request.param == "the standard library":
        monkeypatch.setattr(package.types, "orjson", None)
    elif package.types.orjson is None:
        pytest.skip("orjson is not installed")


def decode(package: Any, text: str | bytes, model: str = "Everything") -> Any:
    """The message that a document is."""
    content = text.encode() if isinstance(text, str) else text
    return package.types.decode_json(package.types.DECODERS[getattr(package.models, model).__name__], content)


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


# -- Names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"oneText": "a", "manyText": ["b"], "eachText": {"key_one": "c"}, "onePot": POT | {"refill": POT}},
        {"oneText": "a", "eachPot": {"keyOne": POT | {"millilitres": "7"}}, "manyPot": [POT, POT]},
        {"oneText": None, "manyText": None, "oneKind": "TEA_GREEN", "oneInt": 0, "oneBool": False},
        {"oneText": "a", "someday_there": 1},
        {},
    ],
)
def test_a_field_may_have_its_protobuf_name(document: Any, package: Any) -> None:
    def original(value: Any, message: bool = True) -> Any:
        if isinstance(value, dict):
            is_map = value.keys() <= {"key_one", "keyOne"}
            return {(key if is_map or not message else snake(key)): original(item) for key, item in value.items()}
        return [original(item) for item in value] if isinstance(value, list) else value

    plain = package.models.Everything.from_dict(document)
    assert package.models.Everything.from_dict(original(document)) == plain
    assert decode(package, json.dumps(original(document))).to_dict() == plain.to_dict()
    assert plain.additional_properties.keys() == document.keys() & {"someday_there"}


def test_names_of_both_kinds_may_be_mixed(package: Any) -> None:
    found = decode(package, '{"oneText": "a", "one_int": 7, "many_text": ["b"], "ofNextYear": 1}')
    assert found == package.models.Everything(
        one_text="a", one_int=7, many_text=["b"], additional_properties={"ofNextYear": 1}
    )


REQUIRED = {"firstPot": POT, "lastTime": "2019-12-27T18:11:19Z", "oneKind": "TEA_GREEN", "oneInt": 7, "pot": POT}


@pytest.mark.parametrize("names", [[name] for name in REQUIRED] + [list(REQUIRED), ["firstPot", "otherText"]])
def test_a_required_field_may_have_its_protobuf_name(names: list[str], package: Any) -> None:
    document = REQUIRED | {"otherText": "a"}
    other = {(snake(name) if name in names else name): value for name, value in document.items()}
    assert package.models.Recipe.from_dict(other) == package.models.Recipe.from_dict(document)


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_required_field_is_missed_beside_protobuf_names(missing: str, package: Any) -> None:
    document = {snake(name): value for name, value in (REQUIRED | {"otherText": "a"}).items() if name != missing}
    with pytest.raises(package.DecodeError) as caught:
        package.models.Recipe.from_dict(document)
    assert (caught.value.path, caught.value.found) == (missing, "nothing")


@pytest.mark.parametrize(
    ("document", "path", "found"),
    [
        ({"one_int": True}, "one_int", "the boolean True"),
        ({"many_int": [1, "x"]}, "many_int[1]", "the string 'x'"),
        ({"each_int": {"key_one": {}}}, "each_int.key_one", "an object"),
        ({"one_pot": {"brewed_at": 7}}, "one_pot.brewed_at", "the number 7"),
        ({"many_pot": [POT, {"brewed_at": POT["brewedAt"], "millilitres": []}]}, "many_pot[1].millilitres", "a list"),
        ({"one_text": "", "manyPot": [{}]}, "manyPot[0].brewedAt", "nothing"),
    ],
)
def test_an_error_names_the_field_as_the_document_does(document: Any, path: str, found: str, package: Any) -> None:
    with pytest.raises(package.DecodeError) as caught:
        decode(package, json.dumps(document))
    assert (caught.value.path, caught.value.found) == (path, found)


@pytest.mark.parametrize("values", [(7, 7), (7, 8), (None, 7), (7, None), (None, None)])
@pytest.mark.parametrize("names", [("oneInt", "one_int"), ("one_int", "oneInt")])
def test_both_names_of_one_field_are_refused(names: tuple[str, str], values: tuple[Any, Any], package: Any) -> None:
    document = {"ofNextYear": 1, names[0]: values[0], names[1]: values[1]}
    with pytest.raises(package.DecodeError) as caught:
        decode(package, json.dumps(document))
    assert str(caught.value) == f"{names[1]}: expected either {names[0]} or {names[1]}, found both"
    with pytest.raises(package.DecodeError, match=r"^onePot\.brewed_at: expected either brewedAt or brewed_at, found"):
        package.models.Everything.from_dict({"onePot": POT | {"brewed_at": POT["brewedAt"]}})
    with pytest.raises(TypeError, match="everything: .*expected either .* found both"):
        package.types.to_model(package.models.Everything, document, "everything")


@pytest.mark.parametrize("name", ["OneInt", "oneint", "one__int", "_one_int", "one_Int", "ONE_INT", "one-int"])
def test_no_other_spelling_is_a_field(name: str, package: Any) -> None:
    found = decode(package, json.dumps({name: 7, "oneText": "a"}))
    assert (found.one_int, found.additional_properties) == (None, {name: 7})


def test_a_document_is_not_changed_by_reading_it(package: Any) -> None:
    document = {"one_text": "a", "each_text": {"key_one": "b"}, "many_pot": [{"brewed_at": POT["brewedAt"]}]}
    before = copy.deepcopy(document)
    found = package.models.Everything.from_dict(document)
    found.each_text["another"] = "c"
    assert document == before


# -- Integers ----------------------------------------------------------------------------------------------------------

LIMITS = {
    "oneInt": (-(2**31), 2**31 - 1),
    "oneUint": (0, 2**32 - 1),
    "oneLong": (-(2**63), 2**63 - 1),
    "oneUlong": (0, 2**64 - 1),
    "oneCount": (0, 2**64 - 1),
}
WIDE = ("oneLong", "oneUlong", "oneCount")


def places(name: str, value: str) -> list[tuple[str, str, Any]]:
    """A document with `value` in each place that holds what `name` holds, its path, and how to get it from there."""
    return [
        (f'{{"{name}": {value}}}', name, lambda found: getattr(found, snake(name))),
        (f'{{"{many(name)}": [{value}]}}', f"{many(name)}[0]", lambda found: getattr(found, snake(many(name)))[0]),
        (f'{{"{each(name)}": {{"k": {value}}}}}', f"{each(name)}.k", lambda f: getattr(f, snake(each(name)))["k"]),
    ]


@pytest.mark.parametrize("name", LIMITS)
def test_a_whole_number_has_many_forms(name: str, package: Any, parser: None) -> None:
    low, high = LIMITS[name]
    forms = {"7": 7, "7.0": 7, "7e0": 7, "1e3": 1000, "1.5E1": 15, "70e-1": 7, "-0": 0, "0.0": 0, "0e5": 0}
    forms |= {str(low): low, str(high): high, f"{high}.0": high, f"{low}.00": low}
    for text, number in forms.items():
        for form in (text, f'"{text}"'):
            for document, _, get in places(name, form):
                found = decode(package, document)
                kept = text if name in WIDE and form != text else number
                assert get(found) == (str(kept) if name in WIDE else kept), document
                assert type(get(found)) is (str if name in WIDE else int)
                assert decode(package, found.to_json()) == found


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_no_whole_number_or_out_of_range_is_refused(name: str, package: Any, parser: None) -> None:
    low, high = LIMITS[name]
    numbers = ["7.5", "-7.5e-1", "1e-1", str(low - 1), str(high + 1), f"{high + 1}.0", f"{low - 1}.0", "1e300", "-1e20"]
    numbers += ["9007199254740993.5", f"{high}.5"]
    others = ["true", "false", "[]", "[7]", "{}", '{"a": 7}']
    texts = ['""', '" 7"', '"7 "', '"+7"', '"07"', '"0x7"', '"7."', '".7"', '"1_0"', '"NaN"', '"seven"', '"\\u0667"']
    texts += [f'"{number}"' for number in numbers] + ['"1e99999999999999999999"', f'"{"9" * 5000}"']
    for text in numbers + others + ([] if name in WIDE else texts):
        for document, path, _ in places(name, text):
            with pytest.raises(package.DecodeError) as caught:
                decode(package, document)
            assert caught.value.path == path, document
            assert "whole number" in caught.value.expected
            assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", ["9007199254740993.0", "9007199254740993e0", "1.8446744073709551615e19"])
def test_no_digit_of_a_large_number_is_lost(number: str, package: Any, parser: None) -> None:
    exact = (
        str(int(number.split(".", maxsplit=1)[0].split("e", maxsplit=1)[0])) if "e19" not in number else str(2**64 - 1)
    )
    document = f'{{"oneUlong": {number}, "oneDouble": 1e18, "ofNextYear": [0.5, 1e18, {{"a": 1e300}}]}}'
    found = decode(package, document)
    assert found.one_ulong == exact
    assert found.one_double == 1e18
    assert found.additional_properties == {"ofNextYear": [0.5, 1e18, {"a": 1e300}]}


def test_a_float_that_may_be_rounded_is_refused(package: Any) -> None:
    assert package.models.Everything.from_dict({"oneLong": 2.0**53 - 1}).one_long == "9007199254740991"
    with pytest.raises(package.DecodeError, match="oneLong: .* found the number 1e[+]18, which may be rounded"):
        package.models.Everything.from_dict({"oneLong": 1e18})


def test_a_string_for_a_wide_number_stays_as_it_is(package: Any) -> None:
    """A model does not look into it: the published examples have words in such places."""
    for text in ("7", "specVersion", "1e3", ""):
        assert decode(package, json.dumps({"oneLong": text})).to_dict() == {"oneLong": text}


# -- Other numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["oneFloat", "oneDouble"])
def test_a_number_has_many_forms(name: str, package: Any, parser: None) -> None:
    texts = ["7", "7.5", "-0.25", "1e3", "1E-3", "0", "123456789"]
    forms = {form: float(text) for text in texts for form in (text, f'"{text}"')}
    forms |= {'"Infinity"': math.inf, '"-Infinity"': -math.inf}
    for form, number in forms.items():
        for document, _, get in places(name, form):
            found = decode(package, document)
            assert get(found) == number, document
            assert type(get(found)) is float
            assert decode(package, found.to_json()) == found


@pytest.mark.parametrize("name", ["oneFloat", "oneDouble"])
def test_nan_is_a_number(name: str, package: Any, parser: None) -> None:
    for document, _, get in places(name, '"NaN"'):
        found = decode(package, document)
        assert math.isnan(get(found))
        assert json.loads(found.to_json()) == json.loads(document)
    attribute = snake(name)
    for value in (math.nan, math.inf, -math.inf):
        made = package.models.Everything.from_dict({name: value})
        assert repr(getattr(decode(package, made.to_json()), attribute)) == repr(value)


@pytest.mark.parametrize("name", ["oneFloat", "oneDouble"])
def test_what_is_no_number_is_refused(name: str, package: Any, parser: None) -> None:
    forms = ["true", "[]", "{}", '""', '"nan"', '"inf"', '"+1"', '"1 "', '"0x1"', '"1,5"', '"1e999"', '"-1e999"']
    forms += ["1e39", '"1e39"', "-3.41e38"] if name == "oneFloat" else [f'"{"9" * 400}"']
    for form in forms:
        for document, path, _ in places(name, form):
            with pytest.raises(package.DecodeError) as caught:
                decode(package, document)
            assert caught.value.path == path, document
            assert "a number" in caught.value.expected


def test_the_largest_floats_are_numbers(package: Any) -> None:
    assert decode(package, '{"oneFloat": 3.4028234663852886e38}').one_float == (2 - 2**-23) * 2.0**127
    assert decode(package, '{"oneDouble": 1.7976931348623157e308}').one_double == 1.7976931348623157e308


# -- Enums -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("0", "UNSPECIFIED"),
        ("1", "GREEN"),
        ("2.0", "BLACK"),
        ("1e0", "GREEN"),
        ('"2"', "BLACK"),
        ('"TEA_GREEN"', "GREEN"),
    ],
)
def test_the_number_of_a_member_is_the_member(form: str, name: str, package: Any, parser: None) -> None:
    member = package.models.TeaKind[name]
    for document, _, get in places("oneKind", form):
        found = decode(package, document)
        assert get(found) is member
        assert member.is_known
        assert decode(package, found.to_json()) == found


@pytest.mark.parametrize("number", [3, -1, 2**31 - 1, -(2**31)])
def test_an_unknown_number_is_kept_and_written_back(number: int, package: Any, parser: None) -> None:
    for form in (str(number), f'"{number}"', f"{number}.0"):
        for document, _, get in places("oneKind", form):
            found = decode(package, document)
            value = get(found)
            assert type(value) is package.models.TeaKind
            assert (value.number, value.is_known, value == str(number)) == (number, False, True)
            assert json.loads(found.to_json()) == json.loads(document.replace(form, str(number)))
            assert decode(package, found.to_json()) == found
            for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), package.models.TeaKind(number)):
                assert (again, again.number, type(again)) == (value, number, type(value))


@pytest.mark.parametrize("name", ["TEA_OOLONG", "", "03", "+3", "-0", "3.0", "2147483648", "\u0663", " 3", "1_0"])
def test_an_unknown_name_is_kept_and_written_back(name: str, package: Any) -> None:
    value = decode(package, json.dumps({"oneKind": name})).one_kind
    assert (value, value.number, value.is_known) == (name, None, False)
    assert decode(package, json.dumps({"oneKind": name})).to_dict() == {"oneKind": name}


@pytest.mark.parametrize("form", ["true", "false", "1.5", "2147483648", "-2147483649", "1e20", "[]", "[1]", "{}"])
def test_what_is_neither_name_nor_number_of_an_enum_is_refused(form: str, package: Any, parser: None) -> None:
    for document, path, _ in places("oneKind", form):
        with pytest.raises(package.DecodeError) as caught:
            decode(package, document)
        assert (caught.value.path, caught.value.expected) == (path, "the name or the number of an enum member")


def test_an_enum_without_numbers_takes_names_only(package: Any) -> None:
    for code in (3, 3.0, True):
        with pytest.raises(package.DecodeError, match="^code: expected a string, found"):
            package.models.ConnectError.from_dict({"code": code})
    error = package.models.ConnectError.from_dict({"code": "3"})
    assert error.code.number is None
    assert error.to_dict() == {"code": "3"}


def test_members_know_their_numbers(package: Any) -> None:
    kinds = package.models.TeaKind
    assert [kind.number for kind in kinds] == [0, 1, 2]
    assert kinds(2) is kinds.BLACK
    for value in (True, 1.0, None, 2**31):
        with pytest.raises(ValueError, match="TeaKind"):
            kinds(value)


# -- What stays refused, and the rest of a document --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("oneBool", ["0", "1", '"true"', "[]", "{}"]),
        ("oneText", ["0", "true", "7.5", "[]", "{}"]),
        ("oneTime", ["0", "true", '""', '"today"', "[]", "{}"]),
        ("onePot", ["0", "true", '""', "[]"]),
    ],
)
def test_the_other_kinds_have_one_form(name: str, forms: list[str], package: Any, parser: None) -> None:
    for form in forms:
        for document, path, _ in places(name, form):
            with pytest.raises(package.DecodeError) as caught:
                decode(package, document)
            assert caught.value.path == path, document


@pytest.mark.parametrize("name", KINDS)
def test_null_is_absent_but_no_item_or_entry(name: str, package: Any) -> None:
    bare = package.models.Everything()
    for key in (name, many(name), each(name)):
        assert decode(package, json.dumps({key: None})) == bare
    for document, path in (({many(name): [None]}, f"{many(name)}[0]"), ({each(name): {"k": None}}, f"{each(name)}.k")):
        with pytest.raises(package.DecodeError) as caught:
            decode(package, json.dumps(document))
        assert (caught.value.path, caught.value.found) == (path, "nothing")


def test_any_value_is_json(package: Any) -> None:
    for value in (True, 7, 7.5, "a", [None, True], {"some_name": None}):
        found = decode(package, json.dumps({"oneValue": value, "manyValue": [value, None]}))
        assert found.to_dict() == {"oneValue": value, "manyValue": [value, None]}


def test_a_byte_order_mark_is_skipped(package: Any, parser: None) -> None:
    assert decode(package, b'\xef\xbb\xbf{"oneText": "a"}').one_text == "a"
    assert decode(package, b'\xef\xbb\xbf \n{"oneLong": 1e18}').one_long == "1000000000000000000"
    for content in (b'\xef\xbb\xbf\xef\xbb\xbf{"oneText": "a"}', b'{"oneText": "a"}\xef\xbb\xbf', b"\xef\xbb\xbf"):
        with pytest.raises(package.DecodeError, match="^the document: expected JSON"):
            decode(package, content)
    with pytest.raises(package.DecodeError) as caught:
        decode(package, b'\xef\xbb\xbf{"oneText": "secret"')
    assert "secret" not in str(caught.value)


def test_what_is_nested_too_deeply_is_refused(package: Any, parser: None) -> None:
    levels = 1000
    inner = json.dumps(POT)[:-1] + ', "refill": '
    with pytest.raises(package.DecodeError) as caught:
        decode(package, f'{{"onePot": {inner * levels}{json.dumps(POT)}{"}" * levels}}}')
    assert caught.value.path == ""


# -- From Python -------------------------------------------------------------------------------------------------------


def test_a_dict_takes_every_form_too(package: Any) -> None:
    given = {
        "one_int": "7",
        "oneLong": 2**62,
        "one_double": "NaN",
        "one_kind": 2,
        "many_kind": (package.models.TeaKind.GREEN, 1, "TEA_BLACK"),
        "class_": "first",
        "each_text": {"my_key": "a", "class_": "b"},
        "one_value": {"my_key": {"class_": None}},
        "one_time": datetime(2019, 12, 27, tzinfo=UTC),
        "each_pot": {"my_key": {"brewed_at": POT["brewedAt"]}},
    }
    found = package.types.to_model(package.models.Everything, given, "everything")
    assert found.to_dict() == {
        "oneInt": 7,
        "oneLong": str(2**62),
        "oneDouble": "NaN",
        "oneKind": "TEA_BLACK",
        "manyKind": ["TEA_GREEN", "TEA_GREEN", "TEA_BLACK"],
        "class": "first",
        "eachText": {"my_key": "a", "class_": "b"},
        "oneValue": {"my_key": {"class_": None}},
        "oneTime": "2019-12-27T00:00:00Z",
        "eachPot": {"my_key": POT},
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"one_int": 7.5}, "oneInt: expected a whole number from"),
        ({"one_long": 2**63}, "one_long: expected a string, or a whole number from"),
        ({"one_kind": True}, "one_kind: expected the name or the number"),
        ({"each_text": {"a": None}}, "each_text.a: expected a string, found nothing"),
        ({"one_integer": 7}, "Everything has no field one_integer"),
        ({"each_pot": {"a": POT | {"kid": 1}}}, "Pot has no field kid"),
        ({"many_pot": [POT, POT | {"kid": 1}]}, "Pot has no field kid"),
        ({"one_pot": POT | {"refill": POT | {"kid": 1}}}, "Pot has no field kid"),
    ],
)
def test_what_a_dict_cannot_say_is_refused(value: Any, message: str, package: Any) -> None:
    with pytest.raises(TypeError) as caught:
        package.types.to_model(package.models.Everything, value, "everything")
    assert str(caught.value).startswith("everything")
    assert message.partition(":")[2] in str(caught.value)


def test_unknown_fields_of_a_model_in_a_dict_are_kept(package: Any) -> None:
    pot = package.models.Pot.from_dict(POT | {"ofNextYear": 1})
    for given in ({"one_pot": pot}, {"many_pot": [pot]}, {"each_pot": {"a": pot}}):
        found = package.types.to_model(package.models.Everything, given, "everything")
        assert "ofNextYear" in found.to_json()


def test_a_field_at_its_default_is_not_given(package: Any) -> None:
    merged = package.types.merge_fields(package.models.Everything, "it", {"one_text": "a"}, {"one_kind": "TEA_GREEN"})
    assert merged.to_dict() == {"oneText": "a", "oneKind": "TEA_GREEN"}
