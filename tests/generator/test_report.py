"""The report says what changed, what breaks callers, and what is left to do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generator import report

from .conftest import Schema
from .test_lint import BREW, LIST, SCHEMAS, at

Edit = Callable[[Schema], Any]

POT = *SCHEMAS, "Pot", "properties"
REQUEST = *SCHEMAS, "BrewRequest", "properties"


def add_operation(schema: Schema) -> None:
    operation = copy.deepcopy(at(schema, *BREW))
    operation |= {"operationId": "Boil", "x-client-method": "boil"}
    schema["paths"]["/kettle.v1.KettleService/Boil"] = {"post": operation}


# What is edited, the line that says so, and whether it breaks callers.
CASES: dict[str, tuple[Edit, str, bool]] = {
    "a new operation": (add_operation, "operation Boil: new, client.kettles.boil", False),
    "an operation less": (
        lambda s: s["paths"].pop("/kettle.v1.KettleService/Brew"),
        "operation Brew: gone, and with it client.kettles.brew",
        True,
    ),
    "a method renamed": (
        lambda s: at(s, *BREW).update({"x-client-method": "make"}),
        "operation Brew: client method: brew -> make",
        True,
    ),
    "other retries": (
        lambda s: at(s, *BREW).update({"x-idempotency": "idempotent"}),
        "operation Brew: idempotency: unsafe -> idempotent, so that retries differ",
        False,
    ),
    "no paging": (
        lambda s: at(s, *LIST).pop("x-paging"),
        "operation ListPots: paging: pots by page.size",
        True,
    ),
    "a new field": (
        lambda s: at(s, *POT).update(lid={"type": "boolean", "x-protobuf-number": 9}),
        "field Pot.lid: new, boolean",
        False,
    ),
    "a new field that a request needs": (
        lambda s: (
            at(s, *REQUEST).update(leaf={"type": "string", "x-protobuf-number": 9}),
            at(s, *SCHEMAS, "BrewRequest", "required").append("leaf"),
        ),
        "field BrewRequest.leaf: new, and required, string",
        True,
    ),
    "a field less": (lambda s: at(s, *POT).pop("millilitres"), "field Pot.millilitres: gone", True),
    "another type": (
        lambda s: at(s, *POT, "millilitres").update(format="int64"),
        "field Pot.millilitres: type: string uint64 -> string int64",
        True,
    ),
    "another number": (
        lambda s: at(s, *POT, "millilitres").update({"x-protobuf-number": 9}),
        "field Pot.millilitres: protobuf number: 4 -> 9",
        True,
    ),
    "a field that a request needs now": (
        lambda s: at(s, *SCHEMAS, "BrewRequest", "required").append("cups"),
        "field BrewRequest.cups: required",
        True,
    ),
    "a field that a response has no longer always": (
        lambda s: at(s, *SCHEMAS, "Pot").pop("required"),
        "field Pot.brewedAt: no longer required",
        True,
    ),
    "a bound that is tighter": (
        lambda s: at(s, *REQUEST, "cups").update(maximum=6),
        "field BrewRequest.cups: maximum: 8 -> 6",
        True,
    ),
    "a bound that is looser": (
        lambda s: at(s, *REQUEST, "cups").update(maximum=10),
        "field BrewRequest.cups: maximum: 8 -> 10",
        False,
    ),
    "a bound that is gone": (
        lambda s: at(s, *REQUEST, "cups").pop("minimum"),
        "field BrewRequest.cups: minimum: 1 -> none",
        False,
    ),
    "a duration's bound that is tighter": (
        lambda s: at(s, "x-formats", "brew-time").update(maximum="300s"),
        "format brew-time: maximum: 600s -> 300s",
        True,
    ),
    "a deprecation": (
        lambda s: at(s, *POT, "id").update(deprecated=True),
        "field Pot.id: deprecated",
        False,
    ),
    "presence": (
        lambda s: at(s, *REQUEST, "strong").update({"x-presence": "explicit"}),
        "field BrewRequest.strong: presence: implicit -> explicit",
        True,
    ),
    "a new member": (
        lambda s: (
            at(s, *SCHEMAS, "TeaKind", "enum").append("TEA_WHITE"),
            at(s, *SCHEMAS, "TeaKind", "x-enum-numbers").update(TEA_WHITE=3),
        ),
        "member TeaKind.WHITE: new, 3",
        False,
    ),
    "a member less": (
        lambda s: (
            at(s, *SCHEMAS, "TeaKind", "enum").remove("TEA_BLACK"),
            at(s, *SCHEMAS, "TeaKind", "x-enum-numbers").pop("TEA_BLACK"),
        ),
        "member TeaKind.",
        True,
    ),
    "a member with another number": (
        lambda s: at(s, *SCHEMAS, "TeaKind", "x-enum-numbers").update(TEA_BLACK=5),
        "member TeaKind.BLACK: number: 2 -> 5",
        True,
    ),
    "other words": (
        lambda s: at(s, *SCHEMAS, "Pot").update(description="A pot."),
        "descriptions and examples only",
        False,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_change_is_one_line_that_says_whether_it_breaks(case: tuple[Edit, str, bool], tiny: Schema) -> None:
    edit, line, breaking = case
    old = copy.deepcopy(tiny)
    edit(tiny)
    changes = report.compare(old, tiny).changes
    found = [change for change in changes if change.text.startswith(line)]
    assert found, [change.text for change in changes]
    assert found[0].breaking == breaking


def test_what_did_not_change_is_not_reported(tiny: Schema) -> None:
    result = report.compare(copy.deepcopy(tiny), tiny)
    assert result.changes == []
    assert str(result) == "no change of the API since the last generation"


def test_a_new_operation_and_a_new_request_field_are_left_to_do(tiny: Schema) -> None:
    old = copy.deepcopy(tiny)
    add_operation(tiny)
    at(tiny, *REQUEST).update(leaf={"type": "string", "x-protobuf-number": 9})
    todo = report.compare(old, tiny).todo
    assert any(item.startswith("Boil: the emulator answers `unimplemented`") for item in todo)
    assert any(item.startswith("BrewRequest.leaf: the emulator reads past it") for item in todo)


def test_entries_stand_in_the_change_log_newest_first(tiny: Schema, tmp_path: Path) -> None:
    log = tmp_path / "CHANGELOG.md"
    log.write_text("# Changes\n\nWords.\n\n## Schema 0.9.0\n\n- old\n")
    old = copy.deepcopy(tiny)
    add_operation(tiny)
    text = report.with_entry(report.compare(old, tiny), log.read_text())
    assert text.startswith("# Changes\n\nWords.\n\n## Schema 1.0.0\n\n### Changed\n\n- operation Boil")
    assert text.index("## Schema 1.0.0") < text.index("## Schema 0.9.0")
    assert text.endswith("- old\n")
