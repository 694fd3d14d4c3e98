from __future__ import annotations

import pytest

from prebuilds.emulator import Plan

from .driver import ENVIRONMENT_CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, PROJECT

PLAN = Plan()
PAIR = {"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS}


def bounds(emulator, pool_id):
    spec = emulator.pool(pool_id)["spec"]
    return spec["minSize"], spec["maxSize"]


def test_a_fresh_pool_is_PENDING(emulator):
    created = emulator.call("CreateWarmPool", **PAIR, minSize=0, maxSize=3)["warmPool"]

    assert created["metadata"]["projectId"] == PROJECT
    assert created["metadata"]["environmentClassId"] == ENVIRONMENT_CLASS
    assert created["metadata"]["createdAt"] == created["metadata"]["updatedAt"] == "2030-01-01T00:00:00Z"
    assert created["spec"] == {
        "specVersion": "1",
        "desiredPhase": "WARM_POOL_PHASE_READY",
        "minSize": 0,
        "maxSize": 3,
    }
    assert created["status"] == {"phase": "WARM_POOL_PHASE_PENDING", "statusVersion": "1"}
    assert emulator.pool(created["id"]) == created


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({}, (1, 1)),
        ({"desiredSize": 0}, (1, 1)),
        ({"desiredSize": 4}, (4, 4)),
        ({"minSize": 0, "maxSize": 20}, (0, 20)),
        ({"minSize": 20, "maxSize": 20}, (20, 20)),
        ({"minSize": 0}, (0, 1)),
        ({"minSize": 5}, (5, 5)),
        ({"maxSize": 5}, (1, 5)),
        ({"desiredSize": 9, "minSize": 2, "maxSize": 3}, (2, 3)),
    ],
)
def test_the_bounds_of_a_new_pool(emulator, given, got):
    assert bounds(emulator, emulator.create_pool(**given)) == got


BEYOND_BOUNDS = [
    {"minSize": -1, "maxSize": 1},
    {"minSize": 21, "maxSize": 21},
    {"minSize": 0, "maxSize": 0},
    {"minSize": 1, "maxSize": 21},
    {"minSize": 3, "maxSize": 2},
    {"desiredSize": -1},
    {"desiredSize": 21},
    {"minSize": 1.5, "maxSize": 2},
    {"minSize": "many"},
]


def test_sizes_out_of_bounds_are_refused(emulator):
    for sizes in BEYOND_BOUNDS:
        assert emulator.refused("CreateWarmPool", **PAIR, **sizes) == "invalid_argument", sizes
        assert "warmPools" not in emulator.call("ListWarmPools")


def test_the_deprecated_size_is_told_where_the_bounds_agree(emulator):
    agreeing = emulator.create_pool(minSize=2, maxSize=2)
    differing = emulator.create_pool(environment_class=OTHER_CLASS, minSize=1, maxSize=2)
    assert emulator.pool(agreeing)["spec"]["desiredSize"] == 2
    assert "desiredSize" not in emulator.pool(differing)["spec"]


def test_a_pool_becomes_READY_when_a_prebuild_of_its_project_and_class_completes(emulator):
    pool_id = emulator.create_pool(minSize=1, maxSize=5)
    emulator.create(environment_class=OTHER_CLASS)
    emulator.create(project=OTHER_PROJECT)
    emulator.clock.advance(300)
    assert emulator.pool_phase(pool_id) == "PENDING"
    assert "snapshotId" not in emulator.pool(pool_id)["spec"]

    prebuild_id = emulator.create()
    emulator.clock.advance(1000)
    pool = emulator.pool(pool_id)
    assert pool["spec"]["snapshotId"] == prebuild_id
    assert pool["spec"]["specVersion"] == "2"
    assert pool["status"] == {
        "phase": "WARM_POOL_PHASE_READY",
        "statusVersion": "2",
        "runningInstances": 1,
        "stoppedInstances": 4,
        "desiredSize": 1,
    }
    # It happened when the prebuild completed, 300 seconds after the first two, not when somebody looked.
    assert pool["metadata"]["updatedAt"] == "2030-01-01T00:10:00Z"
    assert pool["metadata"]["createdAt"] == "2030-01-01T00:00:00Z"


