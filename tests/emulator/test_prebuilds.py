from __future__ import annotations

import pytest

from prebuilds.emulator import Plan
from prebuilds.emulator.ids import default_class_id

from .driver import ENVIRONMENT_CLASS, NOBODY, PROJECT

PLAN = Plan()
HAPPY_PATH = [
    ("PENDING", PLAN.pending),
    ("STARTING", PLAN.starting),
    ("RUNNING", PLAN.running),
    ("STOPPING", PLAN.stopping),
    ("SNAPSHOTTING", PLAN.snapshotting),
]
SNAPSHOTTING_AT = PLAN.pending + PLAN.starting + PLAN.running + PLAN.stopping


def reach(emulator, phase):
    """A new prebuild, moved on until it has just got to that phase."""
    prebuild_id = emulator.create()
    for name, seconds in HAPPY_PATH:
        if name == phase:
            break
        emulator.clock.advance(seconds)
    assert emulator.phase(prebuild_id) == phase
    return prebuild_id


def test_default_plan_completes_in_300_seconds():
    assert sum(seconds for _, seconds in HAPPY_PATH) == 300


def test_a_fresh_prebuild(emulator):
    created = emulator.call("CreatePrebuild", projectId=PROJECT, environmentClassId=ENVIRONMENT_CLASS, spec={})[
        "prebuild"
    ]

    assert created["metadata"]["projectId"] == PROJECT
    assert created["metadata"]["environmentClassId"] == ENVIRONMENT_CLASS
    assert created["metadata"]["createdAt"] == created["metadata"]["updatedAt"] == "2030-01-01T00:00:00Z"
    assert created["metadata"]["triggeredBy"] == "PREBUILD_TRIGGER_MANUAL"
    assert created["metadata"]["creator"]["principal"] == "PRINCIPAL_USER"
    assert created["spec"] == {"specVersion": "1", "desiredPhase": "PREBUILD_PHASE_COMPLETED", "timeout": "3600s"}
    assert created["status"] == {"phase": "PREBUILD_PHASE_PENDING", "statusVersion": "1"}
    assert emulator.prebuild(created["id"]) == created


def test_the_happy_path_with_its_times_and_versions(emulator):
    prebuild_id = emulator.create()
    seen = []
    for name, seconds in HAPPY_PATH:
        seen.append(emulator.phase(prebuild_id))
        emulator.clock.advance(seconds - 1)
        assert emulator.phase(prebuild_id) == name
        emulator.clock.advance(1)
    completed = emulator.prebuild(prebuild_id)

    assert seen == [name for name, _ in HAPPY_PATH]
    assert completed["status"]["phase"] == "PREBUILD_PHASE_COMPLETED"
    assert completed["status"]["completionTime"] == "2030-01-01T00:05:00Z"
    assert completed["metadata"]["updatedAt"] == "2030-01-01T00:05:00Z"
    assert completed["status"]["statusVersion"] == "7"
    assert completed["spec"]["specVersion"] == "1"


def test_steps_that_nobody_watched_are_stamped_with_the_time_at_which_they_were_due(emulator):
    watched, unwatched = emulator.create(), emulator.create()
    for _ in range(31):
        emulator.clock.advance(10)
        emulator.prebuild(watched)
    emulator.clock.advance(3600)

    late = emulator.prebuild(unwatched)
    assert late["metadata"]["updatedAt"] == late["status"]["completionTime"] == "2030-01-01T00:05:00Z"
    assert late["status"]["statusVersion"] == emulator.prebuild(watched)["status"]["statusVersion"] == "7"


def test_the_environment_and_the_log_are_known_from_STARTING_on(emulator):
    prebuild_id = emulator.create()
    emulator.clock.advance(PLAN.pending - 0.001)
    before = emulator.prebuild(prebuild_id)["status"]
    emulator.clock.advance(0.001)
    after = emulator.prebuild(prebuild_id)["status"]
    emulator.clock.advance(1000)
    completed = emulator.prebuild(prebuild_id)["status"]

    assert "environmentId" not in before
    assert "logUrl" not in before
    assert after["environmentId"] == completed["environmentId"]
    assert after["logUrl"] == completed["logUrl"] == f"{emulator.url}/logs/{prebuild_id}"


