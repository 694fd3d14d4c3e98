"""What the store finds, against looking at every record, and what becomes of records that nobody looks at."""

from __future__ import annotations

import random
import shutil
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from prebuild_wire.enums import PrebuildPhase, PrebuildTrigger, WarmPoolPhase
from prebuilds.emulator import Plan
from prebuilds.emulator.lifecycle import (
    PrebuildRecord,
    Step,
    SubjectRecord,
    WarmPoolRecord,
    cancel,
    delete,
    delete_pool,
    prebuild_timeline,
)
from prebuilds.emulator.store import Filter, Store

START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAN = Plan()


def some_id(chance):
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def a_prebuild(chance, now, project, environment_class, creator, executor=None, plan=PLAN, timeout=HOUR):
    return PrebuildRecord(
        id=some_id(chance),
        organization_id=some_id(chance),
        project_id=project,
        environment_class_id=environment_class,
        environment_id=some_id(chance),
        creator=SubjectRecord(creator),
        executor=None if executor is None else SubjectRecord(executor),
        triggered_by=PrebuildTrigger.MANUAL if executor is None else PrebuildTrigger.SCHEDULED,
        created_at=now,
        updated_at=now,
        timeout="3600s",
        taken=(Step(now, PrebuildPhase.PENDING),),
        timeline=prebuild_timeline(now, timeout, plan),
    )


def a_pool(chance, now, project, environment_class):
    return WarmPoolRecord(
        id=some_id(chance),
        organization_id=some_id(chance),
        project_id=project,
        environment_class_id=environment_class,
        runner_id=some_id(chance),
        created_at=now,
        updated_at=now,
        min_size=1,
        max_size=1,
    )


VALUES = {
    "project_id": [f"project {number}" for number in range(30)],
    "creator_id": [f"creator {number}" for number in range(6)],
    "executor_id": [f"executor {number}" for number in range(4)],
    "phase": [phase.value for phase in PrebuildPhase],
    "triggered_by": [trigger.value for trigger in PrebuildTrigger],
    "environment_class_id": [f"class {number}" for number in range(60)],
}


