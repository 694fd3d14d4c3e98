"""The layer of schemathesis: what it sends, what it leaves behind, and what it judges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from prebuilds.contract.methods import READS
from prebuilds.contract.session import ForbiddenError, OutOfTimeError, Session
from prebuilds.contract.stock import run_schemathesis
from prebuilds.contract.transports import AsgiTransport
from prebuilds.contract.wire import Request

from .mutants import MUTANTS
from .mutants.base import CLASS, OTHER_PROJECT, PROJECT, TOKEN, Api, Together

THEIR_PROJECT = "6a6f0b0c-35d1-4c0b-9c3e-1f1f1d3d7a11"

# What schemathesis loads at first takes as long as a run. Some tests share a run, too.
pytestmark = pytest.mark.xdist_group("schemathesis")


# Ids of the run's own: it makes them up anew each time.
_OURS = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Recorder:
    """A transport that remembers what was sent."""

    def __init__(self, server: Together) -> None:
        self.app = server.app
        self._way = AsgiTransport(server.app)
        self.base_url = self._way.base_url
        self.sent: list[Request] = []

    def send(self, request):
        self.sent.append(request)
        return self._way.send(request)

    def close(self):
        self._way.close()


@contextmanager
def target(*mutants: str) -> Iterator[Recorder]:
    server = Together(*(MUTANTS[name] for name in mutants))
    way = Recorder(server)
    try:
        yield way
    finally:
        way.close()
        server.close()


@dataclass(frozen=True)
class Deep:
    """What a run with all phases has done: its session, its folder, all that was sent, and what others have made."""

    session: Session
    folder: Path
    sent: list[Request]
    theirs: tuple[str, ...]


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A run with all phases against the emulator, in given projects and in a folder of its own."""
    folder = tmp_path_factory.mktemp("deep")
    with pytest.MonkeyPatch.context() as patch, target() as way:
        patch.chdir(folder)
        api = Api(way.app)
        theirs = api.created(THEIR_PROJECT)["id"], api.new_pool(THEIR_PROJECT)["id"]
        api.close()
        given = {"projects": [PROJECT, OTHER_PROJECT], "environment_classes": [CLASS]}
        session = Session(way, token=TOKEN, assumptions=True, **given)
        # schemathesis takes ids from the lists that it has seen.
        session.call("ListPrebuilds", {})
        session.call("ListWarmPools", {})
        run_schemathesis(session, deep=True)
    return Deep(session, folder, way.sent, theirs)


@pytest.fixture(scope="module")
def usual():
    """What a run with the usual phase and the seed 7 has sent."""
    with target() as way:
        run_schemathesis(Session(way, token=TOKEN, seed=7))
    return way.sent


def test_the_emulator_keeps_everything_in_the_coverage_phase_and_beyond(deep):
    assert deep.session.findings.failures == []
    assert all(reached.success and reached.codes for reached in deep.session.findings.reached.values())


def test_no_file_is_written(deep):
    assert list(deep.folder.iterdir()) == []


def test_sequences_lead_from_a_creation_to_the_methods_that_take_its_id(deep):
    cancelled = [answer for answer in deep.session.log if answer.ok and answer.request.method == "CancelPrebuild"]
    assert {answer.at("prebuild.id") for answer in cancelled} <= set(deep.session.made)
    assert len(cancelled) >= 2


def test_everything_is_made_in_the_given_projects(deep):
    made = [answer for answer in deep.session.log if answer.ok and answer.request.method == "CreatePrebuild"]
    assert made
    assert {answer.at("prebuild.metadata.projectId") for answer in made} <= {PROJECT, OTHER_PROJECT}


def test_what_the_kit_has_not_made_is_looked_at_and_no_more(deep):
    touched = [sent for sent in deep.sent if sent.method not in READS]
    assert touched
    assert not [sent for sent in touched if any(item.encode() in (sent.body or b"").lower() for item in deep.theirs)]


