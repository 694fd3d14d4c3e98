"""Declared projects: their classes, their schedules, and what becomes of their pools."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from prebuilds.emulator import ControlError, EmulatorServer, Executor, ManualClock, Outcome, Project
from prebuilds.emulator.ids import default_class_id
from prebuilds.emulator.server import Options

from .driver import ENVIRONMENT_CLASS, NOBODY, OTHER_CLASS, OTHER_PROJECT, PROJECT, Driver

EXECUTOR = "7a1f9f0e-3f5e-4f0b-8d3c-2b1a0c9d8e7f"


def test_prebuilds_are_refused_while_they_are_disabled(emulator: Driver):
    emulator.control.disable_prebuilds(PROJECT)
    assert emulator.refused("CreatePrebuild", projectId=PROJECT, spec={}) == "failed_precondition"
    sizes = {"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS}
    assert emulator.refused("CreateWarmPool", **sizes) == "failed_precondition"
    emulator.control.declare_project(PROJECT)
    emulator.create()
    emulator.create_pool()


def test_a_class_has_to_be_one_of_the_prebuild_classes(emulator: Driver):
    emulator.control.declare_project(PROJECT, environment_class_ids=[ENVIRONMENT_CLASS.upper()])
    emulator.create(environment_class=ENVIRONMENT_CLASS)
    emulator.create_pool(environment_class=ENVIRONMENT_CLASS.upper())
    fields = {"projectId": PROJECT, "environmentClassId": OTHER_CLASS}
    assert emulator.refused("CreatePrebuild", **fields, spec={}) == "failed_precondition"
    assert emulator.refused("CreateWarmPool", **fields) == "failed_precondition"


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ({}, default_class_id(PROJECT)),
        ({"environment_class_ids": [OTHER_CLASS, ENVIRONMENT_CLASS]}, OTHER_CLASS),
        (
            {
                "environment_class_ids": [OTHER_CLASS, ENVIRONMENT_CLASS],
                "default_environment_class_id": ENVIRONMENT_CLASS,
            },
            ENVIRONMENT_CLASS,
        ),
        ({"default_environment_class_id": ENVIRONMENT_CLASS}, ENVIRONMENT_CLASS),
    ],
)
def test_a_prebuild_that_names_no_class_gets_the_default_of_its_project(emulator: Driver, configured, expected):
    emulator.control.declare_project(PROJECT, **configured)
    prebuild = emulator.create(environment_class=None)
    assert emulator.prebuild(prebuild)["metadata"]["environmentClassId"] == expected


def test_strictly_only_declared_projects_and_classes_exist(start):
    emulator: Driver = start(strict_projects=True, projects=(Project(id=PROJECT),))
    emulator.control.declare_project(OTHER_PROJECT, environment_class_ids=[ENVIRONMENT_CLASS])
    third = "1f3c4c1e-54a5-4a0e-9a6f-30f7a4c2a7d1"
    emulator.control.declare_project(third, environment_class_ids=[OTHER_CLASS])
    emulator.create(PROJECT)

    def refused(project: str, environment_class: str) -> set[str]:
        fields = {"projectId": project, "environmentClassId": environment_class}
        return {emulator.refused("CreatePrebuild", **fields, spec={}), emulator.refused("CreateWarmPool", **fields)}

    assert refused(NOBODY, ENVIRONMENT_CLASS) == {"not_found"}
    assert refused(OTHER_PROJECT, NOBODY) == {"not_found"}
    assert refused(OTHER_PROJECT, OTHER_CLASS) == {"failed_precondition"}
    emulator.control.withdraw_project(third)
    assert refused(third, OTHER_CLASS) == {"not_found"}


@pytest.mark.parametrize("how", ["disable", "withdraw", "other class"])
def test_pools_go_away_with_the_configuration(emulator: Driver, how):
    emulator.control.declare_project(PROJECT)
    pool, other = emulator.create_pool(minSize=2, maxSize=3), emulator.create_pool(OTHER_PROJECT)
    emulator.create()
    emulator.clock.advance(300)
    match how:
        case "disable":
            emulator.control.disable_prebuilds(PROJECT)
        case "withdraw":
            emulator.control.withdraw_project(PROJECT)
        case _:
            emulator.control.declare_project(PROJECT, environment_class_ids=[OTHER_CLASS])
    found = emulator.pool(pool)
    assert found["spec"]["desiredPhase"] == "WARM_POOL_PHASE_DELETED"
    assert found["status"]["phase"] == "WARM_POOL_PHASE_DELETING"
    emulator.clock.advance(120)
    assert emulator.refused("GetWarmPool", warmPoolId=pool) == "not_found"
    assert emulator.pool_phase(other) == "PENDING"


def test_a_schedule_makes_prebuilds_each_day_at_the_time_at_which_they_were_due(emulator: Driver):
    classes = [ENVIRONMENT_CLASS, OTHER_CLASS]
    executor = Executor(id=EXECUTOR)
    emulator.control.declare_project(PROJECT, environment_class_ids=classes, daily_at_hour=2, executor=executor)
    emulator.clock.advance(2 * 3600 - 1)
    assert emulator.prebuilds() == []
    emulator.clock.advance(1 + 2 * 24 * 3600 + 60)
    found = emulator.prebuilds()
    made = [(item["metadata"]["createdAt"], item["metadata"]["environmentClassId"]) for item in reversed(found)]
    days = [f"2030-01-0{day}T02:00:00Z" for day in (1, 2, 3)]
    assert made == [(day, class_id) for day in days for class_id in classes]
    for item in found:
        metadata = item["metadata"]
        assert metadata["triggeredBy"] == "PREBUILD_TRIGGER_SCHEDULED"
        assert metadata["creator"] == metadata["executor"]
        assert metadata["executor"] == {"id": EXECUTOR, "principal": "PRINCIPAL_SERVICE_ACCOUNT"}
    phases = [item["status"]["phase"].removeprefix("PREBUILD_PHASE_") for item in found]
    assert phases == ["RUNNING"] * 2 + ["COMPLETED"] * 4
    assert found[2]["status"]["completionTime"] == "2030-01-02T02:05:00Z"
    assert len(emulator.prebuilds(executorIds=[EXECUTOR])) == 6
    assert emulator.prebuilds(triggeredBy=["PREBUILD_TRIGGER_MANUAL"]) == []


def test_what_was_due_before_a_create_stands_before_it_in_the_list(emulator: Driver):
    emulator.control.declare_project(PROJECT, daily_at_hour=2)
    emulator.clock.advance(24 * 3600)
    made = emulator.create()
    assert emulator.prebuilds()[0]["id"] == made
    assert len(emulator.prebuilds()) == 2


def test_a_refused_call_loses_no_scheduled_prebuild(emulator: Driver):
    emulator.control.declare_project(PROJECT, environment_class_ids=[ENVIRONMENT_CLASS], daily_at_hour=2)
    emulator.clock.advance(24 * 3600)
    fields = {"projectId": PROJECT, "environmentClassId": OTHER_CLASS, "spec": {}}
    assert emulator.refused("CreatePrebuild", **fields) == "failed_precondition"
    assert emulator.refused("GetPrebuild", prebuildId=NOBODY) == "not_found"
    assert len(emulator.prebuilds()) == 1


def test_scheduled_prebuilds_rotate_the_snapshot_of_a_pool_and_have_planned_outcomes(emulator: Driver):
    emulator.control.declare_project(PROJECT, environment_class_ids=[ENVIRONMENT_CLASS], daily_at_hour=0)
    pool = emulator.create_pool()
    emulator.control.plan_outcome(Outcome(fails_in="RUNNING"), project_id=PROJECT)
    snapshots = []
    for _ in range(3):
        emulator.clock.advance(24 * 3600 + 300)
        snapshots.append(emulator.pool(pool)["spec"].get("snapshotId"))
    newest_first = [item["id"] for item in emulator.prebuilds()]
    assert snapshots == [None, newest_first[1], newest_first[0]]


def test_a_schedule_that_changes_is_due_at_its_new_hour(emulator: Driver):
    emulator.control.declare_project(PROJECT, daily_at_hour=2)
    emulator.clock.advance(3600)
    emulator.control.declare_project(PROJECT, daily_at_hour=2, outcome=Outcome(warning="w"))
    emulator.clock.advance(3600)
    assert len(emulator.prebuilds()) == 1
    emulator.control.declare_project(PROJECT, daily_at_hour=4)
    emulator.clock.advance(2 * 3600)
    assert len(emulator.prebuilds()) == 2
    emulator.control.declare_project(PROJECT)
    emulator.clock.advance(7 * 24 * 3600)
    assert len(emulator.prebuilds()) <= 2


def test_a_schedule_that_slept_for_years_catches_up_with_the_last_one(emulator: Driver):
    emulator.control.declare_project(PROJECT, daily_at_hour=2, outcome=Outcome(fails_in="PENDING"))
    emulator.control.move_to(datetime(2060, 1, 1, tzinfo=UTC))
    oldest = ""
    token: dict[str, str] = {}
    count = 0
    while True:
        page = emulator.call("ListPrebuilds", pagination={"pageSize": 100, **token})
        count += len(page["prebuilds"])
        oldest = page["prebuilds"][-1]["metadata"]["createdAt"]
        if "pagination" not in page:
            break
        token = {"token": page["pagination"]["nextToken"]}
    assert count == 366
    assert oldest == "2058-12-31T02:00:00Z"


def test_projects_and_what_was_planned_outlive_the_program(tmp_path):
    data, clock = tmp_path / "data", ManualClock()
    with EmulatorServer(clock=clock, data=data) as server, closing(Driver(server, clock)) as driver:
        driver.control.declare_project(PROJECT, daily_at_hour=2)
        driver.control.disable_prebuilds(OTHER_PROJECT)
        driver.control.plan_outcome(Outcome(warning="w"), times=3)
        plan = driver.control.plan().model_copy(update={"pending": 1.0})
        driver.control.put_plan(plan)
        before = driver.control.projects(), driver.control.outcomes()
    clock.advance(24 * 3600)
    options = Options(projects=(Project(id=PROJECT),))
    with EmulatorServer(clock=clock, data=data, options=options) as server, closing(Driver(server, clock)) as driver:
        assert (driver.control.projects(), driver.control.outcomes()) == before
        assert driver.control.plan() == plan
        assert len(driver.prebuilds()) == 1


def test_a_project_that_makes_no_sense_is_refused(emulator: Driver):
    for fields in (
        {"daily_at_hour": 24},
        {"environment_class_ids": ["not an id"]},
        {"environment_class_ids": [ENVIRONMENT_CLASS, ENVIRONMENT_CLASS.upper()]},
        {"environment_class_ids": [ENVIRONMENT_CLASS], "default_environment_class_id": OTHER_CLASS},
        {"executor": {"id": "nobody"}},
        {"executor": {"id": EXECUTOR, "principal": "RUNNER"}},
        {"daily": 2},
    ):
        response = emulator.http.put(f"/_emulator/projects/{PROJECT}", json={"prebuilds": fields})
        assert response.status_code == 400, fields
    with pytest.raises(ControlError, match="no UUID"):
        emulator.control.declare_project("my project")
    with pytest.raises(ControlError, match="there is no declared project"):
        emulator.control.withdraw_project(PROJECT)
    assert emulator.control.projects() == []


def test_relaxed_ids_are_taken_as_they_are(start):
    emulator: Driver = start(relaxed_ids=True)
    emulator.control.declare_project("team/Alpha ü", environment_class_ids=["Large", "small"])

    def answer(method: str, **fields: Any) -> dict[str, Any]:
        response = emulator.post(method, fields)
        assert response.status_code == 200, response.text
        return response.json()

    wanted = {"projectId": "team/Alpha ü", "environmentClassId": "Large"}
    made = answer("CreatePrebuild", **wanted, spec={})["prebuild"]
    assert made["metadata"].items() >= wanted.items()
    listed = answer("ListPrebuilds", filter={"projectIds": ["team/Alpha ü"]})["prebuilds"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert answer("ListPrebuilds", filter={"projectIds": ["team/alpha ü"]}) == {}
    assert answer("GetPrebuild", prebuildId=made["id"].upper())["prebuild"]["id"] == made["id"]
    pool = answer("CreateWarmPool", projectId="p", environmentClassId="c")["warmPool"]
    assert pool["metadata"]["projectId"] == "p"
    fields = {"projectId": "team/Alpha ü", "environmentClassId": "large", "spec": {}}
    assert emulator.refused("CreatePrebuild", **fields) == "failed_precondition"
    for bad in ("", "x" * 256, 5, None):
        assert emulator.refused("CreatePrebuild", projectId=bad, spec={}) == "invalid_argument"
        assert emulator.refused("ListPrebuilds", filter={"projectIds": [bad]}) == "invalid_argument"
    assert emulator.refused("GetPrebuild", prebuildId="nothing") == "not_found"
    assert emulator.refused("CreateWarmPool", projectId="q", environmentClassId="c", minSize=3, maxSize=2) == (
        "invalid_argument"
    )


def test_a_pool_is_degraded_until_it_recovers(emulator: Driver):
    fresh, pool = emulator.create_pool(OTHER_PROJECT), emulator.create_pool(minSize=1, maxSize=3)
    emulator.create()
    emulator.clock.advance(300)
    for item in (fresh, pool):
        emulator.control.degrade_warm_pool(item, "no capacity")
    status = emulator.pool(pool)["status"]
    assert (status["phase"], status["failureMessage"]) == ("WARM_POOL_PHASE_DEGRADED", "no capacity")
    assert status["runningInstances"] == 1
    newer = emulator.create()
    emulator.clock.advance(300)
    found = emulator.pool(pool)
    assert (found["spec"]["snapshotId"], found["status"]["phase"]) == (newer, "WARM_POOL_PHASE_DEGRADED")
    for item in (fresh, pool):
        emulator.control.recover_warm_pool(item)
    assert emulator.pool_phase(fresh) == "PENDING"
    found = emulator.pool(pool)["status"]
    assert found["phase"] == "WARM_POOL_PHASE_READY"
    assert "failureMessage" not in found
    assert int(found["statusVersion"]) > int(status["statusVersion"])
    emulator.call("DeleteWarmPool", warmPoolId=pool)
    with pytest.raises(ControlError, match="being deleted"):
        emulator.control.degrade_warm_pool(pool, "too late")
    with pytest.raises(ControlError, match="no warm pool"):
        emulator.control.degrade_warm_pool(NOBODY, "who")
