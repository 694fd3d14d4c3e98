"""What the emulator tells while it runs, and how it ends whatever goes on."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from types import SimpleNamespace

import httpx
import pytest

from prebuilds.cli import main
from prebuilds.emulator import EmulatorControl, EmulatorServer, LatencyFault, Outcome, RequestRecord, SlowFault
from prebuilds.emulator.console import MOST_WAITING, Printer

from .driver import NO_CERTIFICATES, NOBODY, PROJECT, SERVICE
from .program import PATIENCE, SOON, refused

HEADERS = {"Authorization": "Bearer top-secret"}


@pytest.fixture
def launch():
    """Starts the command, as a person does."""
    started = []

    def launch(*arguments: str, **options):
        command = [sys.executable, "-m", "prebuilds", "emulator", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("listening on http://"), process.communicate()
        return SimpleNamespace(process=process, url=line.split()[-1])

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def stop(program, number=signal.SIGTERM):
    begin = time.monotonic()
    program.process.send_signal(number)
    _, err = program.process.communicate(timeout=PATIENCE)
    assert program.process.returncode == 0, err
    assert time.monotonic() - begin < SOON
    return err


def call(program, method, body):
    url = f"{program.url}{SERVICE}/{method}"
    return httpx.post(url, json=body, headers=HEADERS, timeout=PATIENCE, verify=NO_CERTIFICATES)


def test_requests_are_told_in_lines_for_people(launch):
    program = launch()
    call(program, "ListPrebuilds", {})
    call(program, "GetPrebuild", {"prebuildId": NOBODY})
    httpx.get(f"{program.url}/nothing%1b%5b31m", verify=NO_CERTIFICATES)
    err = stop(program)
    assert f"GITPOD_BASE_URL={program.url} GITPOD_API_KEY=anything\n" in err
    assert f"ONA_BASE_URL={program.url} ONA_API_KEY=" in err
    lines = err.splitlines()[-3:]
    assert re.fullmatch(r"\d\d:\d\d:\d\d ListPrebuilds 200 [\d.]+ ms", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d GetPrebuild 404 not_found [\d.]+ ms", lines[1])
    assert "\\x1b" in lines[2]
    assert "\x1b" not in err
    assert "top-secret" not in err


def test_requests_are_told_as_json(launch):
    program = launch("--log", "json")
    call(program, "GetPrebuild", {"prebuildId": NOBODY})
    (line,) = [line for line in stop(program).splitlines() if line.startswith("{")]
    told = json.loads(line)
    expected = {
        "method": "GetPrebuild",
        "status": 404,
        "code": "not_found",
        "codec": "json",
        "number": 1,
        "fault": None,
    }
    assert told.items() >= expected.items()
    assert datetime.fromisoformat(told["at"]).tzinfo
    assert "top-secret" not in line


def test_nothing_is_told_if_that_is_wanted(launch):
    program = launch("--log", "none")
    call(program, "ListPrebuilds", {})
    assert "ListPrebuilds" not in stop(program)


def test_it_stops_soon_whatever_goes_on(launch):
    program = launch("--speed", "1")
    with EmulatorControl(program.url) as control:
        control.plan_outcome(Outcome(durations={"PENDING": 0, "STARTING": 0, "RUNNING": 3000}))
        prebuild = call(program, "CreatePrebuild", {"projectId": PROJECT, "spec": {}}).json()["prebuild"]
        token = call(program, "CreatePrebuildLogsToken", {"prebuildId": prebuild["id"]}).json()["accessToken"]
        begun, ended = threading.Barrier(4), []

        def follow():
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{program.url}/logs/{prebuild['id']}"
            with httpx.stream("GET", url, headers=headers, timeout=60, verify=NO_CERTIFICATES) as response:
                lines = response.iter_lines()
                next(lines)
                begun.wait(PATIENCE)
                ended.append("log")
                list(lines)

        def wait(fault):
            control.plan_fault(fault)
            begun.wait(PATIENCE)
            url = f"{program.url}{SERVICE}/{fault.method}"
            with suppress(httpx.TransportError):
                httpx.post(url, json={}, headers=HEADERS, timeout=60, verify=NO_CERTIFICATES)
            ended.append(fault.kind)

        faults = (LatencyFault(method="ListPrebuilds", seconds=60), SlowFault(method="ListWarmPools", pause=60))
        threads = [threading.Thread(target=follow), *(threading.Thread(target=wait, args=[fault]) for fault in faults)]
        for thread in threads:
            thread.start()
        begun.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while any(not fault.consumed for fault in control.faults()) and time.monotonic() < deadline:
            time.sleep(0.01)  # polling, until both calls are under way
        assert "Traceback" not in stop(program, signal.SIGINT)
        for thread in threads:
            thread.join(PATIENCE)
    assert sorted(ended) == ["latency", "log", "slow"]


def test_who_does_not_read_the_log_does_not_hold_the_emulator_up(launch):
    program = launch()
    with httpx.Client(base_url=program.url, headers=HEADERS, verify=NO_CERTIFICATES) as http:
        for _ in range(150):
            assert http.post("%1b" * 200, json={}).status_code == 404
    # What nobody reads by the end is lost, so it is read before.
    impatience = threading.Timer(PATIENCE, program.process.kill)
    impatience.start()
    told = [*islice((line for line in program.process.stderr if "404 unimplemented" in line), 150)]
    impatience.cancel()
    assert len(told) == 150
    assert sum(map(len, told)) > 2**16, "a pipe holds that much"
    stop(program)


def record(**fields):
    usual = {
        "number": 1,
        "at": datetime(2030, 1, 1, tzinfo=UTC),
        "method": "GetPrebuild",
        "http_method": "POST",
        "path": "/x",
        "codec": "proto",
        "status": 200,
        "code": None,
        "milliseconds": 1.0,
        "fault": None,
    }
    return RequestRecord(**{**usual, **fields})


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("fields", "colour", "text"),
    [
        ({}, "\x1b[32m", "200 1.0 ms proto"),
        ({"status": 404, "code": "not_found"}, "\x1b[33m", "404 not_found 1.0 ms proto"),
        ({"status": 503, "fault": 7}, "\x1b[31m", "503 1.0 ms proto (fault 7)"),
        ({"status": None, "fault": 7}, "\x1b[31m", "broken off 1.0 ms proto (fault 7)"),
    ],
)
def test_colours_are_for_terminals(fields, colour, text):
    for stream in (Terminal(), io.StringIO()):
        printer = Printer("text", stream)
        printer(record(**fields))
        printer.close()
        line = stream.getvalue()
        assert (colour in line) == stream.isatty()
        assert re.sub(r"\x1b\[\d+m", "", line).endswith(f"GetPrebuild {text}\n")


def test_lines_that_were_missed_are_counted():
    go = threading.Event()

    class Slow(io.StringIO):
        def write(self, text):
            go.wait(PATIENCE)
            return super().write(text)

    stream = Slow()
    printer = Printer("text", stream)
    for number in range(MOST_WAITING + 100):
        printer(record(number=number))
    go.set()
    deadline = time.monotonic() + PATIENCE
    while "not shown" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)  # polling, until the thread has written it all
    printer.close()
    missed = int(re.search(r"(\d+) requests are not shown", stream.getvalue())[1])
    assert missed + stream.getvalue().count("GetPrebuild") == MOST_WAITING + 100


# -- Who may reach it


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_others_reach_has_to_be_asked_for(host, capsys):
    from prebuilds.emulator.server import run

    assert run(host=host) == 1
    assert "--allow-remote" in capsys.readouterr().err
    with pytest.raises(ValueError, match="allow_remote"):
        EmulatorServer(host=host).__enter__()


def test_what_an_open_address_means_is_said_and_what_a_client_has_to_send(launch):
    hint = r"GITPOD_API_KEY=(.*)"
    err = stop(launch("--host", "0.0.0.0", "--allow-remote", "--token", "top-secret"))
    assert err.count("WARNING") == 2
    assert re.search(hint, err)[1] == "'<a token that was given>'"
    assert "top-secret" not in err

    program = launch("--host", "0.0.0.0", "--allow-remote", "--control-token", "t", "--read-only-token", "reader")
    with EmulatorControl(program.url.replace("0.0.0.0", "127.0.0.1"), token="t") as control:
        assert not control.clock().frozen
    err = stop(program)
    assert err.count("WARNING") == 1
    assert re.search(hint, err)[1] == "anything"


# -- Projects from a file


def test_projects_are_declared_from_a_file(launch, tmp_path):
    file = tmp_path / "projects.json"
    file.write_text(json.dumps({"projects": [{"id": PROJECT}, {"id": NOBODY, "prebuilds": None}]}))
    program = launch("--projects", str(file), "--strict-projects")
    other = PROJECT.replace("b", "c")
    answers = [call(program, "CreatePrebuild", {"projectId": item, "spec": {}}) for item in (PROJECT, NOBODY, other)]
    assert [answer.json().get("code") for answer in answers] == [None, "failed_precondition", "not_found"]
    with EmulatorControl(program.url) as control:
        before = control.projects()
        control.withdraw_project(PROJECT)
        control.reset()
        assert control.projects() == before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot read the projects"),
        ("{", "make no sense"),
        ('{"projects": [{"id": "b", "tpyo": 1}]}', "projects.0.tpyo"),
        ('{"projects": [{"id": "no uuid"}]}', "no UUID"),
    ],
)
def test_a_file_of_projects_that_cannot_be_used_is_refused_in_one_line(tmp_path, capsys, text, reason):
    file = tmp_path / "projects.json"
    if text is not None:
        file.write_text(text)
    line = refused(capsys, lambda: main(["emulator", "--projects", str(file)]))
    assert reason in line
    assert str(file) in line