def test_a_pool_that_finds_a_snapshot_serves_the_newest_from_the_start(emulator):
    emulator.create()
    emulator.clock.advance(1)
    newest = emulator.create()
    emulator.clock.advance(300)
    pool = emulator.pool(emulator.create_pool(minSize=2, maxSize=2))
    assert pool["status"]["phase"] == "WARM_POOL_PHASE_READY"
    assert pool["spec"]["snapshotId"] == newest
    assert pool["status"]["runningInstances"] == 2
    assert "stoppedInstances" not in pool["status"]
    assert pool["spec"]["specVersion"] == pool["status"]["statusVersion"] == "1"


def test_each_newer_prebuild_rotates_the_snapshot(emulator):
    pool_id = emulator.create_pool()
    first = emulator.create()
    emulator.clock.advance(10)
    second = emulator.create()
    emulator.clock.advance(290)
    before = emulator.pool(pool_id)
    emulator.clock.advance(10)
    after = emulator.pool(pool_id)

    assert (before["spec"]["snapshotId"], after["spec"]["snapshotId"]) == (first, second)
    assert (before["spec"]["specVersion"], after["spec"]["specVersion"]) == ("2", "3")
    assert (before["status"]["statusVersion"], after["status"]["statusVersion"]) == ("2", "3")


def test_rotations_that_nobody_watched_all_count(emulator):
    pool_id = emulator.create_pool()
    for _ in range(3):
        newest = emulator.create()
        emulator.clock.advance(1)
    emulator.clock.advance(3600)
    pool = emulator.pool(pool_id)
    assert pool["spec"]["snapshotId"] == newest
    assert pool["spec"]["specVersion"] == "4"


def test_a_cancelled_prebuild_gives_no_snapshot(emulator):
    pool_id = emulator.create_pool()
    prebuild_id = emulator.create()
    emulator.call("CancelPrebuild", prebuildId=prebuild_id)
    emulator.clock.advance(1000)
    assert emulator.pool_phase(pool_id) == "PENDING"


def test_a_deleted_snapshot_is_none_for_a_new_pool(emulator):
    older = emulator.create()
    emulator.clock.advance(300)
    newer = emulator.create()
    emulator.clock.advance(300)
    emulator.call("DeletePrebuild", prebuildId=newer)
    assert emulator.pool(emulator.create_pool())["spec"]["snapshotId"] == older


def test_a_project_and_class_have_one_pool(emulator):
    pool_id = emulator.create_pool()
    assert emulator.refused("CreateWarmPool", **PAIR, minSize=1, maxSize=2) == "already_exists"
    emulator.create_pool(project=OTHER_PROJECT)
    emulator.create_pool(environment_class=OTHER_CLASS)

    emulator.call("DeleteWarmPool", warmPoolId=pool_id)
    assert emulator.refused("CreateWarmPool", **PAIR) == "already_exists"
    emulator.clock.advance(PLAN.draining - 1)
    assert emulator.refused("CreateWarmPool", **PAIR) == "already_exists"
    emulator.clock.advance(1)
    assert emulator.create_pool() != pool_id


def test_a_resize_is_read_back_at_once(emulator):
    emulator.create()
    emulator.clock.advance(300)
    pool_id = emulator.create_pool(minSize=1, maxSize=5)
    emulator.clock.advance(5)
    answered = emulator.call("UpdateWarmPool", warmPoolId=pool_id, minSize=2, maxSize=10)["warmPool"]

    assert emulator.pool(pool_id) == answered
    assert (answered["spec"]["minSize"], answered["spec"]["maxSize"]) == (2, 10)
    assert (answered["status"]["runningInstances"], answered["status"]["stoppedInstances"]) == (2, 8)
    assert answered["spec"]["specVersion"] == answered["status"]["statusVersion"] == "2"
    assert answered["metadata"]["createdAt"] == "2030-01-01T00:05:00Z"
    assert answered["metadata"]["updatedAt"] == "2030-01-01T00:05:05Z"


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({"minSize": 0}, (0, 5)),
        ({"minSize": 5}, (5, 5)),
        ({"maxSize": 20}, (2, 20)),
        ({"maxSize": 2}, (2, 2)),
        ({"desiredSize": 7}, (7, 7)),
        ({"desiredSize": 7, "maxSize": 9}, (2, 9)),
    ],
)
def test_a_size_that_is_left_out_keeps_its_value(emulator, given, got):
    pool_id = emulator.create_pool(minSize=2, maxSize=5)
    emulator.call("UpdateWarmPool", warmPoolId=pool_id, **given)
    assert bounds(emulator, pool_id) == got
    assert emulator.pool(pool_id)["spec"]["specVersion"] == "2"


