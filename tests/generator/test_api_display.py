"""How messages look in `repr`, with rich and in a notebook, and as JSON text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.pretty import pretty_repr

from .conftest import Schema, imported, small

POT = {"brewedAt": "2019-12-27T18:11:19.117Z"}
SECRET = "s3cr3t"


def schema() -> Schema:
    """The small schema, with secrets in it and a field of each shape."""
    changed = small()
    schemas = changed["components"]["schemas"]
    schemas["Key"] = {
        "type": "object",
        "required": ["master"],
        "properties": {
            "master": {"type": "string", "x-secret": True},
            "spare": {"type": "string", "x-secret": True},
            "spares": {"type": "array", "items": {"type": "string"}, "x-secret": True},
            "named": {"type": "object", "additionalProperties": {"type": "string"}, "x-secret": True},
            "label": {"type": "string"},
            "pot": {"$ref": "#/components/schemas/Pot"},
            "pots": {"type": "array", "items": {"$ref": "#/components/schemas/Pot"}},
            "times": {"type": "array", "items": {"type": "string", "format": "date-time"}},
            "debug": {},
        },
    }
    schemas["Cupboard"] = {
        "type": "object",
        "properties": {
            "keys": {"type": "array", "items": {"$ref": "#/components/schemas/Key"}},
            "byName": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Key"}},
        },
    }
    return changed


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package of `schema`."""
    with imported(schema(), tmp_path_factory.mktemp("display")) as found:
        yield found


