"""The generated client package, made from the small schema, imported and used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generator import api, document, skeleton, spec, stamp
from generator.problems import PipelineError
from prebuilds.cli.app import run
from prebuilds.cli.session import Session

from .conftest import Make, Schema, imported, small
from .test_lint import SCHEMAS, at

Read = Callable[[Schema], tuple[document.Document, spec.Api]]

POT = {"brewedAt": "2019-12-27T18:11:19.117Z"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The client package of the small schema as it stands."""
    with imported(small(), tmp_path_factory.mktemp("package")) as package:
        yield package


def test_every_file_says_where_it_is_from(package: Any) -> None:
    root = Path(package.__path__[0])
    assert all(path.read_text().startswith(stamp.STAMP) for path in root.rglob("*.py"))
    assert (root / "py.typed").exists()


def test_absent_values(package: Any) -> None:
    models = package.models
    pot = models.Pot.from_dict(POT)
    assert (pot.id, pot.kind, pot.millilitres, pot.refill) == (
        None,
        models.TeaKind.UNSPECIFIED,
        None,
        None,
    )
    assert pot.brewed_at == datetime(2019, 12, 27, 18, 11, 19, 117000, UTC)
    request = models.BrewRequest.from_dict({"kind": "TEA_GREEN"})
    assert (request.labels, request.notes, request.strong, request.grams) == ({}, [], None, None)
    assert request.to_dict() == {"kind": "TEA_GREEN"}
    assert models.ListPotsResponse.from_dict({}).pots == []


def test_each_kind_of_field_goes_there_and_back(package: Any) -> None:
    models = package.models
    source = {
        "kind": "TEA_BLACK",
        "cups": 0,
        "time": "90s",
        "labels": {"a": "b"},
        "strong": False,
        "grams": 2.5,
        "notes": ["hot"],
        "new": [1],
    }
    request = models.BrewRequest.from_dict(source)
    assert request.kind is models.TeaKind.BLACK
    assert request.additional_properties == {"new": [1]}
    assert request.to_dict() == source
    pot = models.Pot.from_dict(POT | {"refill": POT | {"kind": "TEA_OOLONG"}})
    assert pot.refill.kind == "TEA_OOLONG"
    assert not pot.refill.kind.is_known
    assert models.Pot.from_dict(pot.to_dict()) == pot


def test_a_message_that_holds_itself(package: Any) -> None:
    with pytest.raises(package.DecodeError, match=r"^pots\[0\]\.refill\.brewedAt: expected a timestamp"):
        package.models.ListPotsResponse.from_dict({"pots": [POT | {"refill": {}}]})


def test_timestamps_are_written_in_utc(package: Any) -> None:
    models = package.models
    moment = datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert models.Pot(brewed_at=moment).to_dict() == {"brewedAt": "2020-01-01T00:00:00Z"}
    with pytest.raises(ValueError, match="no time zone"):
        models.Pot(brewed_at=datetime(2020, 1, 1)).to_dict()  # noqa: DTZ001, that is the point


class Recorder:
    """Makes a resource class of the generated base that records what it is asked to send."""

    def __init__(self, package: Any) -> None:
        recorder = self
        self.sent: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

        class Resource(package.resources.KettlesResource):  # type: ignore[misc]
            def _call(self, operation: Any, request: Any, options: Any) -> Any:
                recorder.sent.append((operation.name, request.to_dict(), dict(options)))

            def _list(self, operation: Any, page_type: Any, request: Any, options: Any) -> Any:
                recorder.sent.append((operation.name, request.to_dict(), dict(options)))
                return page_type(operation.decode({"nextToken": "t"}), [], "t", None)

        self.resource = Resource()


def test_client_methods_build_requests(package: Any) -> None:
    recorder = Recorder(package)
    recorder.resource.brew(kind="TEA_GREEN", cups=2, labels={"a": "b"}, notes=("x",), timeout=3)
    page = recorder.resource.list(size=5, token="t")
    recorder.resource.list(page={"size": 5}, token="t")
    assert recorder.sent == [
        (
            "Brew",
            {"kind": "TEA_GREEN", "cups": 2, "labels": {"a": "b"}, "notes": ["x"]},
            {"timeout": 3},
        ),
        ("ListPots", {"page": {"size": 5, "token": "t"}}, {}),
        ("ListPots", {"page": {"size": 5, "token": "t"}}, {}),
    ]
    assert page.pots == []
    assert page.has_next_page()


