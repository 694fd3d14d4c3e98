"""The kit leaves nothing behind, stays where it was told to, and tells no secrets."""

from __future__ import annotations

import gzip
import html
import json
import random
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

import pytest

from prebuilds.contract import report as reports
from prebuilds.contract.ledger import Ledger, LedgerError
from prebuilds.contract.methods import READS
from prebuilds.contract.runner import Options, clean_up_ledger, is_local, run
from prebuilds.contract.secrets import masked
from prebuilds.contract.session import Session
from prebuilds.contract.transports import AsgiTransport, HttpTransport, TransportError
from prebuilds.contract.wire import Answer, Request
from prebuilds.emulator import EmulatorServer

from .mutants.base import CLASS, OTHER_CLASS, OTHER_PROJECT, PROJECT, TOKEN, Api, Server

LAYERS = ("probes", "lifecycle")


class Watched:
    """A transport that notes what is sent, and does what a test wants before and after each exchange."""

    def __init__(self, server, *, before=None, after=None):
        self.base_url = "http://contract.test"
        self.requests = []
        self.before, self.after = before, after
        self._transport = AsgiTransport(server.app, self.base_url)

    def forward(self, request):
        return self._transport.send(request)

    def send(self, request):
        self.requests.append(request)
        early = self.before(len(self.requests), request) if self.before else None
        if early is not None:
            return early
        answer = self._transport.send(request)
        return (self.after(len(self.requests), request, answer) if self.after else None) or answer

    def close(self):
        self._transport.close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def options(tmp_path):
    return {"token": TOKEN, "layers": LAYERS, "ledger": tmp_path / "ledger", "assumptions": True}


def time_of(server):
    """How the kit waits for a server, and what time it is there: a second of the kit's is a minute of the server's."""
    return {
        "sleep": lambda seconds: server.clock.advance(60 * seconds),
        "clock": lambda: server.clock.now().timestamp() / 60,
    }


def kit(server, transport, options):
    try:
        return run(Options(**options), transport=transport, **time_of(server))
    finally:
        transport.close()


def left(server):
    """The ids of what is there, and is not about to go."""
    api = Api(server.app)
    try:
        found = []
        for method, name in (("ListPrebuilds", "prebuilds"), ("ListWarmPools", "warmPools")):
            token = ""
            while True:
                page = api(method, pagination={"pageSize": 100, "token": token}).json
                found += [item for item in page.get(name, []) if "DELET" not in item["status"]["phase"]]
                token = page.get("pagination", {}).get("nextToken")
                if not token:
                    break
        return [item["id"] for item in found]
    finally:
        api.close()


def test_nothing_is_left_after_a_run(server, options):
    report = kit(server, Watched(server), options)
    assert report.exit_code == 0
    assert len(report.session.made) > 20
    assert left(server) == []
    assert not options["ledger"].exists()


@pytest.mark.campaign(quick=6, full=200)
@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_left_after_an_interruption_at_any_moment(options, late, size):
    for seed in range(size):
        # One moment of each part of the run; a late one loses the answer to what was carried out.
        moment = int((seed + random.Random(seed).random()) / size * 380) + 1

        def before(count, request, moment=moment):
            if count == moment and not late:
                raise KeyboardInterrupt

        def after(count, request, answer, moment=moment):
            if count == moment and late:
                raise KeyboardInterrupt

        server = Server()
        try:
            report = kit(server, Watched(server, before=before, after=after), options)
            assert report.unfinished == "it was interrupted", moment
            assert report.exit_code in (1, 2), moment
            assert left(server) == [], moment
            assert not options["ledger"].exists(), moment
        finally:
            server.close()


def test_runs_with_the_same_seed_do_not_disturb_each_other(options):
    """The pools and prebuilds of the earlier runs are still there, on their way out."""
    server = Server(tick=0.01)
    try:
        reports = [kit(server, Watched(server), {**options, "patience": 0.5}) for _ in range(3)]
    finally:
        server.close()
    assert [report.broken for report in reports] == [[], [], []]
    places = [
        {answer.at("prebuild.metadata.projectId") for answer in report.session.log} - {None} for report in reports
    ]
    assert places[0].isdisjoint(places[1])


