"""Any document that the schema allows becomes a message, and the message the same document again."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prebuild_api import models, types

SCHEMA = yaml.safe_load((Path(__file__).parents[2] / "schema" / "prebuild_service.yaml").read_text("utf-8"))
COMPONENTS: dict[str, Any] = SCHEMA["components"]["schemas"]
MESSAGES = sorted(name for name in COMPONENTS if COMPONENTS[name]["type"] == "object")


def examples(count: int) -> settings:
    """The same examples in every run: what fails here fails everywhere."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# -- Documents, drawn from the schema ----------------------------------------------------------------------------------
#
# A document is drawn together with what is to be written back for it: the pair (document, canonical). LEFT_OUT in place
# of the canonical part says that nothing is written.

LEFT_OUT = object()
Pair = tuple[Any, Any]

FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 30, tzinfo=UTC)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)


def same(value: Any) -> Pair:
    return value, value


@st.composite
def timestamps(draw: st.DrawFn) -> Pair:
    """A moment to the nanosecond in any zone, with as many digits as anyone writes."""
    seconds = draw(st.integers(0, int((LAST - FIRST).total_seconds())))
    nanoseconds = draw(st.sampled_from([0, 117_000_000, 1, 999_999_999]) | st.integers(0, 10**9 - 1))
    minutes = draw(st.sampled_from([None, 0, 60, -480, 330]) | st.integers(-1439, 1439))
    utc = FIRST + timedelta(seconds=seconds)
    local = utc + timedelta(minutes=minutes or 0)
    # At least the digits that the number needs, and as many zeros behind them as may be.
    needed = len(f"{nanoseconds:09}".rstrip("0"))
    digits = draw(st.sampled_from([count for count in (0, 3, 6, 9) if count >= needed]))
    fraction = f".{nanoseconds:09}"[: digits + 1] if digits else ""
    sign, distance = ("-" if (minutes or 0) < 0 else "+"), abs(minutes or 0)
    zone = "Z" if minutes is None else f"{sign}{distance // 60:02}:{distance % 60:02}"
    canonical = next(count for count in (0, 3, 6, 9) if count >= needed)
    return (
        f"{clock(local)}{fraction}{zone}",
        f"{clock(utc)}{f'.{nanoseconds:09}'[: canonical + 1] if canonical else ''}Z",
    )


def clock(moment: datetime) -> str:
    date = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    return f"{date}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}"


def snake_case(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


@st.composite
def durations(draw: st.DrawFn, least: int, most: int) -> Pair:
    whole = draw(st.integers(least, most))
    fraction = draw(st.sampled_from(["", ".5", ".360", ".000000001"])) if whole < most else ""
    sign = draw(st.sampled_from(["", "+"])) if whole >= 0 else ""
    return same(f"{sign}{whole}{fraction}s")


def objects(schema: dict[str, Any]) -> st.SearchStrategy[Pair]:
    """An object with the required fields, any of the others, nulls and fields that are not in the schema."""
    # Made once: to make strategies takes longer than to draw from them.
    required = schema.get("required", [])
    fields = {name: values(field, required=name in required) for name, field in schema.get("properties", {}).items()}
    keys = {name: st.sampled_from([name, name, snake_case(name)]) for name in fields}
    known = {*fields, *map(snake_case, fields)}
    forms = st.sampled_from(["value", "value", "absent", "null"])
    unknown = st.dictionaries(
        st.text(max_size=6).filter(lambda name: name not in known)
        | st.sampled_from(["additional_properties", "self", "ofNextYear"]),
        json_values,
        max_size=2,
    )

    @st.composite
    def drawn(draw: st.DrawFn) -> Pair:
        document, canonical = {}, {}
        for name, field in fields.items():
            form = "value" if name in required else draw(forms)
            key = draw(keys[name])
            if form == "null":
                document[key] = None
            elif form == "value":
                document[key], expected = draw(field)
                if expected is not LEFT_OUT:
                    canonical[name] = expected
        for name, value in draw(unknown).items():
            document[name] = canonical[name] = value
        return dict(draw(st.permutations(list(document.items())))), canonical

    return drawn()


def lists(schema: dict[str, Any]) -> st.SearchStrategy[Pair]:
    several = st.lists(values(schema["items"], required=True), max_size=min(schema.get("maxItems", 3), 3))
    return several.map(lambda pairs: ([pair[0] for pair in pairs], [pair[1] for pair in pairs] or LEFT_OUT))


def enum_values(schema: dict[str, Any], *, required: bool) -> st.SearchStrategy[Pair]:
    """The name of a member, its number, or a name or number that is not in the schema."""
    numbers = schema.get("x-enum-numbers", {})
    names = {number: name for name, number in numbers.items()}
    others = st.text(min_size=1, max_size=8).filter(lambda text: not re.fullmatch("-?[0-9]+", text))
    drawn = st.sampled_from(schema["enum"]) | others
    if numbers:
        drawn = drawn | st.sampled_from(sorted(names)) | st.integers(-(2**31), 2**31 - 1)

    def pair(value: str | int) -> Pair:
        canonical = names.get(value, value)
        return value, LEFT_OUT if numbers.get(canonical) == 0 and not required else canonical

    return drawn.map(pair)


def integers(least: int, most: int) -> st.SearchStrategy[Pair]:
    """A whole number as such, as a string, or with a decimal point."""
    forms: list[Callable[[int], Pair]] = [same, lambda number: (str(number), number), lambda n: (float(n), n)]
    return st.tuples(st.integers(least, most), st.sampled_from(forms)).map(lambda drawn: drawn[1](drawn[0]))


def wide_integers(least: int, most: int) -> st.SearchStrategy[Pair]:
    """A whole number of 64 bits, as a string or as such."""
    forms: list[Callable[[int], Pair]] = [lambda number: same(str(number)), lambda number: (number, str(number))]
    return st.tuples(st.integers(least, most), st.sampled_from(forms)).map(lambda drawn: drawn[1](drawn[0]))


def strings(schema: dict[str, Any]) -> st.SearchStrategy[Pair]:
    name = schema.get("format", "")
    bounds = SCHEMA["x-formats"].get(name)
    if bounds:
        assert bounds["base"] == "protobuf-duration"
        return durations(seconds(bounds["minimum"]), seconds(bounds["maximum"]))
    by_format: dict[str, Callable[[], st.SearchStrategy[Pair]]] = {
        "": lambda: st.text(max_size=20).map(same),
        "date-time": timestamps,
        "uuid": lambda: st.uuids().map(str).map(same),
        "uri": lambda: st.from_regex(r"\Ahttps?://[a-z.]{1,9}/[a-z]{0,5}\Z").map(same),
        "int64": lambda: wide_integers(-(2**63), 2**63 - 1),
        "uint64": lambda: wide_integers(0, 2**64 - 1),
        "protobuf-duration": lambda: durations(-315_576_000_000, 315_576_000_000),
    }
    return by_format[name]()


def values(schema: dict[str, Any], *, required: bool) -> st.SearchStrategy[Pair]:
    """Any value that `schema` allows, by its type, format, members and bounds."""
    if "$ref" in schema:
        return values(COMPONENTS[schema["$ref"].rpartition("/")[2]], required=required)
    if "enum" in schema:
        return enum_values(schema, required=required)
    match schema.get("type"):
        case "object":
            return objects(schema)
        case "array":
            return lists(schema)
        case "string":
            return strings(schema)
        case "integer":
            assert schema["format"] == "int32"
            least, most = schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1)
            return integers(least, most)
        case None:
            return json_values.filter(lambda value: value is not None).map(same)
    raise AssertionError(f"no strategy for {schema}")