def test_what_the_kit_has_not_made_cannot_be_changed():
    with target() as way:
        api = Api(way.app)
        theirs = api.created(OTHER_PROJECT)["id"], api.new_pool(OTHER_PROJECT)["id"]
        api.close()
        session = Session(way, token=TOKEN, projects=[PROJECT], environment_classes=[CLASS])
        session.call("ListPrebuilds", {})
        session.call("ListWarmPools", {})
        for method, field, theirs_id in (
            ("DeletePrebuild", "prebuildId", theirs[0]),
            ("CancelPrebuild", "prebuildId", theirs[0].upper()),
            ("DeleteWarmPool", "warmPoolId", theirs[1]),
            ("UpdateWarmPool", "warmPoolId", theirs[1]),
        ):
            with pytest.raises(ForbiddenError):
                session.call(method, {field: theirs_id})
    assert {sent.method for sent in way.sent} <= set(READS)


def test_only_declared_verbs_are_sent_and_nothing_tells_that_it_is_a_test(usual):
    assert {sent.http_method for sent in usual} == {"POST"}
    assert {name.lower() for sent in usual for name, _ in sent.headers} <= {
        "accept",
        "authorization",
        "content-type",
        "connect-protocol-version",
    }
    assert {sent.header("authorization") for sent in usual} == {f"Bearer {TOKEN}"}


def test_the_same_seed_sends_the_same(usual):
    with target() as way:
        run_schemathesis(Session(way, token=TOKEN, seed=7))

    def bodies(requests: list[Request]) -> list[bytes | None]:
        sent = [request.body for request in requests if request.method == "ListWarmPools"]
        return [None if body is None else _OURS.sub(b"ID", body) for body in sent]

    assert bodies(way.sent) == bodies(usual) != []


def test_in_read_mode_nothing_is_written():
    with target() as way:
        run_schemathesis(Session(way, token=TOKEN, mode="read"), deep=True)
    assert {sent.method for sent in way.sent} == set(READS)


def test_the_time_of_the_run_is_kept():
    moments = iter(range(10_000))
    with target() as way, pytest.raises(OutOfTimeError):
        run_schemathesis(Session(way, token=TOKEN, max_time=60, clock=lambda: float(next(moments))))
    assert len(way.sent) <= 60


@pytest.mark.parametrize(
    "mutants",
    [
        {
            "LargePagesAreCut": ("outside-bounds-is-refused", "ListPrebuilds"),
            "UnknownPhaseIsIgnored": ("unknown-enum-name-is-refused", "ListPrebuilds"),
            "ProjectFilterIsIgnored": ("filters", "ListPrebuilds"),
            "SpecIsOptional": ("required-fields", "CreatePrebuild"),
            "LongestTimeoutIsRefused": ("inside-bounds-is-accepted", "CreatePrebuild"),
            "MalformedIsNotFound": ("malformed-id-is-refused", "GetPrebuild"),
        },
        {
            "PageHasOneMore": ("page-size-kept", "ListPrebuilds"),
            "BadTokenIsTheFirstPage": ("bad-page-token-is-refused", "ListPrebuilds"),
            "ClassIsIgnored": ("echo", "CreatePrebuild"),
            "UnknownCanBeDeleted": ("unknown-id-is-not-found", "DeletePrebuild"),
        },
        {"ListsAreText": ("content-type", "ListPrebuilds")},
    ],
    ids="-".join,
)
def test_each_check_finds_what_it_is_for(mutants):
    found: set[tuple[str, str]] = set()

    def look(session: Session) -> None:
        found.update((failure.property.name, failure.method) for failure in session.findings.failures)

    def clock() -> float:
        # The time is over once all was found.
        return 2.0 if found >= set(mutants.values()) else 0.0

    with target(*mutants) as way:
        session = Session(way, token=TOKEN, assumptions=True, max_time=1, clock=clock, on_progress=look)
        with suppress(OutOfTimeError):
            run_schemathesis(session)
    assert {name: pair for name, pair in mutants.items() if pair not in found} == {}