def test_a_second_run_waits_for_the_pools_of_the_first_to_leave_the_given_place(options):
    """There is one pool for each project and class, and one that drains still is in its place."""
    server = Server(tick=0.01)
    given = {**options, "projects": (PROJECT,), "environment_classes": (CLASS,)}
    try:
        reports = [kit(server, Watched(server), given) for _ in range(2)]
    finally:
        server.close()
    assert [report.exit_code for report in reports] == [0, 0]
    assert all(report.session.findings.reached["CreateWarmPool"].success for report in reports)


@pytest.mark.parametrize(
    "layer", ["machine", pytest.param("schemathesis", marks=pytest.mark.xdist_group("schemathesis"))]
)
@pytest.mark.parametrize("moment", [40, 60, 150])
def test_ctrl_c_in_a_layer_that_others_drive_leaves_nothing(server, options, layer, moment):
    """Hypothesis and schemathesis catch a lot, and run threads of their own."""
    before = Api(server.app)
    mine = before("CreatePrebuild", projectId=PROJECT, environmentClassId=CLASS, spec={}).json["prebuild"]["id"]
    before.close()

    def interrupt(count, request):
        if count == moment:
            signal.raise_signal(signal.SIGINT)

    given = {"projects": (PROJECT,), "environment_classes": (CLASS, OTHER_CLASS), "layers": (layer,)}
    report = kit(server, Watched(server, before=interrupt), {**options, **given})
    assert report.unfinished == "it was interrupted"
    assert report.layers[-1].name == layer
    assert report.session.made
    assert left(server) == [mine]
    assert not options["ledger"].exists()


def test_an_interruption_that_python_drops_is_not_shown_as_a_fault(server, options, monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)

    class Hook:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class Fault:
        def __del__(self):
            raise RuntimeError("not ours")

    def before(count, request):
        if count == 100:
            Fault()
            Hook()

    report = kit(server, Watched(server, before=before), options)
    assert report.unfinished == "it was interrupted"
    assert [lost.exc_type for lost in shown] == [RuntimeError]


def test_a_server_that_refuses_each_deletion_once_is_asked_again(server, options):
    refused = set()

    def before(count, request):
        if request.method.startswith("Delete") and request.body not in refused:
            refused.add(request.body)
            body = b'{"code":"unavailable","message":"later"}'
            return Answer(503, {"content-type": "application/json"}, body, 0.0, request)
        return None

    report = kit(server, Watched(server, before=before), options)
    assert report.clean_up.is_complete
    assert left(server) == []


@pytest.mark.campaign(quick=3, full=50)
def test_answers_that_are_lost_leave_nothing(options, size):
    for seed in range(size):
        chance = random.Random(seed)

        def after(count, request, answer, chance=chance):
            if request.method.startswith("Create") and chance.random() < 0.2:
                raise TransportError("the connection broke")

        server = Server()
        try:
            report = kit(server, Watched(server, after=after), options)
            assert report.exit_code == 1, seed  # answers have to come
            assert left(server) == [], seed
        finally:
            server.close()


def test_a_server_that_fails_after_it_has_created_leaves_nothing(server, options):
    def after(count, request, answer):
        if request.method == "CreatePrebuild" and count % 3 == 0 and answer.ok:
            return Answer(500, {"content-type": "text/html"}, b"<h1>Oops</h1>", 0.0, request)
        return None

    report = kit(server, Watched(server, after=after), options)
    assert report.exit_code == 1
    assert left(server) == []


