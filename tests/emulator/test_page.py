"""The page of the emulator without a browser: what it serves, and the stream of events that it lives on."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from google.protobuf.message import Message

import prebuilds.emulator.page
from prebuild_wire.descriptors import request_class
from prebuilds.emulator import DropFault, ErrorFault, Outcome
from prebuilds.emulator.errors import ConnectCode
from prebuilds.emulator.page import feed

from . import program
from .driver import ENVIRONMENT_CLASS, NO_CERTIFICATES, PROJECT, SERVICE, Driver

EVENTS = "/_emulator/page/events"
STATIC = Path(prebuilds.emulator.page.__file__).parent / "static"


class Stream:
    """An open stream of events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._text = response.iter_text()
        self._rest = ""
        self.last_id = ""

    def next(self) -> tuple[str, Any]:
        """The name and the data of the next event."""
        while True:
            while "\n\n" not in self._rest:
                self._rest += next(self._text)
            block, _, self._rest = self._rest.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            self.last_id = fields.get("id", self.last_id)
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])

    def until(self, wanted: Callable[[str, Any], bool]) -> Any:
        """The data of the first event that is wanted."""
        while True:
            name, data = self.next()
            if wanted(name, data):
                return data

    def named(self, wanted: str) -> Any:
        return self.until(lambda name, _: name == wanted)

    def request(self, method: str) -> dict[str, Any]:
        """The next request of that method that was answered."""
        requests = self.until(lambda name, data: name == "requests" and find(data, method) is not None)
        return find(requests, method)


def find(requests: list[dict[str, Any]], method: str) -> Any:
    return next((request for request in requests if request["method"] == method and request["done"]), None)


@contextmanager
def watching(url: str, **headers: str) -> Iterator[Stream]:
    with (
        httpx.Client(base_url=url, timeout=20, verify=NO_CERTIFICATES) as http,
        http.stream("GET", EVENTS, headers={name.replace("_", "-"): value for name, value in headers.items()}) as reply,
    ):
        assert reply.status_code == 200
        yield Stream(reply)


@pytest.fixture
def stream(emulator: Driver) -> Iterator[Stream]:
    """A stream behind its snapshot."""
    with watching(emulator.url) as stream:
        stream.named("ready")
        yield stream


def test_the_page_loads_only_its_own_files(emulator: Driver):
    seen: set[str] = set()
    waiting = [emulator.url + "/"]
    while waiting:
        url = waiting.pop()
        response = httpx.get(url, verify=NO_CERTIFICATES)
        assert response.status_code == 200, url
        seen.add(url)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        names = re.findall(r'(?:src|href|from|import)[= ]"([^"#]+)"', response.text)
        found = {urljoin(url, name) for name in names if not name.endswith("openapi.json")}
        assert all(urlsplit(each).netloc == urlsplit(url).netloc for each in found), url
        waiting += [each for each in found if each not in seen and each not in waiting]
    assert {urlsplit(url).path.rpartition("/")[2] for url in seen} - {""} == {
        file.name for file in STATIC.iterdir() if file.name != "index.html"
    }


def test_the_files_have_no_inline_code_no_html_from_text_and_no_address():
    for file in STATIC.iterdir():
        text = file.read_text()
        addresses = set(re.findall(r"https?://[^\"' <]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text), (
            file
        )
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|<script(?![^>]* src=)|\son[a-z]+=|\sstyle=", page)


def test_only_what_exists_is_served(emulator: Driver):
    names = [
        "nothing",
        "../rows.py",
        "..%2frows.py",
        "static/main.js",
        "main.js/..",
        "requests/x",
        "prebuilds/",
        "index.html",
        "",
    ]
    for name in names:
        assert httpx.get(f"{emulator.url}/_emulator/page/{name}", verify=NO_CERTIFICATES).status_code == 404, name
    response = emulator.http.post("/_emulator/page/main.js", json={})
    assert response.status_code == 405
    assert emulator.http.post("/", json={}).status_code == 404


def test_without_a_control_plane_there_is_no_page(start: Callable[..., Driver]):
    emulator = start(control=False)
    for path in ("/", "/_emulator/page/main.js", EVENTS):
        assert emulator.http.get(path).status_code == 404


def test_the_control_token_opens_what_is_not_a_file(start: Callable[..., Driver]):
    emulator = start(control_token="secret")
    prebuild = emulator.create()
    paths = [EVENTS, f"/_emulator/page/prebuilds/{prebuild}", "/_emulator/page/requests/1"]
    for path in paths:
        for token in ("", "Bearer other", "Bearer somebody"):
            response = httpx.get(emulator.url + path, headers={"Authorization": token}, verify=NO_CERTIFICATES)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"{emulator.url}/", verify=NO_CERTIFICATES).status_code == 200
    with watching(emulator.url, Authorization="Bearer secret") as stream:
        assert stream.named("prebuilds")[0]["id"] == prebuild


