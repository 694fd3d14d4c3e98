"""The kit finds bugs, and nothing wrong with correct servers. `make mutants` measures both in full."""

from __future__ import annotations

import pytest

from .measure import LAYERS, alarms, run_kit
from .mutants import AREAS, MUTANTS
from .variants import COMBINED, VARIANTS

QUICK = ("probes", "lifecycle")

SUBTLE = (
    "NewItemsEndTheList",
    "DeletedIsStillListed",
    "CancelledGoesOn",
    "DrainsForEver",
    "SnapshotOfTheCancelled",
    "SnapshotComesBack",
    "DeletionTakesTheClass",
)
"""Mutants that the quick layers do not find, and the state machine does."""

ESCAPED = ("PrefixOfTheTokenWillDo", "TokenStandsInTheUrl")
"""Mutants that no layer finds."""

FOUND_BY_THE_MACHINE = (
    *SUBTLE,
    "PageSizeIsIgnored",
    "AnItemIsSkipped",
    "SamePageForEver",
    "BadTokenIsTheEnd",
    "ClassFilterIsIgnored",
    "FirstProjectCounts",
    "FilterNeedsAPage",
    "AnswersAnotherId",
    "OnePrebuildPerProject",
    "GetAnswersTheNewest",
    "PhaseGoesBack",
    "CompletedGoesOn",
    "NoEndIsTold",
    "CancelHasNoEffect",
    "CancelTwiceIsRefused",
    "DeleteHasNoEffect",
    "DeleteTakesAnother",
    "DeletedComesBack",
    "PlaceIsTakenForEver",
    "SizesAreForgotten",
    "GetLagsBehind",
    "NewPoolsAreNotListed",
    "ListHasNoSpec",
    "UpdateLiftsTheMaximum",
    "UpdateIsNotKept",
    "DeletedCanBeUpdated",
    "DeletionIsNotWanted",
    "PoolIsNeverGone",
)
"""Mutants that the state machine finds early, so that it is soon seen whether it still does."""


def missed(names, layers):
    """Those of the mutants in which these layers find nothing. What they draw may change with Hypothesis."""
    return [
        name
        for name in names
        if not any(run_kit(MUTANTS[name], seed=seed, layers=layers, until_broken=True).broken for seed in (0, 1))
    ]


@pytest.mark.campaign(quick=4, full=100)
@pytest.mark.parametrize("area", AREAS)
def test_bugs_are_found(area, size):
    kinds = [kind.__name__ for kind in AREAS[area] if kind.__name__ not in (*SUBTLE, *ESCAPED)]
    # Some of each area; which, is no choice of anybody's.
    assert missed(kinds[:: max(len(kinds) // size, 1)], QUICK) == []


@pytest.mark.campaign(quick=4, full=100)
@pytest.mark.parametrize("part", range(4))
def test_the_machine_finds_bugs_alone(part, size):
    assert missed(FOUND_BY_THE_MACHINE[part::4][:size], ("machine",)) == []


@pytest.mark.parametrize("name", VARIANTS)
def test_the_quick_layers_give_no_false_alarms(name):
    report = run_kit(VARIANTS[name], layers=QUICK, assumptions=VARIANTS[name].assumptions)
    assert alarms(report) == []


@pytest.mark.xdist_group("schemathesis")
@pytest.mark.parametrize("name", COMBINED)
def test_schemathesis_gives_no_false_alarms(name):
    report = run_kit(COMBINED[name], layers=("schemathesis",), assumptions=COMBINED[name].assumptions)
    assert alarms(report) == []


@pytest.mark.campaign
@pytest.mark.parametrize("name", [*VARIANTS, *(name for name in COMBINED if name not in VARIANTS)])
def test_there_are_no_false_alarms(name):
    kind = {**VARIANTS, **COMBINED}[name]
    report = run_kit(kind, layers=LAYERS, assumptions=kind.assumptions)
    assert alarms(report) == []


def test_the_same_seed_sends_the_same_requests():
    def sent():
        report = run_kit(VARIANTS["TheEmulator"], seed=5, layers=QUICK)
        return [(answer.request.method, answer.status) for answer in report.session.log]

    assert sent() == sent()