class Table(HTMLParser):
    """The cells of a table as text, nested tables as lists, and whatever else the HTML holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("table", "caption", "tr", "th", "td")
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_bare_message_is_one_short_line(package: Any) -> None:
    assert repr(package.models.Pot.from_dict(POT)) == "Pot(brewed_at=2019-12-27T18:11:19.117Z)"
    assert repr(package.models.ListPotsResponse()) == "ListPotsResponse()"
    assert repr(package.models.BrewRequest(kind=package.models.TeaKind.UNSPECIFIED)) == (
        "BrewRequest(kind=TeaKind.UNSPECIFIED)"
    )


def test_fields_that_are_set_are_shown_in_their_order(package: Any) -> None:
    models = package.models
    pot = models.Pot.from_dict(POT | {"kind": "TEA_BLACK", "id": "a", "refill": POT | {"kind": "TEA_OOLONG"}})
    refill = "Pot(kind=TeaKind('TEA_OOLONG'), brewed_at=2019-12-27T18:11:19.117Z)"
    assert repr(pot) == f"Pot(id='a', kind=TeaKind.BLACK, brewed_at=2019-12-27T18:11:19.117Z, refill={refill})"
    request = models.BrewRequest(
        kind=models.TeaKind(7), cups=0, strong=False, grams=math.nan, labels={"a": "b"}, time=""
    )
    assert repr(request) == (
        "BrewRequest(kind=TeaKind('7'), cups=0, time='', labels={'a': 'b'}, strong=False, grams=nan)"
    )
    assert str(request) == repr(request)


def test_unknown_fields_are_shown_if_there_are_any(package: Any) -> None:
    page = package.models.ListPotsResponse.from_dict({"ofNextYear": [1]})
    assert repr(page) == "ListPotsResponse(additional_properties={'ofNextYear': [1]})"
    page.additional_properties.clear()
    assert repr(page) == "ListPotsResponse()"
    assert "additional_properties" not in page._repr_html_()


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(2019, 12, 27, 18, 11, 19, tzinfo=UTC), "2019-12-27T18:11:19Z"),
        (datetime(2019, 12, 27, 18, tzinfo=timezone(timedelta(hours=1))), "2019-12-27T17:00:00Z"),
        (datetime(2019, 12, 27), "2019-12-27T00:00:00"),  # noqa: DTZ001 - what cannot be written is shown all the same
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "0001-01-01T00:00:00+01:00"),
        (None, "None"),
    ],
)
def test_any_moment_is_shown(moment: Any, shown: str, package: Any) -> None:
    pot = package.models.Pot(brewed_at=moment)
    assert repr(pot) == f"Pot(brewed_at={shown})"
    assert shown in pot._repr_html_()
    key = package.models.Key(master="", times=[moment])
    assert repr(key) == f"Key(master=<hidden>, times=[{shown}])"


def test_nine_digits_are_shown(package: Any) -> None:
    text = "2019-12-27T18:11:19.117123456Z"
    assert repr(package.models.Pot.from_dict({"brewedAt": text})) == f"Pot(brewed_at={text})"


def test_secrets_are_hidden_everywhere_but_on_the_wire(package: Any) -> None:
    models = package.models
    key = models.Key(
        master=SECRET,
        spare=SECRET,
        spares=[SECRET, "b"],
        named={SECRET: SECRET},
        label="tea",
        pot=models.Pot.from_dict(POT),
    )
    cupboard = models.Cupboard(keys=[key], by_name={"a": key})
    for message in (key, cupboard):
        shown = [repr(message), str(message), pretty_repr(message), message._repr_html_(), f"{message}", f"{[message]}"]
        shown += [repr(list(message.__rich_repr__()))]
        assert not [text for text in shown if SECRET in text]
        assert all("hidden" in text for text in shown)
        assert SECRET in message.to_json()
    assert repr(models.Key(master=SECRET)) == "Key(master=<hidden>)"
    assert key.spare == SECRET
    assert models.Key.from_dict(key.to_dict()) == key


def test_the_body_of_a_response_is_not_shown(package: Any) -> None:
    key = package.models.Key(master=SECRET)
    response = package.types.Response(status_code=200, content=key.to_json().encode(), headers={}, parsed=key)
    assert SECRET not in repr(response)


def test_rich_shows_the_same_fields(package: Any) -> None:
    pot = package.models.Pot.from_dict(POT | {"refill": POT | {"id": "a" * 80}})
    assert dict(pot.__rich_repr__()).keys() == {"brewed_at", "refill"}
    assert pretty_repr(pot) == (
        "Pot(\n"
        "    brewed_at=2019-12-27T18:11:19.117Z,\n"
        "    refill=Pot(\n"
        f"        id='{'a' * 80}',\n"
        "        brewed_at=2019-12-27T18:11:19.117Z\n"
        "    )\n"
        ")"
    )


HOSTILE = "<script>alert(1)</script>\n&amp;\"'</td></table>"


def test_a_table_holds_text_only(package: Any) -> None:
    models = package.models
    pot = models.Pot.from_dict(
        {"brewedAt": POT["brewedAt"], "id": HOSTILE, "kind": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}}
    )
    brew = models.BrewRequest(kind=HOSTILE, labels={HOSTILE: HOSTILE}, notes=[HOSTILE])
    key = models.Key(master="", label=HOSTILE, pot=pot, pots=[pot], debug={HOSTILE: [{HOSTILE: None}]})
    for message, count in ((pot, 5), (brew, 4), (key, 13)):
        table = Table(message._repr_html_())
        assert table.attributes <= {"style"}
        assert sum(text.count(HOSTILE) for text in table.text) == count


def test_a_table_nests_messages(package: Any) -> None:
    models = package.models
    pot = models.Pot.from_dict(POT | {"kind": 1, "refill": POT | {"kind": "TEA_BLACK"}})
    assert Table(pot._repr_html_()).text == [
        "Pot", "kind", "TEA_GREEN", "brewed_at", "2019-12-27T18:11:19.117Z",
        "refill", "Pot", "kind", "TEA_BLACK", "brewed_at", "2019-12-27T18:11:19.117Z",
    ]  # fmt: skip
    page = models.ListPotsResponse(pots=[models.Pot.from_dict(POT)] * 2, next_token="t")
    assert page._repr_html_().count("<table>") == 3
    assert Table(models.BrewRequest(kind=models.TeaKind.GREEN, notes=["a", "b"])._repr_html_()).text[-1] == "a, b"
    assert Table(models.ListPotsResponse()._repr_html_()).text == ["ListPotsResponse"]


def test_a_message_within_itself_is_shown_once(package: Any) -> None:
    pot = package.models.Pot.from_dict(POT)
    pot.refill = pot
    assert repr(pot) == "Pot(brewed_at=2019-12-27T18:11:19.117Z, refill=...)"
    assert pot._repr_html_().count("brewed_at") == 1


def test_json_text_is_what_goes_over_the_wire(package: Any) -> None:
    models = package.models
    pot = models.Pot.from_dict(POT | {"id": "é", "ofNextYear": 1})
    assert pot.to_json() == '{"id":"é","brewedAt":"2019-12-27T18:11:19.117Z","ofNextYear":1}'
    assert models.Pot.from_dict(json.loads(pot.to_json())) == pot
