"""The state machine finds what breaks the contract, with a short sequence, and finds nothing where nothing is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import configuration

from prebuilds.contract.machine import run_machine, without_files
from prebuilds.contract.machine.model import Made, difference, new_bounds, passes, seconds
from prebuilds.contract.session import OutOfTimeError, Session
from prebuilds.contract.transports import AsgiTransport, HttpTransport
from prebuilds.emulator import EmulatorServer, ManualClock, Options, Plan, Project

from .mutants import MUTANTS
from .mutants.base import CLASS, PROJECT, TOKEN, Server
from .variants import COMBINED

of_one_worker = pytest.mark.xdist_group("machine")
"""The tests that share a run."""

_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def explore(server: Server, seed: int = 0, *, scale: float = 0.3, **settings) -> Session:
    """The session of a run on a server in this process."""
    session = _session(AsgiTransport(server.app), **settings)
    try:
        run_machine(session, seed, steps=15, scale=scale)
    finally:
        session.transport.close()
        server.close()
    return session


def _session(transport, **settings) -> Session:
    return Session(transport, token=TOKEN, **{"max_creates": 400, "assumptions": True, **settings})


def broken(session: Session) -> dict[tuple[str, str], str]:
    return {(failure.property.name, failure.method): failure.why for failure in session.findings.failures}


@pytest.fixture(scope="module")
def explored() -> Session:
    """The session of a run on the emulator, with seed 5."""
    return explore(Server(), 5)


@pytest.mark.campaign(quick=1, full=10)
def test_a_correct_server_is_not_accused(size):
    for seed in range(size):
        assert broken(explore(Server(), seed)) == {}, seed


@pytest.mark.parametrize("name", COMBINED)
def test_a_server_that_is_correct_in_its_own_ways_is_not_accused(name):
    kind = COMBINED[name]
    given = {"projects": kind.projects, "environment_classes": kind.environment_classes}
    session = explore(kind(), scale=0.25, assumptions=kind.assumptions, **given)
    # What should be, and need not be, is another matter.
    assert [failure.why for failure in session.findings.failures if failure.property.level == "MUST"] == []


@pytest.mark.parametrize(
    "plan",
    [
        Plan(pending=0, starting=0, running=0, stopping=0, snapshotting=0, deleting=0, draining=0, tombstone=0),
        Plan(running=7000, draining=9000, deleting=9000),
        Plan(pending=0, snapshotting=0, draining=0, deleting=5, tombstone=0),
    ],
    ids=["all-at-once", "slow", "some-at-once"],
)
def test_how_long_things_take_is_the_servers_choice(plan):
    assert broken(explore(Server(plan=plan), scale=0.2)) == {}


def test_time_may_stand_still():
    session = explore(Server(tick=0.0), patience=0.5)
    assert broken(session) == {}


def test_over_a_socket(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with EmulatorServer(clock=ManualClock()) as server:
        transport = HttpTransport(server.url)
        session = _session(transport, patience=0.3)
        run_machine(session, 0, steps=20, scale=0.25)
        transport.close()
    assert broken(session) == {}
    assert {answer.request.method for answer in session.log} >= {"CreatePrebuild", "ListWarmPools", "UpdateWarmPool"}
    assert capsys.readouterr().out == ""
    assert list(Path.cwd().iterdir()) == []


@of_one_worker
def test_a_seed_stands_for_the_same_calls(explored):
    def calls(session: Session) -> list[tuple[str, bytes]]:
        return [(answer.request.method, _shape(answer.request.body or b"")) for answer in session.log]

    first = calls(explored)
    assert len(first) > 300
    assert first == calls(explore(Server(), 5))
    assert first != calls(explore(Server(), 6))


def _shape(body: bytes) -> bytes:
    """A request without what the server has chosen: ids and page tokens."""
    return re.sub(rb'"token":"[^"]*"', b'"token":""', _UUID.sub(b"ID", body))


@of_one_worker
def test_everything_that_was_made_is_deleted(explored):
    deleted = {
        json.loads(answer.request.body or b"{}").get(name)
        for answer in explored.log
        for method, name in (("DeletePrebuild", "prebuildId"), ("DeleteWarmPool", "warmPoolId"))
        if answer.request.method == method and answer.ok
    }
    assert set() < explored.made.keys() <= deleted


def test_no_more_is_made_than_may_be():
    session = explore(Server(), max_creates=20)
    assert 0 < len(session.made) <= 20
    assert broken(session) == {}


def test_only_the_given_projects_are_used():
    session = explore(Server(), projects=[PROJECT], environment_classes=[CLASS])
    sent = b"".join(answer.request.body or b"" for answer in session.log if answer.request.method.startswith("Create"))
    assert set(re.findall(rb'"projectId":"([^"]*)"', sent)) == {PROJECT.encode()}
    assert broken(session) == {}


def test_projects_without_a_named_class():
    session = explore(Server(), projects=[PROJECT])
    assert broken(session) == {}
    assert session.findings.reached["CreateWarmPool"].success


def test_projects_that_are_unknown_to_the_server_are_left_alone():
    with EmulatorServer(
        clock=ManualClock(), options=Options(strict_projects=True, projects=(Project(id=PROJECT),))
    ) as server:
        transport = HttpTransport(server.url)
        session = _session(transport, patience=0.1)
        run_machine(session, 0, steps=5, scale=0.25)
        transport.close()
    assert broken(session) == {}


def test_a_run_ends_when_its_time_is_over():
    now = iter(range(10_000))
    session = _session(AsgiTransport(Server().app), max_time=50, clock=lambda: float(next(now)))
    with pytest.raises(OutOfTimeError):
        run_machine(session)
    session.transport.close()


@pytest.mark.parametrize(
    ("mutant", "property_name", "method"),
    [
        ("PoolsAreNotUnique", "pool-is-unique", "CreateWarmPool"),
        ("UpdateResetsTheRest", "update-changes-what-is-named", "UpdateWarmPool"),
        ("CancelTakesAll", "others-are-untouched", "CancelPrebuild"),
    ],
)
def test_what_is_broken_is_shown_by_a_short_sequence(mutant, property_name, method):
    # What a seed stands for may change with Hypothesis.
    sessions = (explore(MUTANTS[mutant](), seed, scale=0.25) for seed in (1, 0, 2, 3))
    failure, calls = next(
        (failure, len(session.log))
        for session in sessions
        for failure in session.findings.failures
        if failure.property.name == property_name
    )
    sent = [answer.request.method for answer in failure.sequence]
    assert method in sent[-2:]
    assert 2 <= len(sent) <= 6 < calls / 100


def test_files_of_hypothesis_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "__hypothesis_home_directory", tmp_path)
    with without_files(), pytest.raises(OSError, match="null"):
        configuration.storage_directory("constants").create_if_missing()
    assert configuration.storage_directory("constants").path == tmp_path / "constants"


def test_the_bounds_that_a_pool_must_come_to():
    assert new_bounds({}) == (None, None)
    assert new_bounds({"desiredSize": 3}) == (3, 3)
    assert new_bounds({"minSize": 2}) == (2, None)
    assert new_bounds({"minSize": 5, "maxSize": 4}) is None
    assert new_bounds({"maxSize": 4}, (5, 9)) is None
    assert new_bounds({"maxSize": 7}, (5, 9)) == (5, 7)
    assert new_bounds({"desiredSize": 1}, (5, 9)) == (1, 1)
    assert new_bounds({}, (5, 9)) == (5, 9)


def test_what_a_filter_lets_through():
    item = {
        "metadata": {"projectId": "a", "creator": {"id": "c"}, "triggeredBy": "PREBUILD_TRIGGER_PUSH"},
        "status": {"phase": "PREBUILD_PHASE_RUNNING"},
    }
    assert passes(item, {"projectIds": ["x", "A"], "phases": ["PREBUILD_PHASE_RUNNING"]}) is True
    assert passes(item, {"projectIds": ["x"]}) is False
    assert passes(item, {"executorIds": ["c"]}) is False
    # An enum member that is not known yet: the item is neither in nor out.
    assert passes(item, {"triggeredBy": ["PREBUILD_TRIGGER_MANUAL"]}) is None
    assert passes(item, {"triggeredBy": ["PREBUILD_TRIGGER_MANUAL"], "creatorIds": ["x"]}) is False


def test_durations_and_differences():
    assert seconds("3600s") == seconds("3600.000s") == 3600
    assert seconds("3600") is None
    assert difference({"spec": {"minSize": 0}}, {"spec": {"minSize": 0, "unknown": 1}}) == ""
    assert "spec.maxSize" in difference({"spec": {"maxSize": 1}}, {"spec": {"maxSize": 2}})
    assert Made("pool", "1", ("p", "c"), {}).there