def test_a_server_that_fails_midway_is_cleaned_up_later(server, options):
    def before(count, request):
        if count > 200:
            raise TransportError("connection refused")

    report = kit(server, Watched(server, before=before), options)
    assert report.exit_code == 3
    assert "connection refused" in report.unfinished
    assert left(server) != []
    assert report.ledger == options["ledger"]
    assert TOKEN not in options["ledger"].read_text()
    assert f"prebuilds contract cleanup {report.ledger}" in reports.as_text(report)

    again = Watched(server)
    done = clean_up_ledger(report.ledger, token=TOKEN, transport=again, **time_of(server))
    again.close()
    assert done.is_complete
    assert left(server) == []
    assert not options["ledger"].exists()


def test_what_cannot_be_deleted_is_told(server, options):
    def before(count, request):
        if request.method == "DeletePrebuild":
            return Answer(403, {"content-type": "application/json"}, b'{"code":"permission_denied"}', 0.0, request)
        return None

    report = kit(server, Watched(server, before=before), options)
    assert report.exit_code == 3
    ledger = Ledger.read(options["ledger"])
    assert {made.id for made in ledger.made} == set(left(server)) != set()


def test_only_the_given_projects_are_touched(server, options):
    given = {PROJECT, OTHER_PROJECT}
    watched = Watched(server)
    kit(server, watched, {**options, "projects": tuple(given), "environment_classes": (CLASS, OTHER_CLASS)})
    sent = [
        json.loads(request.body)
        for request in watched.requests
        if request.method in ("CreatePrebuild", "CreateWarmPool") and request.body and request.body.endswith(b"}")
    ]
    projects = {fields.get("projectId") for fields in sent if isinstance(fields, dict)}
    assert {project for project in projects if isinstance(project, str) and len(project) == 36} == given
    assert left(server) == []


def test_what_was_there_before_stays_even_where_answers_are_lost(server, options):
    api = Api(server.app)
    mine = api("CreatePrebuild", projectId=PROJECT, environmentClassId=CLASS, spec={}).json["prebuild"]["id"]
    pool = api("CreateWarmPool", projectId=PROJECT, environmentClassId=CLASS, minSize=1).json["warmPool"]["id"]
    api.close()

    def after(count, request, answer):
        if request.method.startswith("Create") and count % 2:
            raise TransportError("the connection broke")

    given = {"projects": (PROJECT,), "environment_classes": (CLASS, OTHER_CLASS)}
    kit(server, Watched(server, after=after), {**options, **given})
    assert set(left(server)) == {mine, pool}


@pytest.mark.parametrize("mode", ["reject", "full"])
def test_what_was_there_before_stays_where_refusals_fail(server, options, mode):
    """A create that has to be refused may have made something all the same if the answer is an error of the server."""
    api = Api(server.app)
    mine = api("CreatePrebuild", projectId=PROJECT, environmentClassId=CLASS, spec={}).json["prebuild"]["id"]
    api.close()

    def before(count, request):
        if request.method.startswith("Create"):
            return Answer(500, {"content-type": "text/html"}, b"<h1>Oops</h1>", 0.0, request)
        return None

    given = {"projects": (PROJECT,), "environment_classes": (CLASS,), "mode": mode}
    report = kit(server, Watched(server, before=before), {**options, **given})
    assert report.clean_up.deleted == 0
    assert report.clean_up.is_complete
    assert left(server) == [mine]


def test_what_others_make_meanwhile_stays(server, options):
    """More has appeared than answers were lost: nobody knows which of it is the run's own."""
    api = Api(server.app)
    theirs = []

    def after(count, request, answer):
        if request.method == "CreatePrebuild" and answer.ok and not theirs:
            for _ in range(2):
                made = api("CreatePrebuild", projectId=PROJECT, environmentClassId=CLASS, spec={})
                theirs.append(made.json["prebuild"]["id"])
            raise TransportError("the connection broke")

    given = {"projects": (PROJECT,), "environment_classes": (CLASS,), "layers": ("probes",)}
    report = kit(server, Watched(server, after=after), {**options, **given})
    api.close()
    assert report.exit_code == 3
    assert {intent.project for intent in report.clean_up.unknown} == {PROJECT}
    assert set(theirs) < set(left(server))


