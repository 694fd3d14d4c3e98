"""The helpers for scripts, with both clients on the time of an emulator."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from prebuild_api.models import PrebuildPhase, WarmPoolPhase
from prebuilds import (
    AlreadyExistsError,
    CallError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    WaitTimeoutError,
)
from prebuilds.emulator import Plan
from prebuilds.maintenance import ensure_warm_pool

from .both import ID, KINDS
from .emulated import CLASS, PROJECT, Emulated, Played
from .rehearsal import Rehearsal, answer, error
from .scripted import Answer, ScriptedServer, a_prebuild, an_error

OTHER_PROJECT = "11111111-0000-4000-8000-000000000000"
OTHER_CLASS = "22222222-0000-4000-8000-000000000000"


@pytest.fixture(params=KINDS)
def emulated(request):
    with Emulated(request.param) as emulated:
        yield emulated


def ids(prebuilds):
    return [each.id for each in prebuilds]


def phase(emulated, prebuild):
    return emulated("retrieve", prebuild_id=prebuild.id).prebuild.status.phase.name


# -- cancel_active -----------------------------------------------------------------------------------------------------


def test_all_that_is_under_way_is_cancelled(emulated):
    done = emulated.create()
    emulated.clock.advance(1000)
    made = [emulated.create(environment_class_id=each) for each in (CLASS, OTHER_CLASS, CLASS)]
    emulated.clock.advance(100)
    made.append(emulated.create())
    elsewhere = emulated.create(project_id=OTHER_PROJECT)
    cancelling = emulated.create()
    emulated("cancel", prebuild_id=cancelling.id)
    kept = made.pop(0)
    cancelled = emulated("cancel_active", PROJECT, environment_class_id=CLASS.upper(), keep=[kept.id.upper()])
    assert sorted(ids(cancelled)) == sorted([made[1].id, made[2].id])
    assert {each.status.phase for each in cancelled} == {PrebuildPhase.CANCELLING}
    assert [phase(emulated, each) for each in (done, kept, made[0], elsewhere)] == [
        "COMPLETED",
        "RUNNING",
        "RUNNING",
        "PENDING",
    ]
    assert sorted(ids(emulated("cancel_active", PROJECT))) == sorted([kept.id, made[0].id])
    assert emulated("cancel_active", PROJECT) == []


def service(*, listed, **by_method):
    """A server whose lists hold `listed`, and that answers each method as it is told."""

    def reply(request):
        method = request.path.rpartition("/")[2]
        if method == "ListPrebuilds":
            return Answer(body={"prebuilds": listed})
        outcome = by_method[method]
        return outcome(request.body) if callable(outcome) else outcome

    return ScriptedServer(reply)


THREE = [a_prebuild("PREBUILD_PHASE_RUNNING", number=number) for number in (1, 2, 3)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("refusal", [an_error("failed_precondition", 400), an_error("not_found", 404)])
def test_one_that_ends_or_goes_in_the_meantime_is_passed_over(kind, refusal):
    def cancel(body):
        return refusal if body["prebuildId"] == THREE[1]["id"] else Answer(body={"prebuild": THREE[0]})

    with service(listed=THREE, CancelPrebuild=cancel) as server, Played(kind, server.url) as played:
        assert len(played("cancel_active", PROJECT)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_midway_tells_what_was_cancelled(kind):
    def cancel(body):
        return (
            an_error("internal", 500) if body["prebuildId"] == THREE[1]["id"] else Answer(body={"prebuild": THREE[0]})
        )

    with service(listed=THREE, CancelPrebuild=cancel) as server, Played(kind, server.url) as played:
        with pytest.raises(InternalError) as caught:
            played("cancel_active", PROJECT)
        assert caught.value.__notes__ == [f"Before that, 1 were cancelled: {THREE[0]['id']}"]


@pytest.mark.parametrize(("method", "arguments"), [("cancel_active", {"keep": ID}), ("prune", {"project_ids": ID})])
def test_one_string_is_not_several_ids(emulated, method, arguments):
    given = (PROJECT,) if method == "cancel_active" else ()
    with pytest.raises(TypeError, match="several ids"):
        emulated(method, *given, **arguments)
    assert not emulated.calls


@pytest.mark.parametrize("missing", [None, "", " "])
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("cancel_active", lambda missing: {"project_id": missing}),
        ("cancel_active", lambda missing: {"project_id": PROJECT, "keep": [PROJECT, missing]}),
        ("latest", lambda missing: {"project_id": missing}),
        ("prune", lambda missing: {"project_ids": [PROJECT, missing]}),
        ("ensure_warm_pool", lambda missing: {"project_id": missing, "environment_class_id": CLASS}),
        ("ensure_warm_pool", lambda missing: {"project_id": PROJECT, "environment_class_id": missing}),
    ],
)
def test_an_id_that_is_missing_is_refused_before_anything_is_asked(emulated, method, arguments, missing):
    with pytest.raises(ValueError, match="expected an id, got"):
        emulated(method, **arguments(missing))
    assert not emulated.calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["cancel_active", "prune", "latest"])
def test_what_a_server_lists_though_it_was_not_asked_for_is_left_alone(kind, method):
    phases = ["COMPLETED", "FAILED", "DELETING", "RUNNING", "CANCELLING", "SOMETHING_NEW"]
    listed = [a_prebuild(f"PREBUILD_PHASE_{phase}", number=number) for number, phase in enumerate(phases)]
    elsewhere = [a_prebuild(f"PREBUILD_PHASE_{phase}", number=10 + number) for number, phase in enumerate(phases)]
    for each in listed:
        each["metadata"]["projectId"] = PROJECT.upper()
    for each in elsewhere:
        each["metadata"]["projectId"] = OTHER_PROJECT
    touched = []

    def touch(body):
        touched.append(body["prebuildId"])
        return Answer(body={"prebuild": listed[0]})

    arguments = {"project_ids": [PROJECT], "keep": 0} if method == "prune" else {"project_id": PROJECT}
    with (
        service(listed=elsewhere + listed, CancelPrebuild=touch, DeletePrebuild=touch) as server,
        Played(kind, server.url) as played,
    ):
        found = played(method, **arguments)
    if method == "latest":
        assert found.id == listed[0]["id"]
    else:
        meant = listed[3:4] if method == "cancel_active" else listed[:2]
        assert sorted(touched) == [each["id"] for each in meant]


# -- latest ------------------------------------------------------------------------------------------------------------


def test_the_latest_is_the_one_that_was_completed_last(emulated):
    assert emulated("latest", PROJECT) is None
    first = emulated.create()
    emulated.clock.advance(400)
    second = emulated.create(environment_class_id=OTHER_CLASS)
    emulated.clock.advance(400)
    failed = emulated.create(spec={"timeout": "300s"})
    emulated("cancel", prebuild_id=failed.id)
    emulated.create(project_id=OTHER_PROJECT)
    emulated.clock.advance(299)
    emulated.create()
    assert emulated("latest", PROJECT).id == second.id
    assert emulated("latest", PROJECT, CLASS.upper()).id == first.id
    assert emulated("latest", PROJECT, "33333333-0000-4000-8000-000000000000") is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_completion_counts_and_not_the_one_of_creation(kind):
    times = ["2026-03-01T10:00:00Z", "2026-03-01T12:00:00.5Z", "2026-03-01T11:00:00+00:00"]
    listed = [
        a_prebuild("PREBUILD_PHASE_COMPLETED", number=number, completionTime=time) for number, time in enumerate(times)
    ]
    with service(listed=listed) as server, Played(kind, server.url) as played:
        assert played("latest", PROJECT).id == listed[1]["id"]


# -- prune -------------------------------------------------------------------------------------------------------------


def completed(emulated, count, **arguments):
    made = []
    for _ in range(count):
        made.append(emulated.create(**arguments))
        emulated.clock.advance(1000)
    return made


def test_all_but_the_latest_of_each_project_and_class_are_deleted_oldest_first(emulated):
    a = completed(emulated, 3)
    b = completed(emulated, 2, environment_class_id=OTHER_CLASS)
    c = completed(emulated, 2, project_id=OTHER_PROJECT)
    ended = emulated.create()
    emulated("cancel", prebuild_id=ended.id)
    emulated.clock.advance(100)
    running = emulated.create()
    expected = ids([*a[:2], b[0], c[0], ended])
    assert ids(emulated("prune", dry_run=True)) == expected
    assert not emulated.calls["delete"]
    told = []
    assert ids(emulated("prune", on_delete=told.append)) == expected == ids(told)
    assert {phase(emulated, each) for each in [*a[:2], b[0], c[0], ended]} == {"DELETING"}
    assert [phase(emulated, each) for each in (a[2], b[1], c[1])] == ["COMPLETED"] * 3
    assert phase(emulated, running) == "PENDING"
    assert emulated("prune") == []


def test_what_is_pruned_can_be_narrowed_down(emulated):
    a = completed(emulated, 2)
    b = completed(emulated, 2, environment_class_id=OTHER_CLASS)
    c = completed(emulated, 2, project_id=OTHER_PROJECT)
    assert ids(emulated("prune", project_ids=[OTHER_PROJECT], dry_run=True)) == ids(c[:1])
    assert ids(emulated("prune", environment_class_id=OTHER_CLASS.upper(), dry_run=True)) == ids(b[:1])
    assert ids(emulated("prune", project_ids=(each for each in [PROJECT]), keep=0, dry_run=True)) == ids([*a, *b])
    many = [f"33333333-0000-4000-8000-{number:012}" for number in range(60)]
    assert ids(emulated("prune", project_ids=[*many, PROJECT, PROJECT], dry_run=True)) == ids([a[0], b[0]])


@pytest.mark.parametrize("age", [timedelta(seconds=1600), 1600, 1600.0])
def test_only_what_is_old_enough_is_deleted(emulated, age):
    made = completed(emulated, 3)  # they ended 2700, 1700 and 700 seconds ago
    assert ids(emulated("prune", older_than=age, keep=0)) == ids(made[:2])


def test_what_does_not_say_when_it_ended_is_as_old_as_its_last_change():
    listed = [a_prebuild("PREBUILD_PHASE_FAILED", number=1), a_prebuild("PREBUILD_PHASE_FAILED", number=2)]
    listed[1]["metadata"]["updatedAt"] = "2025-12-31T23:00:00Z"
    with (
        service(listed=listed) as server,
        Emulated("sync") as clock,
        Played("sync", server.url, clock.runtime(1)) as played,
    ):
        assert len(played("prune", older_than=1, dry_run=True)) == 2
        listed[0]["metadata"]["updatedAt"] = "2030-01-01T00:00:00Z"
        assert ids(played("prune", older_than=1, dry_run=True)) == [listed[1]["id"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_midway_tells_what_was_deleted(kind):
    listed = [a_prebuild("PREBUILD_PHASE_FAILED", number=number) for number in range(4)]

    def delete(body):
        number = ids_of.index(body["prebuildId"])
        return [Answer(body={}), an_error("not_found", 404), Answer(body={}), an_error("internal", 500)][number]

    ids_of = [each["id"] for each in listed]
    with service(listed=listed, DeletePrebuild=delete) as server, Played(kind, server.url) as played:
        told = []
        with pytest.raises(InternalError) as caught:
            played("prune", on_delete=told.append)
        assert ids(told) == [ids_of[0], ids_of[2]]
        assert caught.value.__notes__ == [f"Before that, 2 were deleted: {ids_of[0]}, {ids_of[2]}"]


@pytest.mark.parametrize("arguments", [{"keep": -1}, {"older_than": -1}, {"older_than": timedelta(seconds=-1)}])
def test_nonsense_is_refused_before_anything_is_asked(emulated, arguments):
    with pytest.raises(ValueError, match="expected 0"):
        emulated("prune", **arguments)
    assert not emulated.calls


# -- ensure_warm_pool --------------------------------------------------------------------------------------------------


def test_a_pool_is_made_resized_and_left_alone(emulated):
    made = emulated("ensure_warm_pool", PROJECT, CLASS, 1, 3)
    assert (made.spec.min_size, made.spec.max_size) == (1, 3)
    assert emulated("ensure_warm_pool", PROJECT, CLASS, 1, 3) == made
    assert emulated("ensure_warm_pool", PROJECT, CLASS) == made
    assert emulated("ensure_warm_pool", PROJECT, CLASS.upper(), max_size=3) == made
    assert emulated.calls == {"list_warm_pools": 4, "create_warm_pool": 1}
    resized = emulated("ensure_warm_pool", PROJECT, CLASS, 0)
    assert (resized.id, resized.spec.min_size, resized.spec.max_size) == (made.id, 0, 3)
    assert emulated("ensure_warm_pool", PROJECT, OTHER_CLASS, 0, 1).id != made.id
    with pytest.raises(InvalidArgumentError):
        emulated("ensure_warm_pool", PROJECT, CLASS, 5, 2)
    assert emulated.time == 0


def test_one_that_drains_is_waited_for(emulated):
    made = emulated("ensure_warm_pool", PROJECT, CLASS, 1, 3)
    emulated("delete_warm_pool", warm_pool_id=made.id)
    with pytest.raises(WaitTimeoutError, match="is DELETING after 30 s"):
        emulated("ensure_warm_pool", PROJECT, CLASS, 2, 4, timeout=30)
    other = emulated("ensure_warm_pool", PROJECT, CLASS, 2, 4)
    assert other.id != made.id
    assert (other.spec.min_size, other.spec.max_size) == (2, 4)
    assert 60 <= emulated.time <= 150


def test_the_place_of_one_that_is_gone_at_once_is_taken():
    with Emulated("sync", Plan(draining=0, tombstone=0)) as emulated:
        made = emulated("ensure_warm_pool", PROJECT, CLASS)
        emulated("delete_warm_pool", warm_pool_id=made.id)
        assert emulated("ensure_warm_pool", PROJECT, CLASS).id != made.id


def test_many_who_do_it_at_the_same_time_get_the_same_pool():
    with Emulated("sync") as emulated:
        together = threading.Barrier(8)
        found = []

        def ensure():
            together.wait()
            found.append(emulated("ensure_warm_pool", PROJECT, CLASS, 1, 2).id)

        threads = [threading.Thread(target=ensure) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(found) == 8
        assert len(set(found)) == 1


def pool(phase="READY", desired="READY", number=1, low=1, high=1):
    times = {"createdAt": "2026-03-01T09:00:00Z", "updatedAt": "2026-03-01T09:00:00Z"}
    return {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "metadata": times,
        "spec": {"minSize": low, "maxSize": high, "desiredPhase": f"WARM_POOL_PHASE_{desired}"},
        "status": {"phase": f"WARM_POOL_PHASE_{phase}"},
    }


class Story:
    """Answers in order, each for the method that is expected."""

    def __init__(self, *steps) -> None:
        self.steps = list(steps)
        self.rehearsal = Rehearsal(self._answer, retries=0)

    def _answer(self, now):
        method = self.rehearsal.sent[-1].url.rpartition("/")[2]
        expected, body = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        assert method.startswith(expected), (method, expected, body)
        if not isinstance(body, (dict, list)):
            return body
        return answer(200, {"warmPools": body} if isinstance(body, list) else {"warmPool": body})

    def ensure(self, *sizes, **arguments):
        return self.rehearsal.run(ensure_warm_pool(self.rehearsal.executor, PROJECT, CLASS, *sizes, **arguments))


GOING = error("failed_precondition", 400, "is being deleted")
NOT_FOUND = error("not_found", 404)
TAKEN = error("already_exists", 409, "there is one")


@pytest.mark.parametrize("refusal", [GOING, NOT_FOUND])
def test_a_pool_that_is_deleted_between_the_list_and_the_update_is_waited_for(refusal):
    story = Story(
        ("List", [pool()]),
        ("Update", refusal),
        ("List", [pool("DELETING", "DELETED")]),
        ("Get", pool("DELETING", "DELETED")),
        ("Get", NOT_FOUND),
        ("List", [pool("DELETING", "DELETED")]),  # a list may be a little behind
        ("Create", pool(number=2)),
    )
    assert story.ensure(0, 5).id == pool(number=2)["id"]


def test_one_that_is_to_be_deleted_counts_as_going_though_it_is_ready():
    story = Story(("List", [pool("READY", "DELETED")]), ("Get", NOT_FOUND), ("List", []), ("Create", pool(number=2)))
    assert story.ensure(1, 1).id == pool(number=2)["id"]


@pytest.mark.parametrize("refusal", [error("failed_precondition", 400, "prebuilds are off"), NOT_FOUND])
def test_an_update_that_is_refused_for_another_reason_is_an_error(refusal):
    story = Story(("List", [pool()]), ("Update", refusal), ("List", [pool()]))
    with pytest.raises((FailedPreconditionError, CallError)):
        story.ensure(0, 5)
    assert story.rehearsal.time == 0


def test_a_pool_of_another_place_is_not_taken_for_the_one_that_is_meant():
    others = [pool(number=number) for number in (3, 4)]
    others[0]["metadata"]["projectId"] = OTHER_PROJECT
    others[1]["metadata"]["environmentClassId"] = OTHER_CLASS
    story = Story(("List", others), ("Create", pool(number=2)))
    assert story.ensure(1, 1).id == pool(number=2)["id"]


def test_a_create_that_is_refused_is_an_error():
    with pytest.raises(FailedPreconditionError, match="prebuilds are off"):
        Story(("List", []), ("Create", error("failed_precondition", 400, "prebuilds are off"))).ensure()


def test_who_is_a_little_late_takes_the_pool_of_the_other_at_once():
    story = Story(("List", []), ("Create", TAKEN), ("List", [pool(low=2)]), ("Update", pool(low=1)))
    assert story.ensure(1, 1).spec.min_size == 1
    assert story.rehearsal.time == 0


def test_a_place_that_is_taken_by_nobody_who_can_be_seen_is_tried_again_and_again():
    again = [("List", []), ("Create", TAKEN)]
    story = Story(*again * 5, ("List", []), ("Create", pool()))
    assert story.ensure().status.phase is WarmPoolPhase.READY
    assert 10 < story.rehearsal.time < 20


def test_but_not_for_ever():
    rehearsal = Rehearsal(lambda now: TAKEN if rehearsal.sent[-1].url.endswith("CreateWarmPool") else answer())
    with pytest.raises(AlreadyExistsError, match="there is one"):
        rehearsal.run(ensure_warm_pool(rehearsal.executor, PROJECT, CLASS, timeout=20))
    assert rehearsal.time == 20