def column(record, name):
    if name == "executor_id":
        return None if record.executor is None else record.executor.id
    return record.creator.id if name == "creator_id" else getattr(record, name)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data file of 2000 prebuilds of six days, some of them cancelled, deleted, failed or gone, and of 900 pools."""
    data, chance = tmp_path_factory.mktemp("store") / "data", random.Random(4)
    store, now = Store(data), START
    # The first of them are rare: what a filter finds may be far back. The last are so close that all phases occur.
    common = {name: values[len(values) // 3 :] for name, values in VALUES.items()}
    ids = []
    for batch in range(100):
        values = VALUES if batch < 10 else common
        made = []
        for _ in range(20):
            now += timedelta(seconds=chance.randrange(600 if batch < 85 else 20))
            record = a_prebuild(
                chance,
                now,
                chance.choice(values["project_id"]),
                "class 0",
                chance.choice(values["creator_id"]),
                chance.choice(values["executor_id"]) if chance.random() < 0.3 else None,
                timeout=HOUR if chance.random() < 0.8 else timedelta(seconds=200),
            )
            made.append(record)
        with store.transaction(now) as transaction:
            for record in made:
                transaction.add_prebuild(record)
                ids.append(record.id)
            for prebuild_id in chance.sample(ids[-60:], 5):
                known = transaction.prebuild(prebuild_id)
                if known is not None and known.phase in (PrebuildPhase.RUNNING, PrebuildPhase.COMPLETED):
                    change = cancel if known.phase is PrebuildPhase.RUNNING and chance.random() < 0.5 else delete
                    transaction.put_prebuild(change(known, now, PLAN))
    pairs = [(project, of) for project in VALUES["project_id"] for of in VALUES["environment_class_id"]]
    with store.transaction(now) as transaction:
        for project, environment_class in chance.sample(pairs, 900):
            transaction.add_pool(a_pool(chance, now, project, environment_class))
    store.close()
    return data, now


@pytest.fixture
def stored(data, tmp_path):
    """A store of its own, as looking at it changes it, and the time at which it was left."""
    whole, now = data
    store = Store(shutil.copy(whole, tmp_path / "data"))
    yield store, now
    store.close()


def pages(read, wanted, size):
    """All that a list has, page by page."""
    before, found = None, []
    while True:
        page = read(wanted, before, size)
        found += page
        if len(page) < size:
            return found
        before = page[-1][0]


@pytest.mark.campaign(quick=12, full=200)
@pytest.mark.parametrize("later", [timedelta(0), timedelta(seconds=100), timedelta(seconds=250), timedelta(days=3)])
@pytest.mark.parametrize("kind", ["prebuilds", "pools"])
def test_a_filter_finds_what_looking_at_every_record_finds(stored, kind, later, size):
    store, now = stored
    chance = random.Random(f"{kind} {later}")
    names = ["project_id", "environment_class_id"] if kind == "pools" else [*VALUES][:-1]
    with store.transaction(now + later) as transaction:
        read = transaction.list_pools if kind == "pools" else transaction.list_prebuilds
        everything = pages(read, Filter(), 100)
        assert [at for at, _ in everything] == sorted((at for at, _ in everything), reverse=True)
        filled = 0
        for _ in range(size):
            chosen = chance.sample(names, chance.randint(1, min(4, len(names))))
            columns = {
                name: chance.choices(VALUES[name], k=chance.choice((1, 1, 2, min(25, len(VALUES[name])))))
                for name in chosen
            }
            expected = [
                at
                for at, record in everything
                if all(column(record, name) in allowed for name, allowed in columns.items())
            ]
            found = pages(read, Filter(columns), chance.choice((1, 7, 26, 101)))
            assert [at for at, _ in found] == expected, columns
            filled += bool(expected)
        assert filled > size / 4


def test_a_list_of_phases_is_true_whatever_was_read_before(stored):
    store, now = stored
    for seconds in (10, 20, 310, 7 * 24 * 3600):
        with store.transaction(now + timedelta(seconds=seconds)) as transaction:
            for phase in PrebuildPhase:
                for _, record in pages(transaction.list_prebuilds, Filter({"phase": [phase.value]}), 50):
                    assert record.phase is phase


# -- Time that passes unobserved


def test_what_is_gone_is_not_listed_and_makes_room():
    store, chance = Store(), random.Random(1)
    with store.transaction(START) as transaction:
        for _ in range(50):
            transaction.add_prebuild(a_prebuild(chance, START, "p", "c", "u"))
    later = START + timedelta(days=8)
    kept = a_prebuild(chance, later, "p", "c", "u")
    with store.transaction(later) as transaction:
        transaction.add_prebuild(kept)
        # Adding has removed some of them, and the rest is not there either.
        assert [record.id for _, record in transaction.list_prebuilds(Filter(), None, 10)] == [kept.id]
    store.close()


@pytest.mark.parametrize("gone", [False, True])
def test_a_pool_hears_of_every_snapshot_in_order(gone):
    """However late it is looked at, and be the prebuilds gone by then."""
    store, chance = Store(), random.Random(2)
    pool = a_pool(chance, START, "p", "c")
    with store.transaction(START) as transaction:
        transaction.add_pool(pool)
    created = []
    for number in range(5):
        now = START + number * HOUR
        created.append(a_prebuild(chance, now, "p", "c", "u"))
        with store.transaction(now) as transaction:
            transaction.add_prebuild(created[-1])
            transaction.add_prebuild(a_prebuild(chance, now, "p", "another class", "u"))
    later = START + (timedelta(days=8) if gone else timedelta(days=1))
    with store.transaction(later) as transaction:
        if gone:
            assert transaction.list_prebuilds(Filter(), None, 10) == []
        found = transaction.pool(pool.id)
        assert found.snapshot_id == created[-1].id
        assert found.status_version == pool.status_version + 5
        assert found.updated_at == created[-1].created_at + timedelta(seconds=300)
    # And of each only once.
    with store.transaction(later + HOUR) as transaction:
        assert transaction.pool(pool.id) == found
    store.close()


def test_a_pool_hears_of_a_prebuild_that_completes_at_once():
    """In the very moment in which the pool was looked at."""
    store, chance = Store(), random.Random(3)
    at_once = Plan(pending=0, starting=0, running=0, stopping=0, snapshotting=0)
    pool = a_pool(chance, START, "p", "c")
    for _ in range(2):
        prebuild = a_prebuild(chance, START, "p", "c", "u", plan=at_once)
        with store.transaction(START) as transaction:
            if transaction.pool(pool.id) is None:
                transaction.add_pool(pool)
            transaction.add_prebuild(prebuild)
            assert transaction.newest_snapshot("p", "c").id == prebuild.id
            assert transaction.pool(pool.id).snapshot_id == prebuild.id
    store.close()


@pytest.mark.parametrize("gone", [False, True])
def test_the_place_of_a_pool_is_free_once_it_has_drained(gone):
    """Be it that nobody has looked at it since it was deleted."""
    store, chance = Store(), random.Random(5)
    first = a_pool(chance, START, "p", "c")
    with store.transaction(START) as transaction:
        transaction.add_pool(first)
        transaction.put_pool(delete_pool(first, START, PLAN))
        assert transaction.pool_of("p", "c").phase is WarmPoolPhase.DELETING
    drained = START + timedelta(seconds=PLAN.draining)
    with store.transaction(drained + timedelta(seconds=PLAN.tombstone) if gone else drained) as transaction:
        assert transaction.pool_of("p", "c") is None
        transaction.add_pool(replace(first, id=some_id(chance)))
        assert len(transaction.list_pools(Filter(), None, 10)) == (1 if gone else 2)
    store.close()


def test_what_a_failed_call_did_is_undone():
    store, chance = Store(), random.Random(6)
    prebuild = a_prebuild(chance, START, "p", "c", "u")
    with store.transaction(START) as transaction:
        transaction.add_prebuild(prebuild)

    def fail_halfway():
        with store.transaction(START) as transaction:
            transaction.put_prebuild(cancel(transaction.prebuild(prebuild.id), START, PLAN))
            assert asdict(transaction.prebuild(prebuild.id)) != asdict(prebuild)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    with store.transaction(START) as transaction:
        assert asdict(transaction.prebuild(prebuild.id)) == asdict(prebuild)
        assert len(transaction.list_prebuilds(Filter({"phase": ["PREBUILD_PHASE_PENDING"]}), None, 10)) == 1
    store.close()