def test_a_resize_is_checked_against_the_stored_sizes(emulator):
    pool_id = emulator.create_pool(minSize=2, maxSize=5)
    before = emulator.pool(pool_id)
    for given in ({"minSize": 6}, {"maxSize": 1}, {"minSize": 9, "maxSize": 8}, {"desiredSize": 0}, {"maxSize": 0}):
        assert emulator.refused("UpdateWarmPool", warmPoolId=pool_id, **given) == "invalid_argument", given
        assert emulator.pool(pool_id) == before, given


@pytest.mark.parametrize("given", [{}, {"minSize": 2}, {"minSize": 2, "maxSize": 5}])
def test_a_resize_to_the_same_changes_nothing(emulator, given):
    pool_id = emulator.create_pool(minSize=2, maxSize=5)
    before = emulator.pool(pool_id)
    emulator.clock.advance(5)
    assert emulator.call("UpdateWarmPool", warmPoolId=pool_id, **given)["warmPool"] == before


def test_a_resize_of_a_PENDING_pool_leaves_its_status_alone(emulator):
    pool_id = emulator.create_pool()
    before = emulator.pool(pool_id)["status"]
    emulator.call("UpdateWarmPool", warmPoolId=pool_id, maxSize=5)
    assert emulator.pool(pool_id)["status"] == before


def test_deletion_drains_the_pool_first(emulator):
    emulator.create()
    emulator.clock.advance(300)
    pool_id = emulator.create_pool(minSize=1, maxSize=2)
    assert emulator.call("DeleteWarmPool", warmPoolId=pool_id) == {}
    draining = emulator.pool(pool_id)
    assert draining["spec"]["desiredPhase"] == "WARM_POOL_PHASE_DELETED"
    assert draining["spec"]["specVersion"] == "2"
    assert draining["status"] == {
        "phase": "WARM_POOL_PHASE_DELETING",
        "statusVersion": "2",
        "runningInstances": 1,
        "stoppedInstances": 1,
    }
    emulator.clock.advance(PLAN.draining)
    assert emulator.pool(pool_id)["status"] == {"phase": "WARM_POOL_PHASE_DELETED", "statusVersion": "3"}
    emulator.clock.advance(PLAN.tombstone)
    assert emulator.refused("GetWarmPool", warmPoolId=pool_id) == "not_found"
    assert "warmPools" not in emulator.call("ListWarmPools")


def test_deleting_again_changes_nothing(emulator):
    pool_id = emulator.create_pool()
    emulator.call("DeleteWarmPool", warmPoolId=pool_id)
    before = emulator.pool(pool_id)
    emulator.clock.advance(1)
    assert emulator.call("DeleteWarmPool", warmPoolId=pool_id) == {}
    assert emulator.pool(pool_id) == before


def test_a_pool_that_is_being_deleted_takes_neither_sizes_nor_snapshots(emulator):
    pool_id = emulator.create_pool()
    emulator.create()
    emulator.clock.advance(299)
    emulator.call("DeleteWarmPool", warmPoolId=pool_id)
    emulator.clock.advance(2)
    assert emulator.refused("UpdateWarmPool", warmPoolId=pool_id, maxSize=3) == "failed_precondition"
    assert emulator.pool_phase(pool_id) == "DELETING"
    assert "snapshotId" not in emulator.pool(pool_id)["spec"]


def test_a_pool_can_drain_in_no_time(start):
    emulator = start(Plan(draining=0, tombstone=0))
    pool_id = emulator.create_pool()
    emulator.call("DeleteWarmPool", warmPoolId=pool_id)
    assert emulator.refused("GetWarmPool", warmPoolId=pool_id) == "not_found"
    emulator.create_pool()


@pytest.mark.parametrize("method", ["GetWarmPool", "UpdateWarmPool", "DeleteWarmPool"])
def test_an_unknown_pool_is_not_found(emulator, method):
    emulator.create_pool()
    assert emulator.refused(method, warmPoolId=NOBODY) == "not_found"
