"""Waiting for prebuilds and pools: without a network or a clock, and with both clients on the time of an emulator."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
from collections import Counter

import httpx
import pytest
from hypothesis import strategies as st

from prebuild_api.models import Prebuild, PrebuildPhase, WarmPoolPhase
from prebuilds import (
    CallError,
    NotFoundError,
    PermissionDeniedError,
    PrebuildCancelledError,
    PrebuildDeletedError,
    PrebuildFailedError,
    StalledError,
    UnavailableError,
    WaitError,
    WaitManyError,
    WaitTimeoutError,
    WarmPoolDeletedError,
)
from prebuilds.emulator import Plan
from prebuilds.waitables import PREBUILD, WARM_POOL, Waitable
from prebuilds.waiting import create_and_wait, wait, wait_warm_pool, watch
from prebuilds.waiting_for_many import MAX_SEARCHES, wait_all

from .both import ID, KINDS, LOOPS, using
from .cases import drawn
from .emulated import CLASS, PROJECT, Emulated, Played
from .rehearsal import Rehearsal, answer, error
from .scripted import Answer, ScriptedServer, a_prebuild

NOT_FOUND = error("not_found", 404, "no such prebuild")


def seen(phase: str, **status):
    return answer(200, {"prebuild": a_prebuild(f"PREBUILD_PHASE_{phase}", **status)})


def wait_for(rehearsal, prebuild_id=ID, *, timeout=7500.0, on_update=None, poll_interval=12.0):
    return rehearsal.run(
        wait(
            rehearsal.executor,
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
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now > 2e4 else "RUNNING"))
    wait_for(rehearsal, timeout=None)
    assert rehearsal.time > 2e4


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_ten_minutes_cost_at_most_60_looks_and_the_end_is_noticed_within_15_seconds(chance):
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now >= 600 else "RUNNING"), chance=chance, latency=0.1)
    wait_for(rehearsal)
    assert len(rehearsal.sent) <= 60
    assert rehearsal.time < 615
    assert rehearsal.slept[0] <= 1.1


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("method", ["wait", "wait_all"])
def test_an_asynchronous_function_is_awaited_for_what_it_says(kind, method):
    async def is_running(prebuild: Prebuild) -> bool:
        return prebuild.status.phase == PrebuildPhase.RUNNING

    with ScriptedServer(Answer(200, {"prebuild": a_prebuild("PREBUILD_PHASE_PENDING")}), Answer()) as server:

        def work(client):
            given = ID if method == "wait" else [ID]
            return getattr(client.prebuilds, method)(given, until=is_running, poll_interval=0.01, timeout=30)

        if kind == "sync":
            with pytest.raises(TypeError, match="use AsyncPrebuildClient"):
                using(kind, work, base_url=server.url)
            return
        found = using(kind, work, base_url=server.url)
        assert (found if method == "wait" else found[0]).status.phase == PrebuildPhase.RUNNING
        assert len(server.requests) == 2


def test_what_is_no_prebuild_cannot_be_waited_for():
    for nothing in (None, "", Prebuild.from_dict({**a_prebuild(), "id": ""}), 5):
        with pytest.raises(ValueError, match="prebuild_id: expected an id"):
            wait_for(Rehearsal([]), nothing)


def test_what_on_update_raises_ends_it():
    def on_update(prebuild: Prebuild) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        wait_for(Rehearsal([seen("RUNNING")]), on_update=on_update)


# -- What is waited for ------------------------------------------------------------------------------------------------


def phases_of(kind: Waitable) -> set[str]:
    return set(type(next(iter(kind.ends))))


@pytest.mark.parametrize("kind", [PREBUILD, WARM_POOL], ids=lambda kind: kind.noun)
def test_every_phase_of_the_schema_is_on_exactly_one_way(kind):
    on_ways = [phase for way in kind.paths for phase in way]
    assert len(on_ways) == len(set(on_ways))
    assert phases_of(kind) - set(on_ways) == {phase for phase in phases_of(kind) if phase.is_unspecified}


def test_the_ways_of_a_prebuild_end_where_the_schema_says_so():
    terminal = {phase for phase in PrebuildPhase if phase.is_terminal}
    assert {way[-1] for way in PREBUILD.paths} == terminal == set(PREBUILD.ends)
    for way in PREBUILD.paths:
        assert all(phase.is_active or phase.is_deleting for phase in way[:-1])
    active = {phase for phase in PrebuildPhase if phase.is_active}
    assert active == {phase for way in PREBUILD.paths for phase in way[:-1]} - {PrebuildPhase.DELETING}


def test_a_warm_pool_does_not_come_back_from_deletion_and_from_nothing_else():
    assert set(WARM_POOL.ends) == {phase for phase in WarmPoolPhase if phase.is_deleting or phase.is_terminal}


MAIN = [phase.removeprefix("PREBUILD_PHASE_") for phase in PREBUILD.paths[0]]


@pytest.mark.parametrize(("wanted", "seen_first"), [(a, b) for a in MAIN for b in MAIN])
def test_a_phase_is_reached_when_a_later_one_on_its_way_is_seen(wanted, seen_first):
    rehearsal = Rehearsal([seen(seen_first), seen("COMPLETED")])
    found = rehearsal.run(wait(rehearsal.executor, ID, until=f"PREBUILD_PHASE_{wanted}"))
    reached = MAIN.index(seen_first) >= MAIN.index(wanted)
    assert found.status.phase == f"PREBUILD_PHASE_{seen_first if reached else 'COMPLETED'}"


@pytest.mark.parametrize(
    ("until", "last"), [("CANCELLING", "CANCELLED"), ("DELETING", "DELETED"), ("DELETED", "DELETED")]
)
def test_so_it_is_beside_the_usual_way(until, last):
    rehearsal = Rehearsal([seen("RUNNING"), seen(last)])
    rehearsal.run(wait(rehearsal.executor, ID, until=f"PREBUILD_PHASE_{until}"))


@pytest.mark.parametrize("until", ["DELETED", "DELETING"])
def test_who_waits_for_the_deletion_waits_through_other_ends_until_it_is_gone(until):
    rehearsal = Rehearsal([seen("RUNNING"), seen("COMPLETED"), seen("COMPLETED"), NOT_FOUND])
    found = rehearsal.run(wait(rehearsal.executor, ID, until=f"PREBUILD_PHASE_{until}"))
    assert found.status.phase is PrebuildPhase.COMPLETED


@pytest.mark.parametrize(
    ("until", "script", "kind"),
    [
        (PrebuildPhase.FAILED, ["RUNNING", "FAILED"], None),
        (PrebuildPhase.FAILED, ["RUNNING", "COMPLETED"], WaitError),
        (PrebuildPhase.FAILED, ["RUNNING", "CANCELLED"], PrebuildCancelledError),
        ([PrebuildPhase.FAILED, PrebuildPhase.CANCELLED], ["RUNNING", "CANCELLED"], None),
        ({PrebuildPhase.STOPPING, PrebuildPhase.FAILED}, ["RUNNING", "SNAPSHOTTING"], None),
        ({PrebuildPhase.STOPPING, PrebuildPhase.FAILED}, ["RUNNING", "FAILED"], None),
        (lambda prebuild: bool(prebuild.status.log_url), ["RUNNING", "RUNNING+"], None),
        (lambda prebuild: False, ["RUNNING", "COMPLETED"], WaitError),
    ],
)
def test_several_phases_and_functions_can_be_waited_for(until, script, kind):
    answers = [seen(each.rstrip("+"), **({"logUrl": "https://l/"} if "+" in each else {})) for each in script]
    rehearsal = Rehearsal(answers)
    if kind is None:
        found = rehearsal.run(wait(rehearsal.executor, ID, until=until))
        assert found.status.phase == f"PREBUILD_PHASE_{script[-1].rstrip('+')}"
    else:
        with pytest.raises(WaitError) as caught:
            rehearsal.run(wait(rehearsal.executor, ID, until=until))
        assert type(caught.value) is kind
    assert len(rehearsal.sent) == len(script)


BAD = ["COMPLETE", "PREBUILD_PHASE_TELEPORTING", "WARM_POOL_PHASE_READY", "", [], ["PREBUILD_PHASE_RUNNING", "x"]]


@pytest.mark.parametrize("until", BAD)
def test_a_phase_that_is_none_is_refused_before_anything_is_sent(until):
    caller = Rehearsal([]).executor
    for attempt in (
        lambda: wait(caller, ID, until=until),
        lambda: create_and_wait(caller, project_id=ID, until=until),
        lambda: wait_all(caller, [], until=until),
    ):
        with pytest.raises(ValueError, match="until"):
            attempt()


@pytest.mark.parametrize("name", ["timeout", "poll_interval", "stalled_after"])
@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
@pytest.mark.parametrize("method", [wait, wait_warm_pool, watch])
def test_times_have_to_make_sense(method, name, seconds):
    with pytest.raises(ValueError, match=name):
        method(Rehearsal([]).executor, ID, **{name: seconds})


# -- What is certain, and what is not ----------------------------------------------------------------------------------


@drawn(st.floats(1, 7200), st.integers(0, 2**32), st.floats(0, 1.0), quick=25, full=1000)
def test_the_end_is_noticed_within_15_seconds_whenever_it_is(duration, seed, latency):
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now >= duration else "RUNNING"), latency=latency)
    rehearsal.chance = random.Random(seed).uniform
    wait_for(rehearsal)
    assert duration <= rehearsal.time <= duration + 15
    assert len(rehearsal.sent) <= 8 + duration / 10.7


@pytest.mark.campaign(quick=50, full=2000)
def test_ten_minutes_never_cost_more_than_60_looks(size):
    for seed in range(size):
        rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now >= 600 else "RUNNING"))
        rehearsal.chance = random.Random(seed).uniform
        wait_for(rehearsal)
        assert len(rehearsal.sent) <= 60, seed


def test_not_even_if_every_pause_is_the_shortest():
    rehearsal = Rehearsal(lambda now: seen("COMPLETED" if now >= 600 else "RUNNING"), chance=0.0)
    wait_for(rehearsal)
    assert len(rehearsal.sent) <= 60


TRANSIENT = {
    "refused": httpx.ConnectError("refused"),
    "timeout": httpx.ReadTimeout(""),
    "dropped": httpx.RemoteProtocolError("hung up"),
    "truncated": answer(200, '{"prebuild"'),
    "html 502": answer(502, "<html>"),
    "html 500": answer(500, "oops"),
    "503": answer(503),
    "504": answer(504),
    "429": error("resource_exhausted", 429),
    "429 with hint": error("resource_exhausted", 429, retry_after="3"),
    "internal": error("internal", 500),
    "unavailable": error("unavailable", 503),
    "aborted": error("aborted", 409),
    "canceled": error("canceled", 499),
    "deadline": error("deadline_exceeded", 504),
}
LASTING = {
    "denied": error("permission_denied", 403),
    "token": error("unauthenticated", 401),
    "argument": error("invalid_argument", 400),
    "unimplemented": error("unimplemented", 501),
    "data loss": error("data_loss", 500),
    "path": answer(404, "<html>"),
    "redirect": answer(302, "", location="https://elsewhere.example/"),
    "not an object": answer(200, {"prebuild": 7}),
}


@pytest.mark.parametrize("failure", TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.parametrize("retries", [0, 2])
def test_each_passing_failure_is_waited_through(failure, retries):
    script = [*[failure] * 4, seen("RUNNING"), *[failure] * 30, seen("COMPLETED")]
    assert wait_for(Rehearsal(script, retries=retries)).status.phase is PrebuildPhase.COMPLETED


@pytest.mark.parametrize("failure", LASTING.values(), ids=LASTING)
def test_each_lasting_failure_ends_it(failure):
    rehearsal = Rehearsal([seen("RUNNING"), failure])
    with pytest.raises(CallError):
        wait_for(rehearsal)
    assert len(rehearsal.sent) == 2


def test_an_outage_is_no_stall():
    rehearsal = Rehearsal(
        lambda now: seen("RUNNING") if now < 50 else answer(503) if now < 200 else seen("COMPLETED"), retries=0
    )
    rehearsal.run(wait(rehearsal.executor, ID, stalled_after=60))


def test_a_prebuild_that_does_not_move_is_stalled():
    rehearsal = Rehearsal(lambda now: seen("RUNNING", statusVersion=str(min(int(now) // 100, 5)), logUrl="https://l/"))
    with pytest.raises(StalledError, match=r"has not changed for 1[89]\d\d s, and is RUNNING .*https://l/") as caught:
        rehearsal.run(wait(rehearsal.executor, ID, stalled_after=1800))
    assert caught.value.prebuild.status.status_version == "5"
    assert 2300 <= rehearsal.time <= 2330


def test_a_slow_callback_is_no_stall():
    rehearsal = Rehearsal([seen("RUNNING"), seen("STOPPING"), seen("COMPLETED")])

    def slowly(_):
        rehearsal.time += 500

    rehearsal.run(wait(rehearsal.executor, ID, stalled_after=60, on_update=slowly))


def test_a_slow_callback_does_not_cost_the_last_look():
    rehearsal = Rehearsal([seen("RUNNING"), seen("COMPLETED")])

    def slowly(_):
        rehearsal.time += 500

    rehearsal.run(wait(rehearsal.executor, ID, timeout=100, on_update=slowly))


def test_who_knows_the_prebuild_gets_it_with_the_error_though_it_was_never_seen():
    known = Prebuild.from_dict(a_prebuild("PREBUILD_PHASE_PENDING", logUrl="https://l/"))
    with pytest.raises(WaitTimeoutError, match="is PENDING after 20 s") as caught:
        wait_for(Rehearsal(lambda now: answer(503), retries=0), known, timeout=20)
    assert caught.value.prebuild is known
    with pytest.raises(WaitTimeoutError, match="has not been seen after 20 s") as caught:
        wait_for(Rehearsal(lambda now: answer(503), retries=0), timeout=20)
    assert caught.value.prebuild is None


@pytest.mark.parametrize("phase", ["COMPLETED", "FAILED"])
def test_a_warning_is_written_to_the_log(phase, caplog):
    with contextlib.suppress(PrebuildFailedError):
        wait_for(Rehearsal([seen("RUNNING"), seen(phase, warningMessage="no devcontainer")]))
    assert [(each.levelname, each.name) for each in caplog.records] == [("WARNING", "prebuilds")]
    assert "no devcontainer" in caplog.text
    assert ID in caplog.text


# -- Starting, and waiting for it --------------------------------------------------------------------------------------


def test_create_and_wait_starts_one_and_waits_for_it():
    rehearsal = Rehearsal([seen("PENDING"), seen("RUNNING"), seen("COMPLETED")])
    made = rehearsal.run(create_and_wait(rehearsal.executor, project_id=ID, spec={"timeout": "600s"}))
    assert made.status.phase is PrebuildPhase.COMPLETED
    assert [send.url.rpartition("/")[2] for send in rehearsal.sent] == ["CreatePrebuild", "GetPrebuild", "GetPrebuild"]
    assert rehearsal.bodies()[0] == {"projectId": ID, "spec": {"timeout": "600s"}}
    assert rehearsal.bodies()[1] == {"prebuildId": made.id}


def test_a_create_that_may_have_run_is_not_repeated():
    rehearsal = Rehearsal([httpx.ReadTimeout("")])
    with pytest.raises(CallError) as caught:
        rehearsal.run(create_and_wait(rehearsal.executor, project_id=ID))
    assert caught.value.maybe_executed


def test_the_wait_for_a_new_prebuild_does_not_create_another():
    rehearsal = Rehearsal([seen("PENDING"), *[answer(503)] * 20, seen("COMPLETED")], retries=1)
    rehearsal.run(create_and_wait(rehearsal.executor, project_id=ID))
    assert sum(send.url.endswith("CreatePrebuild") for send in rehearsal.sent) == 1


@pytest.mark.parametrize("then", [seen("FAILED"), NOT_FOUND, lambda: None])
def test_what_goes_wrong_afterwards_tells_which_prebuild_it_was(then):
    rehearsal = Rehearsal(lambda now: answer(503) if len(rehearsal.sent) > 1 else seen("PENDING"), retries=0)
    if not callable(then):
        rehearsal = Rehearsal([seen("PENDING"), then])
    with pytest.raises(WaitError) as caught:
        rehearsal.run(create_and_wait(rehearsal.executor, project_id=ID, timeout=50))
    assert caught.value.prebuild.id == a_prebuild()["id"]


def test_a_failure_of_another_kind_has_a_note():
    rehearsal = Rehearsal([seen("PENDING"), error("permission_denied", 403)])
    with pytest.raises(PermissionDeniedError) as caught:
        rehearsal.run(create_and_wait(rehearsal.executor, project_id=ID))
    assert a_prebuild()["id"] in caught.value.__notes__[0]


# -- Many at once ------------------------------------------------------------------------------------------------------


def numbered(number: int) -> str:
    return a_prebuild(number=number)["id"]


class Many:
    """Prebuilds that end at their times, in their phases. Lists show them, or none."""

    def __init__(self, ends: dict[int, tuple[float, str]], *, listed: bool = True, **options) -> None:
        self.ends = ends
        self.listed = listed
        self.looks: Counter[int] = Counter()
        self.rehearsal = Rehearsal(self._answer, **options)

    def _answer(self, now):
        sent = self.rehearsal.sent[-1]
        body = json.loads(sent.content)
        if sent.url.endswith("ListPrebuilds"):
            return self._page(now, int(body["pagination"].get("token", 0)))
        number = int(body["prebuildId"][-12:])
        self.looks[number] += 1
        prebuild = self._prebuild(number, now)
        return NOT_FOUND if prebuild is None else answer(200, {"prebuild": prebuild})

    def _page(self, now, start):
        shown = [self._prebuild(number, now) for number in sorted(self.ends, reverse=True)] if self.listed else []
        shown = [prebuild for prebuild in shown if prebuild is not None]
        more = {"nextToken": str(start + 100)} if len(shown) > start + 100 else {}
        return answer(200, {"prebuilds": shown[start : start + 100], "pagination": more})

    def _prebuild(self, number, now):
        end, phase = self.ends[number]
        if now < end:
            return a_prebuild("PREBUILD_PHASE_RUNNING", number=number)
        if phase == "GONE":
            return None
        return a_prebuild(f"PREBUILD_PHASE_{phase}", number=number, failureMessage="f")

    def wait(self, **arguments):
        rehearsal = self.rehearsal
        return rehearsal.run(wait_all(rehearsal.executor, [numbered(each) for each in self.ends], **arguments))


LISTED = pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])


@LISTED
def test_all_are_returned_in_the_order_in_which_they_were_given(listed):
    numbers = list(range(100))
    random.Random(4).shuffle(numbers)
    many = Many({number: (30.0 + 3 * number, "COMPLETED") for number in numbers}, listed=listed)
    assert [each.id for each in many.wait()] == [numbered(number) for number in numbers]
    assert 327 <= many.rehearsal.time <= 327 + 15
    assert max(many.looks.values(), default=0) <= 60


@pytest.mark.campaign(quick=50, full=500)
@LISTED
def test_hundreds_pause_together(size, listed):
    many = Many(dict.fromkeys(range(size), (600.0, "COMPLETED")), listed=listed)
    many.wait()
    assert len(many.rehearsal.slept) <= 60
    assert 600 <= many.rehearsal.time <= 615


def test_a_thousand_cost_at_most_15_calls_a_round():
    many = Many(dict.fromkeys(range(1000), (300.0, "COMPLETED")))
    assert len(many.wait()) == 1000
    rounds = len(many.rehearsal.slept) + 1
    assert len(many.rehearsal.sent) <= 15 * rounds
    assert not many.looks


@LISTED
def test_mixed_ends_are_told_together(listed):
    ends = {1: (5.0, "COMPLETED"), 2: (9.0, "FAILED"), 3: (1.0, "CANCELLED"), 4: (3.0, "GONE"), 5: (0.0, "GONE")}
    many = Many({**ends, 6: (1e9, "COMPLETED"), 7: (400.0, "COMPLETED")}, listed=listed)
    with pytest.raises(WaitManyError, match="5 of 7 prebuilds did not complete: prebuild .*2 failed: f") as caught:
        many.wait(timeout=1000)
    kinds = [type(each) for each in caught.value.errors]
    expected = [PrebuildFailedError, PrebuildCancelledError, PrebuildDeletedError, NotFoundError, WaitTimeoutError]
    assert kinds == expected
    assert [each.id for each in caught.value.prebuilds] == [numbered(1), numbered(7)]
    assert many.rehearsal.time == pytest.approx(1000)


def test_none_is_none():
    assert Many({}).wait() == []


def test_one_string_is_not_several_ids():
    with pytest.raises(TypeError, match="prebuilds: expected several"):
        wait_all(Rehearsal([]).executor, ID)


def test_what_a_callback_raises_ends_the_wait_for_all():
    many = Many({1: (5.0, "COMPLETED"), 2: (5.0, "COMPLETED")})

    def refuse(_):
        raise LookupError("enough")

    with pytest.raises(LookupError):
        many.wait(on_update=refuse)
    assert len(many.rehearsal.sent) <= 2


@LISTED
def test_each_change_of_each_is_told_once(listed):
    many = Many({number: (7.0 * number, "COMPLETED") for number in range(1, 10)}, listed=listed)
    told = Counter()
    many.wait(on_update=lambda each: told.update([(each.id, each.status.phase)]))
    assert set(told.values()) == {1}
    assert len(told) == 18


# -- Warm pools --------------------------------------------------------------------------------------------------------


def pool(phase: str, **status):
    times = {"createdAt": "2026-03-01T09:00:00Z", "updatedAt": "2026-03-01T09:00:00Z"}
    status = {"phase": f"WARM_POOL_PHASE_{phase}", **status}
    return answer(200, {"warmPool": {"id": ID, "metadata": times, "spec": {}, "status": status}})


def wait_for_pool(script, **arguments):
    rehearsal = Rehearsal(script)
    return rehearsal.run(wait_warm_pool(rehearsal.executor, ID, **arguments))


def test_a_pool_is_waited_for_until_it_is_ready():
    told = []
    found = wait_for_pool([pool("PENDING"), pool("DEGRADED"), pool("NEW"), pool("READY")], on_update=told.append)
    assert found.status.phase is WarmPoolPhase.READY
    assert [each.status.phase.rpartition("_")[2] for each in told] == ["PENDING", "DEGRADED", "NEW", "READY"]


@pytest.mark.parametrize("end", [pool("DELETING"), pool("DELETED"), NOT_FOUND])
def test_a_pool_that_is_deleted_is_not_waited_for(end):
    with pytest.raises(WarmPoolDeletedError) as caught:
        wait_for_pool([pool("PENDING"), end])
    assert caught.value.warm_pool.id == ID
    assert caught.value.prebuild is None


@pytest.mark.parametrize("end", [pool("DELETED"), NOT_FOUND])
@pytest.mark.parametrize("until", [WarmPoolPhase.DELETED, [WarmPoolPhase.DELETING]])
def test_unless_that_is_what_is_waited_for(end, until):
    wait_for_pool([pool("READY"), end], until=until)
    wait_for_pool([pool("READY"), pool("DELETING"), end], until=WarmPoolPhase.DELETED)


def test_a_pool_that_stays_degraded_says_why():
    with pytest.raises(WaitTimeoutError, match="warm pool .* is DEGRADED after 60 s: no capacity"):
        wait_for_pool(lambda now: pool("DEGRADED", failureMessage="no capacity"), timeout=60)


# -- Both clients, on the time of an emulator --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_ten_minutes_of_the_emulator_cost_at_most_60_looks(kind):
    plan = Plan(pending=20, starting=40, running=440, stopping=40, snapshotting=60)
    for seed in range(3):
        with Emulated(kind, plan, seed=seed) as emulated:
            phases = []
            made = emulated(
                "create_and_wait", project_id=PROJECT, on_update=lambda each, to=phases: to.append(each.status.phase)
            )
            assert made.status.phase is PrebuildPhase.COMPLETED
            assert 600 <= emulated.time <= 615
            assert emulated.calls["retrieve"] <= 60
            assert emulated.calls["create"] == 1
            assert phases[0] is PrebuildPhase.PENDING
            assert [*dict.fromkeys(phases)] == sorted(set(phases), key=PREBUILD.paths[0].index)


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_tell_the_same_of_every_end(kind):
    with Emulated(kind, Plan(running=100)) as emulated:
        too_slow = emulated.create(spec={"timeout": "300s"})
        emulated.clock.advance(120)

        def cancel_it(prebuild):
            if prebuild.status.phase is PrebuildPhase.RUNNING and emulated.kind == "sync":
                emulated("cancel", prebuild_id=prebuild.id)
            return cancel_it_later(prebuild) if emulated.kind == "async" else None

        async def cancel_it_later(prebuild):
            if prebuild.status.phase is PrebuildPhase.RUNNING:
                await emulated.client.prebuilds.cancel(prebuild_id=prebuild.id)

        with pytest.raises(PrebuildCancelledError):
            emulated("wait", too_slow, on_update=cancel_it)
        other = emulated.create()
        with pytest.raises(WaitTimeoutError, match="is RUNNING"):
            emulated("wait", other, timeout=60)
        assert emulated("wait", other, until="PREBUILD_PHASE_SNAPSHOTTING").id == other.id
        done = emulated("wait", other.id)
        emulated("delete", prebuild_id=done.id)
        with pytest.raises(PrebuildDeletedError):
            emulated("wait", done.id)
        assert emulated("wait", done, until="PREBUILD_PHASE_DELETED").id == done.id
        emulated.clock.advance(300)
        with pytest.raises(NotFoundError):
            emulated("wait", done.id)


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_wait_for_many(kind):
    with Emulated(kind) as emulated:
        made = []
        for _ in range(10):
            made.append(emulated.create())
            emulated.clock.advance(6)
        emulated("cancel", prebuild_id=made[7].id)
        with pytest.raises(WaitManyError, match="1 of 10") as caught:
            emulated("wait_all", iter([each.id for each in made]))
        assert [each.id for each in caught.value.prebuilds] == [each.id for each in made if each.id != made[7].id]
        assert 354 <= emulated.time <= 354 + 15


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_wait_for_a_pool(kind):
    with Emulated(kind) as emulated:
        made = emulated("create_warm_pool", project_id=PROJECT, environment_class_id=CLASS).warm_pool
        with pytest.raises(WaitTimeoutError, match="is PENDING"):
            emulated("wait_warm_pool", made.id)
        emulated.create()
        assert emulated("wait_warm_pool", made).status.phase is WarmPoolPhase.READY
        emulated("delete_warm_pool", warm_pool_id=made.id)
        with pytest.raises(WarmPoolDeletedError):
            emulated("wait_warm_pool", made)
        emulated("wait_warm_pool", made, until="WARM_POOL_PHASE_DELETED")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_cost_no_request_of_either_client(kind):
    with Emulated(kind) as emulated:
        for method, arguments in {
            "create_and_wait": {"project_id": PROJECT, "until": "COMPLETE"},
            "wait": {"prebuild_id": ID, "poll_interval": 0},
            "wait_all": {"prebuilds": ID},
            "wait_warm_pool": {"warm_pool_id": ""},
        }.items():
            with pytest.raises((ValueError, TypeError)):
                emulated(method, **arguments)
        assert not emulated.calls


@pytest.mark.parametrize("kind", KINDS)
def test_requests_of_a_wait_for_many_are_under_way_side_by_side(kind):
    # Its list shows none of them, so that each is polled alone, after a few have been looked for in their projects.
    together = threading.Barrier(8, timeout=20)
    searched = itertools.count()

    def look(request):
        if request.path.endswith("ListPrebuilds"):
            return Answer(body={})
        if next(searched) >= MAX_SEARCHES:
            together.wait()
        return Answer(body={"prebuild": a_prebuild("PREBUILD_PHASE_COMPLETED", number=int(request.body["prebuildId"]))})

    with ScriptedServer(look) as server, Played(kind, server.url) as played:
        found = played("wait_all", [str(number) for number in range(1, 17 + MAX_SEARCHES)])
    assert [each.id for each in found] == [numbered(number) for number in range(1, 17 + MAX_SEARCHES)]