def test_prebuilds_have_environments_of_their_own(emulator):
    first, second = emulator.create(), emulator.create()
    emulator.clock.advance(PLAN.pending)

    ids = {emulator.prebuild(prebuild_id)["status"]["environmentId"] for prebuild_id in (first, second)}
    assert len(ids) == 2


def test_the_percentage_is_told_while_SNAPSHOTTING_only_and_counts_as_a_change(emulator):
    prebuild_id = reach(emulator, "SNAPSHOTTING")
    begun = emulator.prebuild(prebuild_id)["status"]
    emulator.clock.advance(PLAN.snapshotting / 2)
    halfway = emulator.prebuild(prebuild_id)["status"]
    emulator.clock.advance(PLAN.snapshotting / 2)
    completed = emulator.prebuild(prebuild_id)["status"]

    assert "snapshotCompletionPercentage" not in begun
    assert halfway["snapshotCompletionPercentage"] == 50
    assert int(halfway["statusVersion"]) == int(begun["statusVersion"]) + 1
    assert "snapshotCompletionPercentage" not in completed


def test_the_size_is_told_once_COMPLETED(emulator):
    prebuild_id = reach(emulator, "SNAPSHOTTING")
    assert "snapshotSizeBytes" not in emulator.prebuild(prebuild_id)["status"]
    emulator.clock.advance(PLAN.snapshotting)
    assert emulator.prebuild(prebuild_id)["status"]["snapshotSizeBytes"] == str(PLAN.snapshot_size_bytes)


def test_without_a_class_the_default_one_of_the_project_is_used(emulator):
    first = emulator.create(environment_class=None)
    second = emulator.create(environment_class=None)

    class_ids = {emulator.prebuild(item)["metadata"]["environmentClassId"] for item in (first, second)}
    assert class_ids == {default_class_id(PROJECT)}


def test_the_creator_is_the_caller(emulator):
    mine, mine_too = emulator.create(), emulator.create()
    emulator.http.headers["Authorization"] = "Bearer somebody else"
    theirs = emulator.create()

    creators = [emulator.prebuild(item)["metadata"]["creator"]["id"] for item in (mine, mine_too, theirs)]
    assert creators[0] == creators[1] != creators[2]


def test_desired_phase_and_version_in_a_create_request_are_ignored(emulator):
    prebuild_id = emulator.create(desiredPhase="PREBUILD_PHASE_CANCELLED", specVersion="9")
    spec = emulator.prebuild(prebuild_id)["spec"]
    assert spec["desiredPhase"] == "PREBUILD_PHASE_COMPLETED"
    assert spec["specVersion"] == "1"


def test_a_timeout_within_its_bounds_is_told_in_canonical_form(emulator):
    for given, told in (
        ("300s", "300s"),
        ("7200s", "7200s"),
        ("+300.1s", "300.100s"),
        ("0600.000s", "600s"),
        ("300.123456789s", "300.123456789s"),
    ):
        assert emulator.prebuild(emulator.create(timeout=given))["spec"]["timeout"] == told, given


def test_a_timeout_out_of_bounds_is_refused(emulator):
    for timeout in ("299.999999999s", "7200.000000001s", "0s", "-600s", "600", "10m", "", 600):
        fields = {"projectId": PROJECT, "spec": {"timeout": timeout}}
        assert emulator.refused("CreatePrebuild", **fields) == "invalid_argument", timeout


def test_a_prebuild_that_takes_longer_than_its_timeout_fails_when_it_is_over(start):
    emulator = start(Plan(running=1000))
    prebuild_id = emulator.create(timeout="400.5s")
    emulator.clock.advance(400.4)
    assert emulator.phase(prebuild_id) == "RUNNING"
    emulator.clock.advance(5000)
    failed = emulator.prebuild(prebuild_id)

    assert failed["status"]["phase"] == "PREBUILD_PHASE_FAILED"
    assert failed["status"]["completionTime"] == "2030-01-01T00:06:40.500Z"
    assert "400.5" in failed["status"]["failureMessage"]
    assert "snapshotSizeBytes" not in failed["status"]
    emulator.clock.advance(30 * 24 * 3600)
    assert emulator.phase(prebuild_id) == "FAILED"


