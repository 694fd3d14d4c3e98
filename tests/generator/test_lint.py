"""A schema that later stages would misunderstand is refused, with its place and the reason."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import prebuilds
from generator import document, lint, spec
from generator.problems import PipelineError
from prebuild_api import resources, types

from .conftest import TINY, Schema

Read = Callable[[Schema], tuple[document.Document, spec.Api]]

SCHEMAS = "components", "schemas"
BREW = "paths", "/kettle.v1.KettleService/Brew", "post"
LIST = "paths", "/kettle.v1.KettleService/ListPots", "post"


def at(schema: Schema, *keys: Any) -> Any:
    return reduce(operator.getitem, keys, schema)


def test_a_right_schema_is_read(tiny: Schema, read: Read) -> None:
    _, api = read(tiny)
    assert [operation.client_method for operation in api.operations] == ["brew", "list"]
    assert api.service == "KettleService"
    assert [field.name for field in api.messages["BrewRequest"].fields][:3] == [
        "kind",
        "cups",
        "min_cups",
    ]


def test_the_real_schema_is_right() -> None:
    root = Path(__file__).parents[2]
    assert len(lint.lint(document.load(root / "schema" / "prebuild_service.yaml")).operations) == 11


CASES: dict[str, tuple[Callable[[Schema], Any], str, str]] = {
    "a dangling reference": (
        lambda s: at(s, *SCHEMAS, "BrewResponse", "properties", "pot").update({"$ref": "#/components/schemas/Cup"}),
        "#/components/schemas/BrewResponse/properties/pot/$ref",
        "nothing stands at #/components/schemas/Cup",
    ),
    "an unknown x- key": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties", "id").update({"x-colour": "blue"}),
        "#/components/schemas/Pot/properties/id/x-colour",
        "unknown key 'x-colour'",
    ),
    "a duplicate client method": (
        lambda s: at(s, *LIST).update({"x-client-method": "brew"}),
        "#/paths/~1kettle.v1.KettleService~1ListPots/post/x-client-method",
        "the client has a method 'brew' already, for Brew",
    ),
    "a client method with the name of a helper": (
        lambda s: at(s, *LIST).update({"x-client-method": "wait"}),
        "#/paths/~1kettle.v1.KettleService~1ListPots/post/x-client-method",
        "'wait' is a helper of the client",
    ),
    "a field with a name that protobuf would not give it": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties").update(imageURL={"type": "string", "x-protobuf-number": 9}),
        "#/components/schemas/Pot/properties/imageURL",
        "protobuf JSON would call this field 'imageUrl'",
    ),
    "a field with the name of a method of its model": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties").update(toJson={"type": "string", "x-protobuf-number": 9}),
        "#/components/schemas/Pot/properties/toJson",
        "the name 'to_json' is taken by the class itself",
    ),
    "a field that is a secret or not": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties", "id").update({"x-secret": "yes"}),
        "#/components/schemas/Pot/properties/id/x-secret",
        "either true or left out",
    ),
    "an enum without a zero member": (
        lambda s: at(s, *SCHEMAS, "TeaKind", "x-enum-numbers").update(TEA_UNSPECIFIED=9),
        "#/components/schemas/TeaKind/x-enum-numbers",
        "no member has the number 0",
    ),
    "an example with a wrong format": (
        lambda s: at(s, "components", "examples", "Pot", "value", "pot").update(id="7"),
        "#/components/examples/Pot/value/pot/id",
        "the example does not keep BrewResponse",
    ),
    "an example beyond a bound of ours": (
        lambda s: at(s, *BREW, "requestBody", "content", "application/json", "examples", "green", "value").update(
            time="59s"
        ),
        "#/paths/~1kettle.v1.KettleService~1Brew/post/requestBody/content/application~1json/examples/green/value/time",
        "the example does not keep BrewRequest",
    ),
    "an example with a field that is not there": (
        lambda s: at(s, "components", "examples", "Pot", "value", "pot").update(handle=True),
        "#/components/examples/Pot/value/pot",
        "handle",
    ),
    "oneOf, which the generators would drop": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties").update(
            lid={"oneOf": [{"type": "string"}], "x-protobuf-number": 9}
        ),
        "#/components/schemas/Pot/properties/lid/oneOf",
        "'oneOf' is not supported",
    ),
    "an inline object": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties").update(
            lid={"type": "object", "properties": {}, "x-protobuf-number": 9}
        ),
        "#/components/schemas/Pot/properties/lid/properties",
        "'properties' is not supported here",
    ),
    "a list of lists": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties").update(
            lid={
                "type": "array",
                "items": {"type": "array", "items": {"type": "string"}},
                "x-protobuf-number": 9,
            }
        ),
        "#/components/schemas/Pot/properties/lid/items",
        "array inside of another list",
    ),
    "a path parameter": (
        lambda s: at(s, *BREW).update(parameters=[{"name": "id", "in": "path", "schema": {"type": "string"}}]),
        "#/paths/~1kettle.v1.KettleService~1Brew/post/parameters/0/in",
        "only query parameters",
    ),
    "an integer of 64 bits": (
        lambda s: at(s, *SCHEMAS, "BrewRequest", "properties", "cups").update(format="int64"),
        "#/components/schemas/BrewRequest/properties/cups",
        "int64 and uint64 are strings",
    ),
    "an unknown format": (
        lambda s: at(s, *SCHEMAS, "BrewRequest", "properties", "time").update(format="hours"),
        "#/components/schemas/BrewRequest/properties/time/format",
        "'hours' is no format",
    ),
    "a field number that is taken": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties", "kind").update({"x-protobuf-number": 1}),
        "#/components/schemas/Pot/properties/kind/x-protobuf-number",
        "the number 1 is that of id already",
    ),
    "a field without a number": (
        lambda s: at(s, *SCHEMAS, "Pot", "properties", "kind").pop("x-protobuf-number"),
        "#/components/schemas/Pot/properties/kind",
        "x-protobuf-number is missing",
    ),
    "bounds that nothing can keep": (
        lambda s: at(s, *SCHEMAS, "BrewRequest", "properties", "cups").update(minimum=9),
        "#/components/schemas/BrewRequest/properties/cups",
        "minimum 9 is more than maximum 8",
    ),
    "a format whose bounds nothing can keep": (
        lambda s: at(s, "x-formats", "brew-time").update(minimum="601s"),
        "#/x-formats/brew-time",
        "the minimum 601s is more than the maximum 600s",
    ),
    "a required field that is not there": (
        lambda s: at(s, *SCHEMAS, "Pot", "required").append("lid"),
        "#/components/schemas/Pot/required/1",
        "'lid' is no field of this message",
    ),
    "paging by a field that is not there": (
        lambda s: at(s, *LIST, "x-paging").update(token="page.cursor"),
        "#/paths/~1kettle.v1.KettleService~1ListPots/post/x-paging/token",
        "PageRequest has no field 'cursor'",
    ),
    "flattening a field that is not there": (
        lambda s: at(s, *LIST).update({"x-flatten": ["filter"]}),
        "#/paths/~1kettle.v1.KettleService~1ListPots/post/x-flatten/0",
        "ListPotsRequest has no field 'filter'",
    ),
    "a request field with the name of an option": (
        lambda s: at(s, *SCHEMAS, "BrewRequest", "properties").update(
            timeout={"type": "string", "x-protobuf-number": 9}
        ),
        "#/paths/~1kettle.v1.KettleService~1Brew/post",
        "the keyword 'timeout' of brew is taken",
    ),
    "a phase that is in no class": (
        lambda s: at(s, *SCHEMAS, "TeaKind").update(
            {
                "x-phase-classes": {
                    "unspecified": ["TEA_UNSPECIFIED"],
                    "active": ["TEA_GREEN"],
                    "deleting": [],
                    "terminal": [],
                }
            }
        ),
        "#/components/schemas/TeaKind/x-phase-classes",
        "TEA_BLACK stands in 0 classes",
    ),
    "messages that contain one another": (
        lambda s: (
            at(s, *SCHEMAS).update(
                Cup={
                    "type": "object",
                    "x-protobuf-message": "Cup",
                    "properties": {"pot": {"$ref": "#/components/schemas/Pot", "x-protobuf-number": 1}},
                }
            )
            or at(s, *SCHEMAS, "Pot", "properties").update(
                cup={"$ref": "#/components/schemas/Cup", "x-protobuf-number": 9}
            )
        ),
        "#/components/schemas/Pot",
        "messages contain one another: Pot -> Cup -> Pot",
    ),
    "a name that the generated packages need": (
        lambda s: at(s, *SCHEMAS).update(Page={"type": "object", "x-protobuf-message": "Page"}),
        "#/components/schemas/Page",
        "have a class Page of their own",
    ),
    "no response for 415": (
        lambda s: at(s, *BREW, "responses").pop("415"),
        "#/paths/~1kettle.v1.KettleService~1Brew/post/responses",
        "'415'",
    ),
    "an operationId that is not the method": (
        lambda s: at(s, *BREW).update(operationId="Boil"),
        "#/paths/~1kettle.v1.KettleService~1Brew/post/operationId",
        "'Boil' is not the method of the path, 'Brew'",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_wrong_schema_is_refused_with_place_and_reason(
    case: tuple[Callable[[Schema], Any], str, str], tiny: Schema, read: Read
) -> None:
    change, pointer, reason = case
    change(tiny)
    with pytest.raises(PipelineError) as caught:
        read(tiny)
    found = [problem for problem in caught.value.problems if problem.pointer == pointer and reason in problem.reason]
    assert found, str(caught.value)
    assert found[0].line is not None
    assert str(found[0].file).endswith("schema.yaml")


def test_what_the_lint_reserves_is_what_the_packages_use() -> None:
    """A name that the client or the models take has to be refused in the schema."""

    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    for client, resource in (
        (prebuilds.Prebuilds, resources.PrebuildsResource),
        (prebuilds.AsyncPrebuilds, resources.AsyncPrebuildsResource),
    ):
        assert public(client) - public(resource) == set(lint.HELPER_METHODS)
    assert set(prebuilds.CallOptions.__annotations__) <= set(lint.OPTION_NAMES)
    assert public(types.Model) <= set(lint.MODEL_NAMES)


def test_every_problem_is_reported_at_once(tiny: Schema, read: Read) -> None:
    at(tiny, *SCHEMAS, "Pot", "properties", "id").update({"x-colour": "blue"})
    at(tiny, *SCHEMAS, "BrewResponse", "properties", "pot").update({"$ref": "#/components/schemas/Cup"})
    with pytest.raises(PipelineError) as caught:
        read(tiny)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: [1,\nb: 2\n", 3, "invalid YAML"),
        ("openapi: 3.1.0\nopenapi: 3.1.0\n", 2, "the key 'openapi' stands here twice"),
        ("responses:\n  200: {}\n", 2, "the key 200 is no string"),
        ("- a list\n", 1, "the document has to be a mapping"),
        ("", 1, "the document has to be a mapping"),
    ],
)
def test_what_is_no_schema_at_all_is_refused(text: str, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    with pytest.raises(PipelineError) as caught:
        document.load(path)
    problem = caught.value.problems[0]
    assert reason in problem.reason
    assert problem.line == line


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be read"):
        document.load(tmp_path / "none.yaml")


def test_timestamps_stay_strings(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text("a: 2019-12-27T18:11:19.117Z\nb: 2019-12-27\nc: 3600s\nd: 1\n")
    assert document.load(path).data == {
        "a": "2019-12-27T18:11:19.117Z",
        "b": "2019-12-27",
        "c": "3600s",
        "d": 1,
    }


def test_a_problem_names_the_line_of_its_place(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(TINY.replace("format: brew-time", "format: hours"))
    with pytest.raises(PipelineError) as caught:
        lint.lint(document.load(path))
    number = next(index for index, line in enumerate(path.read_text().splitlines(), 1) if "format: hours" in line)
    assert [problem.line for problem in caught.value.problems] == [number]
