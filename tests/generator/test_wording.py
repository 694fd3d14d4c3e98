"""Docstrings of the client: its own names for operations and fields, and nothing that is only assumed."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from generator import spec, wording

from .conftest import Make, Schema, small
from .test_lint import BREW, LIST, SCHEMAS, at


def told(text: str) -> str:
    """What becomes of the description of a message."""
    schema = small()
    at(schema, *SCHEMAS, "Pot")["description"] = text
    at(schema, *SCHEMAS, "Pot", "properties")["class"] = {"type": "string", "x-protobuf-number": 9}
    return wording.in_python(spec.read(schema)).messages["Pot"].description


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Call `ListPots` first.", "Call `list` first."),
        ("`Brew`, `ListPots`", "`brew`, `list`"),
        ("Set `minCups`.", "Set `min_cups`."),
        ("Set ``minCups``.", "Set ``min_cups``."),
        ("The `page.token` of `ListPots.nextToken`", "The `page.token` of `list.next_token`"),
        ("`pot.brewedAt` and `pot.refill.brewedAt`", "`pot.brewed_at` and `pot.refill.brewed_at`"),
        ("`class`", "`class_`"),
        # No name of an operation or a field, or no name alone.
        ("ListPots and minCups", "ListPots and minCups"),
        ("`ListPotsRequest` and `TeaKind`", "`ListPotsRequest` and `TeaKind`"),
        ("`TEA_GREEN`, `not_found`, `unknownName`", "`TEA_GREEN`, `not_found`, `unknownName`"),
        ('`{"minCups": 5}` or `minCups=5`', '`{"minCups": 5}` or `minCups=5`'),
        ("a ` minCups ` b `", "a ` minCups ` b `"),
        ("`id` minCups `id`", "`id` minCups `id`"),
        ("``` `minCups` ```", "``` `minCups` ```"),
    ],
)
def test_names_in_backticks_are_those_of_the_client(text: str, expected: str) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A pot. ASSUMPTION: there is water.", "A pot."),
        ("A pot.\nASSUMPTION: there is water,\nand it is hot.\nASSUMPTION: there is tea.", "A pot."),
        ("A pot.\n\nASSUMPTION: there is water.\n\nIt is hot.", "A pot.\n\nIt is hot."),
        ("ASSUMPTION: there is water.", ""),
        ("ASSUMPTION: there is water.\n\nA pot.", "A pot."),
        ("- a pot ASSUMPTION: there is\n  water\n- a cup", "- a pot\n- a cup"),
        ("This rests on an assumption.", "This rests on an assumption."),
    ],
)
def test_what_is_assumed_is_left_out(text: str, expected: str) -> None:
    assert told(text) == expected


def test_a_message_keeps_its_name_if_an_operation_has_the_same() -> None:
    schema = small()
    at(schema, *SCHEMAS)["Brew"] = {"type": "object", "description": "A `Brew` of `ListPots`."}
    assert wording.in_python(spec.read(schema)).messages["Brew"].description == "A `Brew` of `list`."


def test_every_text_of_the_package_is_told_in_python(tiny: Schema, make: Make) -> None:
    """Each description of the schema names a field and an operation, and assumes something."""
    text = "See `minCups` and `ListPots`. ASSUMPTION: there is water."
    tiny["info"]["description"] = text
    for operation in (at(tiny, *BREW), at(tiny, *LIST)):
        operation["summary"] = operation["description"] = text
    at(tiny, *LIST)["parameters"] = [
        {"name": "someToken", "in": "query", "description": text, "schema": {"type": "string"}}
    ]
    for schema in at(tiny, *SCHEMAS).values():
        schema["description"] = text
        for field in schema.get("properties", {}).values():
            field["description"] = text
        if "enum" in schema:
            schema["x-enum-descriptions"] = dict.fromkeys(schema["enum"], text)
    root = Path(make(tiny).__path__[0])
    texts = [
        node.value
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert sum("`min_cups`" in each and "`list`" in each for each in texts) > 50
    assert not [each for each in texts if "`minCups`" in each or "`ListPots`" in each or "ASSUMPTION" in each]


def test_a_description_that_is_an_assumption_leaves_the_summary(tiny: Schema, make: Make) -> None:
    at(tiny, *BREW)["description"] = "ASSUMPTION: there is water."
    at(tiny, *SCHEMAS, "BrewRequest", "properties", "cups")["description"] = "ASSUMPTION: cups are clean."
    package = make(tiny)
    # Python 3.13 takes the indentation out by itself.
    documentation = inspect.getdoc(package.resources.KettlesResource.brew)  # type: ignore[attr-defined]
    assert documentation.startswith("Brew a pot.\n\nArgs:\n")
    assert "    cups: `cups`. At least 1, at most 8.\n" in documentation
    assert "    min_cups: `min_cups`. At least 0.\n" in documentation


def test_an_operation_without_a_summary_has_a_docstring(tiny: Schema, make: Make) -> None:
    del at(tiny, *BREW)["summary"]
    package = make(tiny)
    assert package.resources.KettlesResource.brew.__doc__.startswith("`brew`.\n")  # type: ignore[attr-defined]