def test_a_prebuild_that_takes_just_as_long_as_its_timeout_completes(emulator):
    prebuild_id = emulator.create(timeout="300s")
    emulator.clock.advance(300)
    assert emulator.phase(prebuild_id) == "COMPLETED"


@pytest.mark.parametrize("phase", [name for name, _ in HAPPY_PATH])
def test_cancelling_from_every_phase_that_is_under_way(emulator, phase):
    prebuild_id = reach(emulator, phase)
    version = int(emulator.prebuild(prebuild_id)["status"]["statusVersion"])
    answered = emulator.call("CancelPrebuild", prebuildId=prebuild_id)["prebuild"]

    assert answered["status"]["phase"] == "PREBUILD_PHASE_CANCELLING"
    assert answered["status"]["statusVersion"] == str(version + 1)
    assert answered["spec"]["desiredPhase"] == "PREBUILD_PHASE_CANCELLED"
    assert answered["spec"]["specVersion"] == "2"
    assert "completionTime" not in answered["status"]
    assert "snapshotCompletionPercentage" not in answered["status"]

    emulator.clock.advance(PLAN.cancelling)
    cancelled = emulator.prebuild(prebuild_id)
    assert cancelled["status"]["phase"] == "PREBUILD_PHASE_CANCELLED"
    assert cancelled["status"]["completionTime"] == cancelled["metadata"]["updatedAt"]
    emulator.clock.advance(10_000)
    assert emulator.prebuild(prebuild_id) == cancelled


def test_cancelling_again_changes_nothing(emulator):
    prebuild_id = reach(emulator, "RUNNING")
    first = emulator.call("CancelPrebuild", prebuildId=prebuild_id)
    emulator.clock.advance(1)
    assert emulator.call("CancelPrebuild", prebuildId=prebuild_id) == first
    emulator.clock.advance(PLAN.cancelling)
    cancelled = emulator.prebuild(prebuild_id)
    assert cancelled["status"]["phase"] == "PREBUILD_PHASE_CANCELLED"
    assert emulator.call("CancelPrebuild", prebuildId=prebuild_id)["prebuild"] == cancelled


def test_what_has_completed_or_failed_or_is_being_deleted_cannot_be_cancelled(start):
    emulator = start(Plan(running=1000))
    failed, completed = emulator.create(timeout="300s"), emulator.create()
    emulator.clock.advance(2000)
    deleting = emulator.create()
    emulator.call("DeletePrebuild", prebuildId=deleting)
    stopping = emulator.create()
    emulator.clock.advance(PLAN.pending)
    emulator.call("DeletePrebuild", prebuildId=stopping)

    phases = [emulator.phase(item) for item in (failed, completed, deleting, stopping)]
    assert phases == ["FAILED", "COMPLETED", "DELETING", "STOPPING"]
    for prebuild_id in (failed, completed, deleting, stopping):
        before = emulator.prebuild(prebuild_id)
        assert emulator.refused("CancelPrebuild", prebuildId=prebuild_id) == "failed_precondition"
        assert emulator.prebuild(prebuild_id) == before


@pytest.mark.parametrize(
    ("phase", "seen"),
    [
        ("PENDING", "DELETING"),
        ("STARTING", "STOPPING"),
        ("RUNNING", "STOPPING"),
        ("STOPPING", "STOPPING"),
        ("SNAPSHOTTING", "DELETING"),
    ],
)
def test_deleting_what_is_under_way_stops_it_first(emulator, phase, seen):
    prebuild_id = reach(emulator, phase)
    assert emulator.call("DeletePrebuild", prebuildId=prebuild_id) == {}
    after = emulator.prebuild(prebuild_id)
    assert after["status"]["phase"] == f"PREBUILD_PHASE_{seen}"
    assert after["spec"]["desiredPhase"] == "PREBUILD_PHASE_DELETED"
    assert after["spec"]["specVersion"] == "2"

    emulator.clock.advance(PLAN.stopping if seen == "STOPPING" else 0)
    assert emulator.phase(prebuild_id) == "DELETING"
    emulator.clock.advance(PLAN.deleting)
    assert emulator.phase(prebuild_id) == "DELETED"
    emulator.clock.advance(PLAN.tombstone)
    assert emulator.refused("GetPrebuild", prebuildId=prebuild_id) == "not_found"