def test_a_stream_begins_with_everything_and_goes_on_with_what_changes(emulator: Driver):
    first = emulator.create()
    emulator.control.plan_outcome(Outcome(fails_in="RUNNING", message="no disk"), times=2)
    with watching(emulator.url) as stream:
        name, snapshot = stream.next()
        assert name == "snapshot"
        assert snapshot["clock"]["frozen"] is True
        assert [outcome["times"] for outcome in snapshot["outcomes"]] == [2]
        assert [request["method"] for request in snapshot["requests"]] == ["CreatePrebuild"]
        name, rows = stream.next()
        assert name == "prebuilds"
        assert [row["id"] for row in rows] == [first]
        assert stream.next() == ("ready", {})

        second = emulator.create()
        (row,) = stream.named("prebuilds")
        assert row["id"] == second
        assert row["seq"] > rows[0]["seq"]
        assert [step[1] for step in row["steps"]] == ["PENDING", "STARTING", "RUNNING", "FAILED"]
        assert row["steps"][-1][3] == "no disk"

        emulator.call("CancelPrebuild", prebuildId=second)
        (row,) = stream.named("prebuilds")
        assert [step[1] for step in row["steps"]] == ["PENDING", "CANCELLING", "CANCELLED"]

        emulator.control.advance(5)
        assert stream.named("clock")["now"] == emulator.clock.now().timestamp() * 1000


def test_a_stream_reports_all_that_the_control_plane_arranges(emulator: Driver, stream: Stream):
    emulator.control.declare_project(PROJECT, daily_at_hour=4)
    assert [project["id"] for project in stream.named("projects")] == [PROJECT]
    fault = emulator.control.plan_fault(ErrorFault(method="GetPrebuild", code=ConnectCode.UNAVAILABLE))
    assert [(item["id"], item["pending"]) for item in stream.named("faults")] == [(fault.id, True)]
    prebuild = emulator.create()
    emulator.post("GetPrebuild", {"prebuildId": prebuild})
    consumed = stream.named("faults")
    assert [(item["consumed"], item["pending"]) for item in consumed] == [(1, False)]
    pool = emulator.create_pool(minSize=1, maxSize=2)
    assert [item["id"] for item in stream.named("pools")] == [pool]
    emulator.control.advance(400)
    ready = stream.named("pools")
    assert ready[0]["spec"]["snapshotId"] == prebuild
    plan = emulator.control.plan()
    emulator.control.put_plan(plan.model_copy(update={"running": 7.0}))
    assert stream.named("plan")["running"] == 7
    # A scheduled prebuild starts though nobody calls.
    emulator.control.advance(24 * 3600)
    assert stream.named("prebuilds")[0]["trigger"] == "SCHEDULED"


def test_a_reset_and_a_loaded_state_begin_the_stream_again(emulator: Driver):
    prebuild = emulator.create()
    with watching(emulator.url) as stream:
        stream.named("ready")
        state = emulator.control.dump_state()
        emulator.control.reset()
        assert stream.named("snapshot")["requests"] == []
        assert stream.next() == ("ready", {})
        emulator.control.load_state(state)
        stream.named("snapshot")
        assert [row["id"] for row in stream.named("prebuilds")] == [prebuild]


def test_a_stream_resumes_after_the_last_event_that_was_seen(emulator: Driver, stream: Stream):
    emulator.control.advance(1)
    stream.named("clock")
    seen = stream.last_id
    prebuild = emulator.create()
    assert stream.named("prebuilds")[0]["id"] == prebuild
    stream.response.close()
    with watching(emulator.url, Last_Event_ID=seen) as resumed:
        name, data = resumed.next()
        assert name == "prebuilds"
        assert data[0]["id"] == prebuild
    for unknown in ("x", "0-0", seen.rpartition("-")[0] + "-99999", seen + "x", "-1"):
        with watching(emulator.url, Last_Event_ID=unknown) as begun:
            assert begun.next()[0] == "snapshot"


