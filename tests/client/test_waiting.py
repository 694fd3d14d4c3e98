"""Waiting for prebuilds, without a network or a clock."""

from __future__ import annotations

import httpx
import pytest

from prebuild_api.models import Prebuild, PrebuildPhase
from prebuilds import (
    NotFoundError,
    PermissionDeniedError,
    PrebuildCancelledError,
    PrebuildDeletedError,
    PrebuildFailedError,
    UnavailableError,
    WaitError,
    WaitTimeoutError,
)
from prebuilds.waiting import wait

from .both import ID
from .rehearsal import Rehearsal, answer, error
from .scripted import a_prebuild

NOT_FOUND = error("not_found", 404, "no such prebuild")


def seen(phase: str, **status):
    return answer(200, {"prebuild": a_prebuild(f"PREBUILD_PHASE_{phase}", **status)})


def wait_for(rehearsal, prebuild_id=ID, *, timeout=7500.0, on_update=None, poll_interval=12.0):
    return rehearsal.run(
        wait(
            rehearsal.caller,
            prebuild_id,
            timeout=timeout,
            on_update=on_update,
            poll_interval=poll_interval,
        )
    )


def test_it_ends_when_the_prebuild_is_completed_and_tells_each_change():
    phases = ["PENDING", "PENDING", "STARTING", "RUNNING", "RUNNING", "STOPPING", "SNAPSHOTTING"]
    rehearsal = Rehearsal([*map(seen, phases), seen("COMPLETED", warningMessage="careful")])
    updates: list[str] = []
    prebuild = wait_for(rehearsal, on_update=lambda each: updates.append(each.status.phase))
    assert prebuild.status.phase is PrebuildPhase.COMPLETED
    assert prebuild.status.warning_message == "careful"
    names = [phase.removeprefix("PREBUILD_PHASE_") for phase in updates]
    assert names == ["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "COMPLETED"]
    assert {body["prebuildId"] for body in rehearsal.bodies()} == {ID}


def test_a_change_within_a_phase_is_told_too():
    script = [seen("SNAPSHOTTING", snapshotCompletionPercentage=each) for each in (1, 1, 2)]
    updates: list[Prebuild] = []
    wait_for(Rehearsal([*script, seen("COMPLETED")]), on_update=updates.append)
    assert [each.status.snapshot_completion_percentage for each in updates] == [1, 2, None]


def test_the_prebuild_itself_can_be_given():
    rehearsal = Rehearsal([seen("COMPLETED")])
    prebuild = Prebuild.from_dict(a_prebuild())
    wait_for(rehearsal, prebuild)
    assert rehearsal.bodies() == [{"prebuildId": prebuild.id}]


@pytest.mark.parametrize("nothing", ["", Prebuild.from_dict({**a_prebuild(), "id": ""})])
def test_without_an_id_it_is_a_value_error(nothing):
    with pytest.raises(ValueError, match="prebuild_id"):
        wait_for(Rehearsal([]), nothing)


@pytest.mark.parametrize("interval", [0, -1.0])
def test_a_pause_has_to_be_one(interval):
    with pytest.raises(ValueError, match="poll_interval"):
        wait_for(Rehearsal([]), poll_interval=interval)


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        ("FAILED", PrebuildFailedError),
        ("CANCELLED", PrebuildCancelledError),
        ("DELETED", PrebuildDeletedError),
    ],
)
def test_other_ends_are_errors_that_carry_the_prebuild(phase, kind):
    last = seen(phase, failureMessage="task 2 exited with 1", logUrl="https://logs.example/1")
    with pytest.raises(WaitError) as caught:
        wait_for(Rehearsal([seen("RUNNING"), last]))
    assert type(caught.value) is kind
    assert caught.value.item_id == ID
    assert caught.value.prebuild.status.phase == f"PREBUILD_PHASE_{phase}"
    for text in (ID, phase.lower(), "task 2 exited with 1", "https://logs.example/1"):
        assert text in str(caught.value)


