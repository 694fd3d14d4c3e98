"""Any change of the schema reaches every layer, or is rejected with its place and reason; see `evolutions`."""

from __future__ import annotations

import time

import pytest

from .evolutions import Case, cases, failure

ALL = list(cases())
REJECTED = [case for case in ALL if case.is_rejected]
ACCEPTED = [case for case in ALL if not case.is_rejected]

# Those that have broken generated code in the most ways.
SAMPLE = (
    "names: fields named as builtins and types",
    "names: messages named as classes of Python",
    "shapes: an RPC with an empty request",
    "shapes: a second service",
)


def test_there_are_enough() -> None:
    assert len(ALL) >= 150
    assert len({str(case) for case in ALL}) == len(ALL)
    assert {str(case) for case in ACCEPTED} >= set(SAMPLE)


def test_broken_input_is_rejected_with_its_place_and_reason() -> None:
    before = time.process_time()
    failures = [f"{case}: {text}" for case in REJECTED if (text := failure(case)) is not None]
    assert not failures, "\n".join(failures)
    assert time.process_time() - before < 30


@pytest.mark.parametrize("case", [case for case in ACCEPTED if str(case) in SAMPLE], ids=str)
def test_a_legitimate_change_reaches_every_layer(case: Case) -> None:
    assert failure(case) is None