def test_who_is_too_far_behind_gets_a_new_snapshot(monkeypatch: pytest.MonkeyPatch, emulator: Driver):
    monkeypatch.setattr(feed, "MAX_LOG_BYTES", 2000)
    with watching(emulator.url) as stream:
        stream.named("ready")
        seen = stream.last_id
        last = [emulator.create() for _ in range(20)][-1]
        stream.until(lambda name, data: name == "prebuilds" and any(row["id"] == last for row in data))
        with watching(emulator.url, Last_Event_ID=seen) as late:
            assert late.next()[0] == "snapshot"


def test_a_log_of_events_is_bounded_and_numbers_go_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "MAX_LOG_BYTES", 1000)
    log = feed.EventLog()
    for number in range(200):
        log.append("clock", {"now": number})
    assert log.end == 200
    assert log.after(0) is None
    assert log.after(201) is None
    assert log.after(200) == (b"", 200)
    events, last = log.after(198)
    assert events.count(b"event: clock") == 2
    assert last == 200
    log.restart()
    assert log.after(200) is None
    assert log.after(log.end) == (b"", log.end)
    log.append("clock", {})
    assert log.number_of(log.id_of(log.end)) == log.end


def test_nothing_is_looked_at_or_kept_while_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, emulator: Driver, stream: Stream
):
    prebuild = emulator.create()
    number = stream.request("CreatePrebuild")["number"]
    assert emulator.http.get(f"/_emulator/page/requests/{number}").status_code == 200
    monkeypatch.setattr(feed, "LINGER", 0.0)
    stream.response.close()
    deadline = time.monotonic() + 20
    while emulator.http.get(f"/_emulator/page/requests/{number}").status_code != 404:
        assert time.monotonic() < deadline
    looked: list[object] = []
    monkeypatch.setattr(feed.Feed, "_look", looked.append)
    emulator.call("CancelPrebuild", prebuildId=prebuild)
    assert emulator.http.get(f"/_emulator/page/requests/{number + 1}").status_code == 404
    assert looked == []


def test_only_so_many_streams_are_open(monkeypatch: pytest.MonkeyPatch, emulator: Driver, stream: Stream):
    monkeypatch.setattr(feed, "MAX_WATCHERS", 1)
    response = httpx.get(emulator.url + EVENTS, verify=NO_CERTIFICATES)
    assert response.status_code == 503
    assert "close" in response.json()["message"]


def test_a_request_is_kept_with_its_bodies_and_without_credentials(emulator: Driver, stream: Stream):
    body = {"projectId": PROJECT, "environmentClassId": ENVIRONMENT_CLASS, "spec": {}}
    headers = {"Cookie": "session=confidential", "X-Api-Key": "confidential", "X-Request-Id": "r1"}
    emulator.http.post(f"{SERVICE}/CreatePrebuild?token=confidential", json=body, headers=headers)
    row = stream.request("CreatePrebuild")
    assert (row["status"], row["code"], row["codec"]) == (200, None, "json")
    response = emulator.http.get(f"/_emulator/page/requests/{row['number']}")
    found = response.json()
    assert json.loads(found["request"]["text"]) == body
    assert json.loads(found["response"]["text"])["prebuild"]["metadata"]["projectId"] == PROJECT
    assert found["request"]["headers"]["x-request-id"] == "r1"
    assert "confidential" not in response.text
    assert "somebody" not in response.text


def test_a_logs_token_is_never_kept(emulator: Driver, stream: Stream):
    prebuild = emulator.create()
    token = emulator.call("CreatePrebuildLogsToken", prebuildId=prebuild)["accessToken"]
    number = stream.request("CreatePrebuildLogsToken")["number"]
    response = emulator.http.get(f"/_emulator/page/requests/{number}")
    assert token not in response.text
    assert response.json()["response"]["secret"] is True
    refusal = emulator.post("CreatePrebuildLogsToken", {"prebuildId": "x"})
    number = stream.request("CreatePrebuildLogsToken")["number"]
    assert refusal.json()["code"] in emulator.http.get(f"/_emulator/page/requests/{number}").json()["response"]["text"]


def test_binary_and_compressed_bodies_are_readable(emulator: Driver, stream: Stream):
    for _ in range(9):
        emulator.create()
    request: Message = request_class("ListPrebuilds")()
    emulator.proto("ListPrebuilds", request, headers={"Accept-Encoding": "gzip"})
    number = stream.request("ListPrebuilds")["number"]
    found = emulator.http.get(f"/_emulator/page/requests/{number}").json()
    assert found["response"]["headers"]["content-encoding"] == "gzip"
    assert len(json.loads(found["response"]["text"])["prebuilds"]) == 9
    assert found["request"]["text"] == "{}"