@pytest.mark.parametrize("phase", [phase for phase in PrebuildPhase if phase.is_terminal])
def test_every_terminal_phase_of_the_schema_has_an_end_of_its_own(phase):
    kind = None
    try:
        wait_for(Rehearsal([seen(phase.name)]))
    except WaitError as ended:
        kind = type(ended)
    assert kind is not WaitError
    assert (kind is None) is (phase is PrebuildPhase.COMPLETED)


@pytest.mark.parametrize("passing", ["CANCELLING", "DELETING", "UNSPECIFIED", "TELEPORTING"])
def test_phases_that_pass_are_waited_through(passing):
    with pytest.raises(PrebuildCancelledError):
        wait_for(Rehearsal([seen("RUNNING"), seen(passing), seen(passing), seen("CANCELLED")]))


def test_a_prebuild_that_vanishes_has_been_deleted():
    with pytest.raises(PrebuildDeletedError, match="was deleted") as caught:
        wait_for(Rehearsal([seen("DELETING"), NOT_FOUND]))
    assert caught.value.prebuild.status.phase is PrebuildPhase.DELETING
    assert isinstance(caught.value.__cause__, NotFoundError)


def test_a_prebuild_that_never_was_is_not_found():
    with pytest.raises(NotFoundError, match="no such prebuild"):
        wait_for(Rehearsal([NOT_FOUND]))


def test_passing_failures_do_not_end_it():
    failures = [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
        answer(502, "<html>"),
        answer(200, "{"),
        error("resource_exhausted", 429),
        error("internal", 500),
        answer(500, "oops"),
    ]
    script = [*failures, seen("RUNNING"), *failures * 10, seen("RUNNING"), seen("COMPLETED")]
    assert wait_for(Rehearsal(script)).status.phase is PrebuildPhase.COMPLETED


def test_lasting_failures_end_it():
    denied = error("permission_denied", 403)
    with pytest.raises(PermissionDeniedError):
        wait_for(Rehearsal([seen("RUNNING"), denied]))


def test_a_service_that_never_answers_ends_it_after_two_minutes():
    rehearsal = Rehearsal(lambda now: answer(503, "nobody here"))
    with pytest.raises(UnavailableError, match="nobody here"):
        wait_for(rehearsal)
    assert 120 <= rehearsal.time < 160


def test_the_deadline_has_one_last_look():
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now >= 100 else "RUNNING"))
    wait_for(rehearsal, timeout=100)
    assert rehearsal.time == 100


def test_running_out_of_time_tells_how_the_prebuild_was_last_seen():
    rehearsal = Rehearsal(lambda now: seen("RUNNING", logUrl="https://logs.example/1"))
    with pytest.raises(WaitTimeoutError, match=r"is RUNNING after 100 s .*logs\.example") as caught:
        wait_for(rehearsal, timeout=100)
    assert caught.value.prebuild.status.phase is PrebuildPhase.RUNNING
    assert caught.value.__cause__ is None
    assert rehearsal.time == 100


def test_running_out_of_time_while_the_service_is_away_says_so():
    rehearsal = Rehearsal(lambda now: seen("RUNNING") if now < 50 else answer(503, "maintenance"), retries=0)
    with pytest.raises(WaitTimeoutError, match="maintenance") as caught:
        wait_for(rehearsal, timeout=100)
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert caught.value.prebuild is not None


def test_a_timeout_of_zero_is_one_look():
    rehearsal = Rehearsal([seen("RUNNING")])
    with pytest.raises(WaitTimeoutError):
        wait_for(rehearsal, timeout=0)
    assert len(rehearsal.sent) == 1


def test_without_a_timeout_it_goes_on_and_on():
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now > 1e6 else "RUNNING"))
    wait_for(rehearsal, timeout=None)
    assert rehearsal.time > 1e6


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_ten_minutes_cost_at_most_60_looks_and_the_end_is_noticed_within_15_seconds(chance):
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now >= 600 else "RUNNING"), chance=chance, latency=0.1)
    wait_for(rehearsal)
    assert len(rehearsal.sent) <= 60
    assert rehearsal.time < 615
    assert rehearsal.slept[0] <= 1.1


def test_what_on_update_raises_ends_it():
    def on_update(prebuild: Prebuild) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        wait_for(Rehearsal([seen("RUNNING")]), on_update=on_update)
