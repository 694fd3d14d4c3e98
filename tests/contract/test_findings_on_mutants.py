"""The kit finds bugs, and nothing wrong with correct servers. `make mutants` measures both in full."""

from __future__ import annotations

import os

import pytest

from .measure import LAYERS, alarms, run_kit
from .mutants import AREAS
from .variants import VARIANTS

SEEDS = range(int(os.environ.get("FALSE_ALARM_SEEDS", "1")))

# Each area gives a few, so that the default test run is quick; which, is no choice of anybody's.
SAMPLE = [kind for kinds in AREAS.values() for kind in kinds[3::8]]


def test_bugs_are_found():
    escaped = [
        kind.__name__
        for kind in SAMPLE
        # Most are found by the quick layers already.
        if not run_kit(kind, layers=("probes", "lifecycle")).broken and not run_kit(kind, layers=LAYERS).broken
    ]
    assert len(SAMPLE) >= 20
    assert len(escaped) <= 0.05 * len(SAMPLE), escaped


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", VARIANTS)
def test_there_are_no_false_alarms(name, seed):
    report = run_kit(VARIANTS[name], seed=seed, assumptions=VARIANTS[name].assumptions)
    assert alarms(report) == []


def test_the_same_seed_sends_the_same_requests():
    def sent():
        report = run_kit(VARIANTS["TheEmulator"], seed=5, layers=("probes", "lifecycle", "schemathesis"))
        return [(answer.request.method, answer.status) for answer in report.session.log]

    assert sent() == sent()
