"""Every mutant has a bug that shows, and the emulator has not."""

from __future__ import annotations

from collections import Counter

import pytest

from prebuild_wire import OPERATIONS

from .mutants import AREAS, MUTANTS
from .mutants.base import Api, Server


@pytest.mark.parametrize("area", AREAS)
def test_a_mutant_has_a_bug_that_shows(area):
    for kind in AREAS[area]:
        mutant = kind()
        correct = Server()
        with_bug, without = Api(mutant.app), Api(correct.app)
        try:
            assert mutant.shows(with_bug), kind.__name__
            assert not mutant.shows(without), kind.__name__
        finally:
            for thing in (with_bug, without, mutant, correct):
                thing.close()


def test_there_are_mutants_of_every_method_and_area():
    per_method = Counter(method for kind in MUTANTS.values() for method in kind.methods)
    assert len(MUTANTS) >= 60
    assert sum(len(kinds) for kinds in AREAS.values()) == len(MUTANTS), "two mutants have one name"
    assert {method: per_method[method] for method in OPERATIONS if per_method[method] < 4} == {}
    assert all(kind.__doc__ for kind in MUTANTS.values())
