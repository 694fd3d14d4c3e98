"""What a test plans for prebuilds, and what comes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prebuild_wire.enums import PrebuildPhase
from prebuilds.emulator import ManualClock, Outcome, Plan
from prebuilds.emulator.lifecycle import WAY, ActivePhase, prebuild_timeline

from .driver import OTHER_PROJECT, PROJECT, Driver

USUAL_ENDS = {"PENDING": 15, "STARTING": 45, "RUNNING": 210, "STOPPING": 240, "SNAPSHOTTING": 300}


@pytest.mark.parametrize("phase", WAY)
def test_a_prebuild_fails_at_the_end_of_the_phase_that_was_planned(emulator: Driver, phase: ActivePhase):
    emulator.control.plan_outcome(Outcome(fails_in=phase, message="no space left"))
    failing, usual = emulator.create(), emulator.create()
    emulator.clock.advance(USUAL_ENDS[phase] - 1)
    assert emulator.phase(failing) == phase
    emulator.clock.advance(1)
    status = emulator.status(failing)
    assert status["phase"] == "PREBUILD_PHASE_FAILED"
    assert status["failureMessage"] == "no space left"
    assert status["completionTime"] == emulator.prebuild(failing)["metadata"]["updatedAt"]
    assert "snapshotSizeBytes" not in status
    emulator.clock.advance(300)
    assert emulator.phase(usual) == "COMPLETED"
    assert emulator.refused("CancelPrebuild", prebuildId=failing) == "failed_precondition"


def test_a_failure_has_a_message_even_if_none_was_planned(emulator: Driver):
    emulator.control.plan_outcome(Outcome(fails_in="RUNNING"))
    prebuild = emulator.create()
    emulator.clock.advance(300)
    assert "RUNNING" in emulator.status(prebuild)["failureMessage"]


def test_a_failed_prebuild_leaves_no_snapshot_to_a_pool(emulator: Driver):
    pool = emulator.create_pool()
    emulator.control.plan_outcome(Outcome(fails_in="SNAPSHOTTING"))
    emulator.create()
    emulator.clock.advance(400)
    assert emulator.pool_phase(pool) == "PENDING"


def test_a_prebuild_completes_with_a_warning(emulator: Driver):
    emulator.control.plan_outcome(Outcome(warning="the dev container did not build"))
    prebuild = emulator.create()
    emulator.clock.advance(299)
    assert "warningMessage" not in emulator.status(prebuild)
    emulator.clock.advance(1)
    status = emulator.status(prebuild)
    assert (status["phase"], status["warningMessage"]) == (
        "PREBUILD_PHASE_COMPLETED",
        "the dev container did not build",
    )


@pytest.mark.parametrize("phase", WAY)
def test_a_prebuild_that_stalls_is_ended_by_its_timeout(emulator: Driver, phase: ActivePhase):
    emulator.control.plan_outcome(Outcome(stalls_in=phase))
    prebuild = emulator.create(timeout="1800s")
    emulator.clock.advance(1799)
    assert emulator.phase(prebuild) == phase
    emulator.clock.advance(1)
    status = emulator.status(prebuild)
    assert status["phase"] == "PREBUILD_PHASE_FAILED"
    assert "timeout of 1800 seconds" in status["failureMessage"]


@pytest.mark.parametrize("phase", WAY)
def test_what_stalls_can_be_cancelled_and_deleted(emulator: Driver, phase: ActivePhase):
    emulator.control.plan_outcome(Outcome(stalls_in=phase), times=2)
    cancelled, deleted = emulator.create(), emulator.create()
    emulator.clock.advance(1000)
    emulator.call("CancelPrebuild", prebuildId=cancelled)
    emulator.call("DeletePrebuild", prebuildId=deleted)
    emulator.clock.advance(30)
    assert emulator.phase(cancelled) == "CANCELLED"
    emulator.clock.advance(300)
    assert emulator.refused("GetPrebuild", prebuildId=deleted) == "not_found"


def test_a_cancellation_can_fail_and_stall(emulator: Driver):
    emulator.control.plan_outcome(Outcome(fails_in="CANCELLING", message="the runner is gone"))
    emulator.control.plan_outcome(Outcome(stalls_in="CANCELLING"))
    failing, stalling = emulator.create(), emulator.create()
    for prebuild in (failing, stalling):
        emulator.call("CancelPrebuild", prebuildId=prebuild)
    emulator.clock.advance(30)
    assert emulator.status(failing)["failureMessage"] == "the runner is gone"
    assert emulator.refused("CancelPrebuild", prebuildId=failing) == "failed_precondition"
    emulator.clock.advance(3569)
    assert emulator.phase(stalling) == "CANCELLING"
    emulator.clock.advance(1)
    assert "timeout" in emulator.status(stalling)["failureMessage"]


@pytest.mark.parametrize("phase", [None, "RUNNING"])
def test_a_prebuild_takes_the_time_that_was_planned(emulator: Driver, phase):
    emulator.control.plan_outcome(Outcome(takes=900, fails_in=phase))
    prebuild = emulator.create()
    emulator.clock.advance(899.9)
    assert emulator.phase(prebuild) not in ("COMPLETED", "FAILED")
    emulator.clock.advance(0.1)
    assert emulator.phase(prebuild) == ("FAILED" if phase else "COMPLETED")


def test_a_prebuild_can_take_no_time_at_all(emulator: Driver):
    emulator.control.plan_outcome(Outcome(takes=0))
    assert emulator.phase(emulator.create()) == "COMPLETED"


def test_single_phases_take_the_time_that_was_planned(emulator: Driver):
    emulator.control.plan_outcome(Outcome(durations={"RUNNING": 1000, "PREBUILD_PHASE_PENDING": 0}))
    prebuild = emulator.create()
    assert emulator.phase(prebuild) == "STARTING"
    emulator.clock.advance(30 + 999)
    assert emulator.phase(prebuild) == "RUNNING"
    emulator.clock.advance(1)
    assert emulator.phase(prebuild) == "STOPPING"


def test_an_outcome_is_for_so_many_prebuilds_of_its_project_and_the_first_one_planned_counts(emulator: Driver):
    control = emulator.control
    control.plan_outcome(Outcome(fails_in="PENDING", message="first"), project_id=OTHER_PROJECT)
    control.plan_outcome(Outcome(fails_in="PENDING", message="second"), times=2)
    assert [(item.project_id, item.times) for item in control.outcomes()] == [(OTHER_PROJECT, 1), (None, 2)]
    made = [emulator.create(), emulator.create(OTHER_PROJECT.upper()), emulator.create(), emulator.create()]
    assert control.outcomes() == []
    assert control.plan_outcome(Outcome()).id == 3
    emulator.clock.advance(300)
    messages = [emulator.status(prebuild).get("failureMessage") for prebuild in made]
    assert messages == ["second", "first", "second", None]


def test_a_create_that_is_refused_uses_no_outcome_up(emulator: Driver):
    emulator.control.disable_prebuilds(PROJECT)
    emulator.control.plan_outcome(Outcome(fails_in="PENDING"))
    assert emulator.refused("CreatePrebuild", projectId=PROJECT, spec={}) == "failed_precondition"
    assert len(emulator.control.outcomes()) == 1
    emulator.control.forget_outcomes()
    assert emulator.control.outcomes() == []


def test_a_project_has_an_outcome_for_all_its_prebuilds(emulator: Driver):
    emulator.control.declare_project(PROJECT, outcome=Outcome(warning="as always"))
    emulator.control.plan_outcome(Outcome(warning="just once"))
    made = [emulator.create(), emulator.create(), emulator.create(), emulator.create(OTHER_PROJECT)]
    emulator.clock.advance(300)
    warnings = [emulator.status(prebuild).get("warningMessage") for prebuild in made]
    assert warnings == ["just once", "as always", "as always", None]


def test_the_usual_durations_can_be_changed_for_what_comes(emulator: Driver):
    before = emulator.create()
    emulator.control.put_plan(Plan(pending=100, draining=0))
    after, pool = emulator.create(), emulator.create_pool()
    emulator.clock.advance(99)
    assert (emulator.phase(before), emulator.phase(after)) == ("RUNNING", "PENDING")
    emulator.call("DeleteWarmPool", warmPoolId=pool)
    assert emulator.pool_phase(pool) == "DELETED"
    assert emulator.control.plan() == Plan(pending=100, draining=0)


@pytest.mark.parametrize(
    "fields",
    [
        {"message": "why"},
        {"warning": "careful", "fails_in": "RUNNING"},
        {"fails_in": "RUNNING", "stalls_in": "RUNNING"},
        {"stalls_in": "RUNNING", "takes": 5},
        {"takes": 5, "durations": {"RUNNING": 5}},
        {"takes": -1},
        {"takes": float("nan")},
        {"takes": 1e12},
        {"fails_in": "COMPLETED"},
        {"fails_on": "RUNNING"},
    ],
)
def test_an_outcome_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValidationError):
        Outcome(**fields)


PHASES = st.one_of(st.none(), st.sampled_from(get_args(ActivePhase)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fails=PHASES, stalls=PHASES, takes=st.one_of(st.none(), st.floats(0, 8000)), timeout=st.integers(300, 7200))
def test_whatever_is_planned_the_steps_are_in_order_and_end_in_time(fails, stalls, takes, timeout):
    try:
        outcome = Outcome(fails_in=fails, stalls_in=stalls, takes=takes)
    except ValidationError:
        return
    begin = ManualClock().now()
    steps = prebuild_timeline(begin, timedelta(seconds=timeout), Plan(), outcome)
    times = [begin, *(step.due for step in steps)]
    assert times == sorted(times)
    ends = [step for step in steps if step.phase in (PrebuildPhase.COMPLETED, PrebuildPhase.FAILED)]
    assert len(ends) == 1
    assert ends[0].due <= begin + timedelta(seconds=timeout)