def test_deleting_what_is_being_cancelled_waits_for_its_end(emulator):
    prebuild_id = reach(emulator, "RUNNING")
    emulator.call("CancelPrebuild", prebuildId=prebuild_id)
    emulator.clock.advance(PLAN.cancelling - 1)
    emulator.call("DeletePrebuild", prebuildId=prebuild_id)
    assert emulator.phase(prebuild_id) == "CANCELLING"
    assert emulator.refused("CancelPrebuild", prebuildId=prebuild_id) == "failed_precondition"
    emulator.clock.advance(1)
    assert emulator.phase(prebuild_id) == "DELETING"


def test_deleting_what_has_ended(emulator):
    completed = emulator.create()
    cancelled = emulator.create()
    emulator.call("CancelPrebuild", prebuildId=cancelled)
    emulator.clock.advance(300)
    for prebuild_id in (completed, cancelled):
        emulator.call("DeletePrebuild", prebuildId=prebuild_id)
        assert emulator.phase(prebuild_id) == "DELETING"


def test_deleting_again_changes_nothing_until_it_is_gone(emulator):
    prebuild_id = emulator.create()
    emulator.call("DeletePrebuild", prebuildId=prebuild_id)
    before = emulator.prebuild(prebuild_id)
    emulator.clock.advance(1)
    assert emulator.call("DeletePrebuild", prebuildId=prebuild_id) == {}
    assert emulator.prebuild(prebuild_id) == before
    emulator.clock.advance(PLAN.deleting + PLAN.tombstone)
    assert emulator.refused("DeletePrebuild", prebuildId=prebuild_id) == "not_found"
    assert "prebuilds" not in emulator.call("ListPrebuilds")


def test_without_a_tombstone_a_deleted_prebuild_is_gone_at_once(start):
    emulator = start(Plan(deleting=0, tombstone=0))
    prebuild_id = emulator.create()
    emulator.call("DeletePrebuild", prebuildId=prebuild_id)
    assert emulator.refused("GetPrebuild", prebuildId=prebuild_id) == "not_found"


def test_a_snapshot_expires_after_seven_days(emulator):
    prebuild_id = emulator.create()
    emulator.clock.advance(300 + 7 * 24 * 3600 - 1)
    assert emulator.phase(prebuild_id) == "COMPLETED"
    emulator.clock.advance(1)
    expiring = emulator.prebuild(prebuild_id)
    assert expiring["status"]["phase"] == "PREBUILD_PHASE_DELETING"
    assert expiring["spec"]["desiredPhase"] == "PREBUILD_PHASE_DELETED"
    assert expiring["spec"]["specVersion"] == "2"
    emulator.clock.advance(PLAN.deleting)
    assert emulator.phase(prebuild_id) == "DELETED"
    emulator.clock.advance(PLAN.tombstone)
    assert emulator.refused("GetPrebuild", prebuildId=prebuild_id) == "not_found"


@pytest.mark.parametrize("method", ["GetPrebuild", "CancelPrebuild", "DeletePrebuild", "CreatePrebuildLogsToken"])
def test_an_unknown_prebuild_is_not_found(emulator, method):
    emulator.create()
    assert emulator.refused(method, prebuildId=NOBODY) == "not_found"


def test_an_id_is_the_same_in_either_case(emulator):
    prebuild_id = emulator.create(project=PROJECT.upper())
    assert emulator.prebuild(prebuild_id.upper())["id"] == prebuild_id
    assert emulator.prebuild(prebuild_id)["metadata"]["projectId"] == PROJECT
    assert emulator.call("ListPrebuilds", filter={"projectIds": [PROJECT.upper()]})["prebuilds"]
