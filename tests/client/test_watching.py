"""Following the changes of a prebuild."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import strategies as st

from prebuilds import AsyncPrebuildClient, NotFoundError, PermissionDeniedError, StalledError, WaitTimeoutError
from prebuilds.emulator import Plan
from prebuilds.waiting import watch

from .both import ID, KINDS, TOKEN
from .cases import drawn
from .emulated import Emulated
from .rehearsal import Rehearsal, answer, error
from .scripted import Answer, ScriptedServer, a_prebuild

NOT_FOUND = error("not_found", 404)
FAILURES = [httpx.ConnectError("refused"), answer(503), answer(200, "{"), error("internal", 500)]
UNDER_WAY = ["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "CANCELLING", "DELETING", "NEW_ONE"]
ENDS = ["COMPLETED", "FAILED", "CANCELLED", "DELETED", None]


def seen(phase, version=1):
    return answer(200, {"prebuild": a_prebuild(f"PREBUILD_PHASE_{phase}", statusVersion=str(version))})


def watched(script, **arguments):
    rehearsal = Rehearsal(script, retries=0)
    values = rehearsal.iterate(watch(rehearsal.executor, ID, **arguments))
    return [(each.status.phase.removeprefix("PREBUILD_PHASE_"), int(each.status.status_version)) for each in values]


STATE = st.tuples(st.sampled_from(UNDER_WAY), st.integers(1, 3))


@drawn(STATE, st.lists(STATE | st.integers(0, len(FAILURES) - 1), max_size=40), st.sampled_from(ENDS))
def test_each_change_is_yielded_exactly_once(first, between, end):
    states = [first, *between, *([(end, 9)] if end else [])]
    script = [FAILURES[each] if isinstance(each, int) else seen(*each) for each in states]
    expected = []
    for state in states:
        if not isinstance(state, int) and state != (expected[-1] if expected else None):
            expected.append(state)
    assert watched([*script, *([] if end else [NOT_FOUND])]) == expected


def test_a_prebuild_that_never_was_is_not_found():
    with pytest.raises(NotFoundError):
        watched([NOT_FOUND])


def test_the_other_ends_are_errors():
    with pytest.raises(WaitTimeoutError):
        watched(lambda now: seen("RUNNING"), timeout=50)
    with pytest.raises(StalledError):
        watched(lambda now: seen("RUNNING"), stalled_after=50)
    with pytest.raises(PermissionDeniedError):
        watched([seen("RUNNING"), error("permission_denied", 403)])


def test_who_takes_their_time_over_a_change_misses_nothing():
    rehearsal = Rehearsal([seen("RUNNING"), seen("STOPPING"), seen("COMPLETED")])
    found = []
    for prebuild in rehearsal.iterate(watch(rehearsal.executor, ID, stalled_after=60)):
        rehearsal.time += 1000
        found.append(prebuild.status.phase.name)
    assert found == ["RUNNING", "STOPPING", "COMPLETED"]


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_yield_the_life_of_a_prebuild(kind):
    with Emulated(kind, Plan(snapshotting=120)) as emulated:
        made = emulated.create()
        found = list(emulated.stream("watch", made, poll_interval=5))
        names = [each.status.phase.name for each in found]
        life = ["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "SNAPSHOTTING", "COMPLETED"]
        assert names == life
        assert [each.status.phase.name for each in emulated.stream("watch", made.id)] == ["COMPLETED"]
        emulated("delete", prebuild_id=made.id)
        assert [each.status.phase.name for each in emulated.stream("watch", made.id)] == ["DELETING", "DELETED"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_prebuild_that_is_deleted_midway_ends_it(kind):
    with Emulated(kind, Plan(tombstone=0)) as emulated:
        made = emulated.create()
        found = []
        for each in emulated.stream("watch", made):
            found.append(each.status.phase.name)
            if found[-1] == "RUNNING":
                emulated("delete", prebuild_id=made.id)
        assert found == ["PENDING", "STARTING", "RUNNING", "STOPPING", "DELETING"]


@pytest.mark.parametrize("kind", KINDS)
def test_who_stops_watching_asks_nothing_more(kind):
    with Emulated(kind) as emulated:
        made = emulated.create()
        values = emulated.stream("watch", made)
        assert not emulated.calls["retrieve"]
        next(values)
        values.close()
        assert emulated.calls["retrieve"] == 1
        unused = emulated.stream("watch", made)
        unused.close()
        assert emulated.calls["retrieve"] == 1


def test_an_asynchronous_watch_is_over_soon_after_a_break():
    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
            before = asyncio.all_tasks()
            async for _ in client.prebuilds.watch(ID):
                break
            for _ in range(5):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == before

    with ScriptedServer(Answer(body={"prebuild": a_prebuild()})) as server:
        asyncio.run(main())
        assert len(server.requests) == 1


def test_an_asynchronous_watch_can_be_cancelled_while_it_pauses():
    async def main() -> None:
        async with AsyncPrebuildClient(TOKEN, base_url=server.url) as client:
            first = asyncio.Event()

            async def follow() -> None:
                async for _ in client.prebuilds.watch(ID, poll_interval=1000):
                    first.set()

            task = asyncio.create_task(follow())
            await first.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with ScriptedServer(Answer(body={"prebuild": a_prebuild()})) as server:
        asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_are_refused_before_anything_is_asked_for(kind):
    with Emulated(kind) as emulated:
        for method in ("watch", "logs"):
            with pytest.raises(ValueError, match="prebuild_id"):
                getattr(emulated.client.prebuilds, method)("")
            with pytest.raises(ValueError, match="timeout"):
                getattr(emulated.client.prebuilds, method)(ID, timeout=-1)