def test_an_id_that_comes_twice_is_of_two_things(server, options):
    first = []

    def after(count, request, answer):
        if request.method == "CreatePrebuild" and answer.ok:
            body = answer.json
            first.append(body["prebuild"]["id"])
            body["prebuild"]["id"] = first[0] if len(first) == 3 else first[-1]
            return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode(), 0.0, request)
        return None

    report = kit(server, Watched(server, after=after), options)
    assert report.exit_code == 1
    assert left(server) == []


def test_a_ledger_that_is_there_already_is_left_alone(server, options):
    options["ledger"].write_text("of an earlier run")
    watched = Watched(server)
    with pytest.raises(LedgerError, match="is there already"):
        kit(server, watched, options)
    assert options["ledger"].read_text() == "of an earlier run"
    assert not [request for request in watched.requests if request.method.startswith("Create")]


def test_a_ledger_that_cannot_be_written_stops_before_anything_is_made(server, options, tmp_path):
    with pytest.raises(LedgerError, match="cannot be written"):
        kit(server, Watched(server), {**options, "ledger": tmp_path / "nowhere" / "ledger"})
    assert left(server) == []


def test_a_ledger_whose_last_line_is_cut_off_can_be_worked_through(server, options):
    def before(count, request):
        if count > 200:
            raise TransportError("connection refused")

    kit(server, Watched(server, before=before), options)
    path = options["ledger"]
    with path.open("a") as file:
        file.write('{"intent": 999, "meth')

    def refusing(count, request):
        if request.method == "DeletePrebuild":
            return Answer(503, {"content-type": "text/html"}, b"", 0.0, request)
        return None

    for watched, complete in ((Watched(server, before=refusing), False), (Watched(server), True)):
        done = clean_up_ledger(path, token=TOKEN, transport=watched, **time_of(server))
        assert done.is_complete is complete
        watched.close()
    assert left(server) == []
    assert not path.exists()


@pytest.mark.parametrize(
    "line",
    ["nonsense", '{"made": "x", "method": "DeleteEverything", "project": ""}', '{"intent": 1}', "[]", '{"what": 1}'],
)
def test_a_ledger_with_a_line_that_is_none_is_refused(tmp_path, line):
    path = tmp_path / "ledger"
    Ledger.create(path, "http://127.0.0.1:9").close()
    path.write_text(json.dumps({"ledger": 1, "url": "http://127.0.0.1:9", "projects": [], "settle": 0}) + f"\n{line}\n")
    with pytest.raises(LedgerError, match="line 2"):
        Ledger.read(path)


def test_a_server_that_does_not_answer_to_the_clean_up_is_not_waited_for(server, options):
    gone = []

    def before(count, request):
        if count > 200:
            gone.append(request)
            raise TransportError("connection refused")

    report = kit(server, Watched(server, before=before), options)
    assert report.exit_code == 3
    assert len(gone) <= 12


def test_an_interruption_that_is_lost_ends_the_run_all_the_same(server, options):
    """Python prints what is raised where it calls back from within, and goes on."""

    def before(count, request):
        if count == 100:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    watched = Watched(server, before=before)
    report = kit(server, watched, options)
    assert report.unfinished == "it was interrupted"
    assert report.layers[-1].requests <= 100
    assert left(server) == []


