"""A schema that later stages would misunderstand is refused, with its place and the reason."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import prebuilds
from generator import document, lint, lint_operations, spec
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


def test_what_the_lint_reserves_is_what_the_packages_use() -> None:
    """A name that the client or the models take has to be refused in the schema."""

    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    for client, resource in (
        (prebuilds.Prebuilds, resources.PrebuildsResource),
        (prebuilds.AsyncPrebuilds, resources.AsyncPrebuildsResource),
    ):
        assert public(client) - public(resource) == set(lint_operations.HELPER_METHODS)
    clients = public(prebuilds.PrebuildClient) | public(prebuilds.AsyncPrebuildClient) | {"prebuilds"}
    assert clients == set(lint_operations.CLIENT_NAMES)
    assert set(prebuilds.CallOptions.__annotations__) <= set(spec.OPTION_NAMES)
    assert all(spec.python_name(name) == f"{name}_" for name in public(types.Model))


def test_every_problem_is_reported_at_once(tiny: Schema, read: Read) -> None:
    at(tiny, *SCHEMAS, "Pot", "properties", "id").update({"format": "colour"})
    at(tiny, *SCHEMAS, "BrewResponse", "properties", "pot").update({"$ref": "#/components/schemas/Cup"})
    with pytest.raises(PipelineError) as caught:
        read(tiny)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: [1,\nb: 2\n", 3, "invalid YAML"),
        ("openapi: 3.1.0\nopenapi: 3.1.0\n", 2, "the key 'openapi' stands here twice"),
        ("responses:\n  200: {}\n", 2, "the key 200 is not a string"),
        ("- a list\n", 1, "expected a mapping"),
        ("", 1, "expected a mapping"),
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