def test_large_bodies_are_cut_and_odd_ones_do_no_harm(emulator: Driver, stream: Stream):
    for content, kind in [
        (b"x" * 100_000, "text/plain"),
        (b'"\\ud800"', "application/json"),
        (b"\xff" * 9, "application/proto"),
    ]:
        emulator.http.post(f"{SERVICE}/GetPrebuild", content=content, headers={"Content-Type": kind})
        number = stream.request("GetPrebuild")["number"]
        found = emulator.http.get(f"/_emulator/page/requests/{number}").json()
        assert len(found["request"]["text"] or "") <= 32 * 1024
    emulator.control.plan_fault(DropFault(method="GetPrebuild"))
    with pytest.raises(httpx.RemoteProtocolError):
        emulator.post("GetPrebuild", {})
    row = stream.request("GetPrebuild")
    assert row["status"] is None
    assert row["fault"]


def test_the_log_of_a_prebuild_is_read_on_from_where_one_is(emulator: Driver):
    prebuild = emulator.create()
    path = f"/_emulator/page/prebuilds/{prebuild}"
    assert emulator.http.get(path).json()["lines"] == []
    emulator.clock.advance(110)
    found = emulator.http.get(path).json()
    assert found["prebuild"] == emulator.prebuild(prebuild)
    assert found["following"] is True
    more = emulator.http.get(path, params={"from": 2}).json()
    assert more["lines"] == found["lines"][2:]
    emulator.clock.advance(1000)
    assert emulator.http.get(path).json()["following"] is False
    assert emulator.http.get(path, params={"from": "-1"}).status_code == 400
    assert emulator.http.get("/_emulator/page/prebuilds/%F0%9F%92%A5").status_code == 404


def test_the_page_itself_is_not_recorded_and_meets_no_fault(emulator: Driver, stream: Stream):
    emulator.control.plan_fault(ErrorFault(code=ConnectCode.UNAVAILABLE, times=None))
    prebuild = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
    assert httpx.get(f"{emulator.url}/", verify=NO_CERTIFICATES).status_code == 200
    assert emulator.http.get(f"/_emulator/page/prebuilds/{prebuild}").status_code == 404
    assert emulator.control.requests() == []


def test_many_prebuilds_are_all_sent_while_calls_are_answered(emulator: Driver):
    emulator.create()
    state = emulator.control.dump_state()
    (first,) = state["prebuilds"]
    state["prebuilds"] = [
        {"sequence": number, "record": {**first["record"], "id": f"{number:08x}-0000-4000-8000-000000000000"}}
        for number in range(1, 501)
    ]
    state["counters"]["prebuilds"] = 500
    emulator.control.load_state(state)
    with watching(emulator.url) as stream:
        stream.named("snapshot")
        rows = stream.named("prebuilds")
        created = emulator.create()
        while (event := stream.next())[0] != "ready":
            rows += event[1]
        assert [row["seq"] for row in rows[-500:]] == list(range(500, 0, -1))
        assert created in {row["id"] for row in (*rows, *stream.named("prebuilds"))}


def test_an_open_stream_does_not_delay_the_end():
    running = program.launch()
    with (
        watching(running.url) as stream,
        socket.create_connection((urlsplit(running.url).hostname, urlsplit(running.url).port)) as slow,
    ):
        slow.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream.named("ready")
        ended = program.stop(running)
    assert ended.code == 0
    assert ended.seconds < program.SOON
    assert "Traceback" not in ended.err
    assert f"{running.url}/" in ended.err


def test_the_page_is_opened_in_a_browser_when_asked(tmp_path: Path):
    opened = tmp_path / "opened"
    code = (
        "import sys, webbrowser, os, signal, threading\n"
        "def open(url):\n"
        f"    __import__('pathlib').Path({str(opened)!r}).write_text(url)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return True\n"
        "webbrowser.open = open\n"
        "from prebuilds.cli import main\n"
        "sys.exit(main(['emulator', '--open', '--log', 'none']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert opened.read_text() == done.stdout.split()[-1] + "/"


def test_a_page_that_does_not_exist_is_not_opened(tmp_path: Path):
    command = [sys.executable, "-m", "prebuilds", "emulator", "--open", "--no-control"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--no-control" in done.stderr