def test_a_server_that_limits_the_rate_is_asked_more_slowly(server, options):
    """It says so with each of the ways there are, and each is no fault of its own."""
    hints = [
        ({"retry-after": "2"}, b'{"code":"resource_exhausted"}'),
        ({"ratelimit-retryafter": "1"}, b""),
        ({}, b'{"code":"unavailable"}'),
        ({}, b'{"code":"resource_exhausted","details":[{"type":"google.rpc.RetryInfo","value":"CgQIAhAB"}]}'),
    ]

    def before(count, request):
        if count % 10 == 0:
            headers, body = hints[count // 10 % 4]
            return Answer(429, {"content-type": "application/json", **headers}, body, 0.0, request)
        return None

    report = kit(server, Watched(server, before=before), options)
    assert report.exit_code == 0
    assert left(server) == []


def test_a_server_that_stays_limited_ends_the_run(server, options):
    def before(count, request):
        if count > 50 and not request.method.startswith("Delete"):
            return Answer(429, {"content-type": "application/json", "retry-after": "50"}, b"{}", 0.0, request)
        return None

    report = kit(server, Watched(server, before=before), options)
    assert "--rate" in report.unfinished
    assert not report.broken


def test_a_server_that_answers_the_same_to_everything_has_not_deleted(server, options):
    def before(count, request):
        if count > 200:
            return Answer(200, {"content-type": "application/json"}, b"{}", 0.0, request)
        return None

    report = kit(server, Watched(server, before=before), options)
    assert report.exit_code == 3
    assert {made.id for made, _ in report.clean_up.left} >= set(left(server)) != set()


def test_no_more_is_made_than_may_be_by_what_should_be_refused(server, options):
    """A server that takes what it has to refuse makes something with each of those calls."""
    made = []

    def before(count, request):
        if request.method == "CreatePrebuild":
            made.append(count)
            body = json.dumps({"prebuild": {"id": f"b0e12f6c-4c67-429d-a4a6-{count:012x}"}}).encode()
            return Answer(200, {"content-type": "application/json"}, body, 0.0, request)
        return None

    kit(server, Watched(server, before=before), {**options, "max_creates": 5, "layers": ("probes",)})
    assert len(made) <= 5


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b'{"code":"unauthenticated"}', "refuses the token"),
        (404, b"<h1>nothing here</h1>", "no PrebuildService"),
        (200, b"<h1>hello</h1>", "no PrebuildService"),
        (307, b"", "redirects"),
        (503, b"<h1>down</h1>", "fails at everything"),
    ],
)
def test_what_is_no_server_of_ours_is_told_in_one_line(server, options, status, body, message):
    watched = Watched(server, before=lambda _, request: Answer(status, {}, body, 0.0, request))
    report = kit(server, watched, options)
    assert report.exit_code == 2
    assert not any(request.method.startswith("Create") for request in watched.requests)
    assert message in reports.as_text(report)
    assert len(reports.as_text(report).splitlines()) == 1
    assert 'errors="1"' in reports.as_junit(report)


def test_a_server_that_settles_late_gives_no_alarm(server, options):
    """For two seconds after a creation nothing that was made can be got."""
    changed = [float("-inf")]

    def after(count, request, answer):
        now = server.clock.now().timestamp() / 60
        if request.method.startswith("Create") and answer.ok:
            changed[0] = now
        elif request.method.startswith("Get") and answer.ok and now - changed[0] < 2:
            body = b'{"code":"not_found","message":""}'
            return Answer(404, {"content-type": "application/json"}, body, 0.0, request)
        return None

    report = kit(server, Watched(server, after=after), {**options, "settle": 3.0, "max_time": 3000})
    assert not report.broken
    assert left(server) == []


def test_reading_writes_nothing(server, options):
    watched = Watched(server)
    report = kit(server, watched, {**options, "mode": "read"})
    assert {request.method for request in watched.requests} - {""} <= set(READS)
    assert report.exit_code == 2  # most of the methods were not tested
    assert not report.broken
    assert not options["ledger"].exists()


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8080", True),
        ("http://LOCALHOST/api", True),
        ("http://127.0.0.1", True),
        ("http://127.0.0.2:80", True),
        ("http://[::1]:8080", True),
        ("http://0.0.0.0:8080", False),
        ("http://[::]:8080", False),
        ("http://192.168.1.2", False),
        ("http://[fe80::1]", False),
        ("http://localhost.evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://evillocalhost", False),
        ("http://127.0.0.1@evil.com", False),
        ("http://evil.com/127.0.0.1", False),
        ("http://evil.com#@127.0.0.1", False),
    ],
)
def test_only_this_machine_is_written_to_without_being_told(url, local):
    assert is_local(url) is local


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a b", "http://127.0.0.1:9/\u00e9", "http://127.0.0.1:9/a\u007f"])
def test_an_address_that_no_request_can_carry_is_told(url):
    with pytest.raises(ValueError, match="written with %"):
        HttpTransport(url)