# -- The round trip ----------------------------------------------------------------------------------------------------


@pytest.mark.campaign(quick=12, full=200)
@pytest.mark.parametrize("component", MESSAGES)
def test_a_message_is_written_as_it_was_read(component, size):
    model = getattr(models, component)

    @examples(size)
    @given(values(COMPONENTS[component], required=True))
    def round_trip(pair: Pair) -> None:
        document, canonical = pair
        message = model.from_dict(document)
        written = message.to_dict()
        assert written == canonical
        assert model.from_dict(written) == message
        assert model.from_dict(written).to_dict() == canonical
        content = types.encode_json(written)
        assert types.decode_json(types.DECODERS[component], content).to_dict() == canonical

    round_trip()


@pytest.mark.campaign(quick=12, full=200)
def test_the_standard_library_reads_what_orjson_writes_and_the_other_way_round(monkeypatch, size):
    orjson = pytest.importorskip("orjson")

    @examples(size)
    @given(values(COMPONENTS["ListPrebuildsResponse"], required=True))
    def round_trip(pair: Pair) -> None:
        message = models.ListPrebuildsResponse.from_dict(pair[0])
        for writer, reader in ((orjson, None), (None, orjson)):
            with monkeypatch.context() as patch:
                patch.setattr(types, "orjson", writer)
                content = types.encode_json(message.to_dict())
                patch.setattr(types, "orjson", reader)
                again = types.decode_json(types.DECODERS["ListPrebuildsResponse"], content)
                assert again == message
                assert again.to_dict() == pair[1]

    round_trip()


def test_the_documents_are_as_varied_as_the_rules():
    """Of the drawn pages, some have each of the forms that the rules speak of."""
    seen: set[str] = set()

    @examples(50)
    @given(values(COMPONENTS["ListPrebuildsResponse"], required=True))
    def collect(pair: Pair) -> None:
        page = models.ListPrebuildsResponse.from_dict(pair[0])
        seen.add(f"{min(len(page.prebuilds), 2)} prebuilds")
        seen.update("unknown field" for _ in page.additional_properties)
        for prebuild in page.prebuilds:
            seen.add("known phase" if prebuild.status.phase.is_known else "unknown phase")
            created = prebuild.metadata.created_at
            seen.add(type(created).__name__)
            seen.add("UTC" if created.utcoffset() == timedelta(0) else "offset")
            seen.add("with id" if prebuild.id else "without id")
            seen.update("unknown nested field" for _ in prebuild.status.additional_properties)

    collect()
    assert seen >= {
        "0 prebuilds",
        "1 prebuilds",
        "2 prebuilds",
        "unknown field",
        "unknown nested field",
        "known phase",
        "unknown phase",
        "datetime",
        "Timestamp",
        "UTC",
        "offset",
        "with id",
        "without id",
    }