def test_the_command_line_calls_a_method_that_only_this_schema_has(
    package: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(package)
    recorder.resource._call = lambda operation, request, options: (  # type: ignore[method-assign]
        recorder.sent.append((operation.name, request.to_dict(), dict(options))) or operation.decode({"pot": POT})
    )
    for name in ("operations", "pages", "types"):
        monkeypatch.setitem(sys.modules, f"prebuild_api.{name}", getattr(package, name))
        monkeypatch.setattr(f"prebuild_api.{name}", getattr(package, name))

    class Services:
        kettles = property(doc="The methods of `KettleService`.")

    # A second service is an attribute of its own.
    monkeypatch.setattr("prebuild_api.resources.Services", Services)
    monkeypatch.setattr(Session, "client", SimpleNamespace(kettles=recorder.resource))
    assert run(["call", "Brew", '{"kind": "TEA_GREEN", "cups": 2, "sugar": true}']) == 0
    assert recorder.sent == [("Brew", {"kind": "TEA_GREEN", "cups": 2}, {"extra_body": {"sugar": True}})]
    assert json.loads(capsys.readouterr().out)["pot"]["brewedAt"] == POT["brewedAt"]
    assert run(["call", "ListPots", '{"page": {"size": 5}}', "--json"]) == 0
    assert run(["call", "GetPrebuild", "{}"]) == 2
    assert "expected one of Brew, ListPots" in capsys.readouterr().err


def test_what_a_request_cannot_be_is_refused(package: Any) -> None:
    recorder = Recorder(package)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"page": {"sizes": 5}}, "page: PageRequest has no field sizes"),
        ({"page": {"size": "five"}}, "page: size: expected a whole number .*, found the string 'five'"),
        ({"page": 5}, "page: expected PageRequest or a dict, got the number 5"),
        ({"page": {"size": 5}, "size": 6}, "size is given twice, by keyword and in page"),
    ]
    for keywords, message in refused:
        with pytest.raises(TypeError, match=message):
            recorder.resource.list(**keywords)
    assert recorder.sent == []


def test_paging_is_data(package: Any) -> None:
    operation = package.operations.LIST_POTS
    request = package.models.ListPotsRequest()
    assert operation.token(request) is None
    following = operation.with_token(request, "t")
    assert following.to_dict() == {"page": {"token": "t"}}
    assert operation.token(following) == "t"
    assert request.to_dict() == {}
    assert operation.next_token(operation.decode({})) is None
    assert operation.next_token(operation.decode({"nextToken": ""})) is None
    assert operation.idempotency == "no_side_effects"


def test_a_new_field_method_and_message_need_no_line_by_hand(tiny: Schema, make: Make) -> None:
    at(tiny, *SCHEMAS, "BrewRequest", "properties").update(
        milk={"$ref": "#/components/schemas/Milk", "x-protobuf-number": 20},
        milks={
            "type": "array",
            "items": {"$ref": "#/components/schemas/Milk"},
            "x-protobuf-number": 21,
        },
        when={"type": "string", "format": "date-time", "x-protobuf-number": 22},
        kinds={
            "type": "array",
            "items": {"$ref": "#/components/schemas/TeaKind"},
            "x-protobuf-number": 23,
        },
        **{"class": {"type": "string", "x-protobuf-number": 24}},
    )
    at(tiny, *SCHEMAS)["Milk"] = {
        "type": "object",
        "x-protobuf-message": "Milk",
        "properties": {"fatPercent": {"type": "integer", "format": "int32", "x-protobuf-number": 1}},
    }
    recorder = Recorder(make(tiny))
    recorder.resource.brew(
        kind="TEA_GREEN",
        milk={"fat_percent": 3},
        milks=[{"fatPercent": 1}],
        when=datetime(2020, 1, 1, tzinfo=UTC),
        kinds=["TEA_BLACK"],
        class_="first",
    )
    assert recorder.sent[0][1] == {
        "kind": "TEA_GREEN",
        "milk": {"fatPercent": 3},
        "milks": [{"fatPercent": 1}],
        "when": "2020-01-01T00:00:00Z",
        "kinds": ["TEA_BLACK"],
        "class": "first",
    }


def test_text_cannot_break_out_of_a_docstring(tiny: Schema, make: Make) -> None:
    text = 'Has """ and \\d and \\N{X} in it. Ends with a quote"'
    at(tiny, *SCHEMAS, "Pot")["description"] = text
    package: Any = make(tiny)
    assert package.models.Pot.__doc__ == text


def test_what_openapi_python_client_drops_is_an_error(
    tiny: Schema, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = read(tiny)
    bones = skeleton.build(model)
    next(iter(bones.document["components"]["schemas"].values()))["type"] = "nonsense"
    monkeypatch.setattr(skeleton, "build", lambda api: bones)
    with pytest.raises(PipelineError, match="openapi-python-client"):
        api.generate(model, tmp_path / "package")