def test_what_is_wrongly_taken_while_it_should_be_refused_is_deleted(server, options):
    """In the mode `reject` each call should be refused; a server that takes one has made something."""
    api = Api(server.app)

    def after(count, request, answer):
        if request.method == "CreatePrebuild" and answer.code == "invalid_argument":
            made = api("CreatePrebuild", projectId=PROJECT, environmentClassId=CLASS, spec={})
            return Answer(200, {"content-type": "application/json"}, json.dumps(made.json).encode(), 0.0, request)
        return None

    given = {"projects": (PROJECT,), "environment_classes": (CLASS,), "mode": "reject"}
    report = kit(server, Watched(server, after=after), {**options, **given})
    api.close()
    assert report.exit_code == 1
    assert len(report.session.made) > 3
    assert report.clean_up.is_complete
    assert left(server) == []


@pytest.mark.parametrize("token", ["t", "ok", "secret-token-1", 's3cret/tok"en&<x>'])
def test_a_token_is_masked_however_it_is_written(token):
    once = json.dumps(token)
    for shown in (
        token,
        f"Bearer {token}",
        once,
        json.dumps(once),
        repr(token),
        html.escape(token),
        quote(token, safe=""),
    ):
        assert token not in re.split(r"[^\w-]+", masked(f"({shown})", {token})) or len(token) > 8
        if len(token) > 8:
            assert token[2:7] not in masked(f"x{shown}x", {token})


def test_a_short_token_leaves_words_as_they_are():
    assert masked("the status of t is 't', not tt: t", {"t"}) == "the status of *** is '***', not tt: ***"
    assert masked("not-t t-1", {"t", ""}) == "not-t t-1"


def test_refusals_make_nothing(server, options):
    report = kit(server, Watched(server), {**options, "mode": "reject"})
    assert report.session.made == {}
    assert not report.broken
    assert report.exit_code == 2


def test_a_plan_sends_nothing(server, options):
    watched = Watched(server)
    report = kit(server, watched, {**options, "mode": "plan", "assumptions": False})
    assert watched.requests == []
    text = reports.plan_as_text(report)
    assert "POST /gitpod.v1.PrebuildService/CreatePrebuild" in text
    assert "POST /gitpod.v1.PrebuildService/UpdateWarmPool" in text


def test_no_more_is_made_than_may_be(server, options):
    report = kit(server, Watched(server), {**options, "max_creates": 3})
    assert len(report.session.made) == 3
    assert report.exit_code == 2


def test_the_time_of_a_run_is_limited(server, options):
    report = kit(server, Watched(server), {**options, "max_time": 10})
    assert "time" in report.unfinished
    assert report.exit_code == 2
    assert left(server) == []


def test_the_rate_is_kept(server, options):
    begun = server.clock.now()
    report = kit(server, Watched(server), {**options, "rate": 2.0, "layers": ("probes",)})
    seconds = (server.clock.now() - begun).total_seconds() / 60
    assert len(report.session.log) / seconds <= 2.05


def test_no_token_is_in_any_report(server, options):
    secret = 's3cret/tok"en&<x>'
    seen = set()

    def after(count, request, answer):
        # It repeats the token in its errors, and gives logs tokens a form of their own.
        if request.method == "CreatePrebuildLogsToken" and answer.ok:
            seen.add(answer.json["accessToken"])
        if answer.code == "not_found":
            body = json.dumps({"code": "not_found", "message": 5, "token": request.header("authorization")})
            return Answer(404, {"content-type": "application/json"}, body.encode(), 0.0, request)
        return None

    watched = Watched(server, after=after)
    original = watched._transport.send

    def swapped(request):
        headers = tuple((name, value.replace(secret, TOKEN)) for name, value in request.headers)
        answer = original(
            type(request)(
                request.method, request.body, headers, request.http_method, request.path, request.query, request.stream
            )
        )
        return Answer(answer.status, answer.headers, answer.body, answer.seconds, request)

    watched._transport.send = swapped
    report = kit(server, watched, {**options, "token": secret})
    assert report.broken
    assert seen
    for text in (reports.as_text(report), reports.as_json(report), reports.as_junit(report), reports.as_html(report)):
        for token in (secret, json.dumps(secret)[1:-1], "s3cret/tok", *seen):
            assert token not in text


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_sends_the_same(options, seed):
    def sent():
        server = Server()
        watched = Watched(server)
        kit(server, watched, {**options, "seed": seed, "layers": ("probes",)})
        server.close()
        return [(request.method, _plain(request.body)) for request in watched.requests]

    assert sent() == sent()


def _plain(body):
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", (body or b"").decode("latin-1"))
    return text if '"token"' not in text else ""


def test_a_response_that_unpacks_to_too_much_is_not_unpacked():
    bomb = gzip.compress(bytes(2**26))
    headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bomb})

    transport = AsgiTransport(app)
    try:
        with pytest.raises(TransportError, match="unpacks to more than"):
            transport.send(Request("GetPrebuild", b"{}"))
    finally:
        transport.close()


def test_a_logs_token_that_no_header_can_carry_is_a_finding(server, options):
    def after(count, request, answer):
        if request.method != "CreatePrebuildLogsToken" or not answer.ok:
            return None
        body = b'{"accessToken": "one\\ntwo-three-four"}'
        return Answer(200, {"content-type": "application/json"}, body, 0.0, request)

    report = kit(server, Watched(server, after=after), {**options, "layers": ("lifecycle",)})
    assert {(each.property.name, each.method) for each in report.broken} >= {("log-opens", "CreatePrebuildLogsToken")}


@pytest.mark.parametrize(
    ("url", "message"), [("", "name the server"), ("https://other.example", "not about https://other.example")]
)
def test_a_ledger_does_not_choose_where_the_token_goes(tmp_path, url, message):
    path = tmp_path / "ledger"
    ledger = Ledger.create(path, "https://chosen.example")
    ledger.intend("CreatePrebuild", PROJECT, "\ud800")
    ledger.close()
    with pytest.raises(ValueError, match=message):
        clean_up_ledger(path, token=TOKEN, url=url)
    assert path.exists()


@pytest.mark.parametrize(
    ("status", "code", "settled"),
    [
        (501, "unimplemented", True),
        (404, "", True),
        (500, "internal", False),
        (499, "canceled", False),
    ],
)
def test_an_error_settles_a_create_if_it_proves_that_nothing_was_created(server, status, code, settled):
    body = b'{"code": "%s"}' % code.encode() if code else b""

    def before(count, request):
        return Answer(status, {"content-type": "application/json"}, body, 0.0, request)

    transport = Watched(server, before=before)
    session = Session(transport, token=TOKEN)
    session.call("CreateWarmPool", {"projectId": PROJECT, "environmentClassId": CLASS, "minSize": 1, "maxSize": 2})
    transport.close()
    assert (session.ledger.open == {}) is settled


def test_runs_at_the_same_time_do_not_disturb_each_other(tmp_path):
    with EmulatorServer() as there, ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(run, Options(url=there.url, layers=("probes",), ledger=tmp_path / f"{number}"))
            for number in range(2)
        ]
        reports = [job.result() for job in jobs]
    assert [report.broken for report in reports] == [[], []]
    assert [report.exit_code for report in reports] == [0, 0]
