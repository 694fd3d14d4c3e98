"""The emulator as a program, and what its data file holds."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import prebuilds
from prebuilds.emulator import EmulatorServer, ManualClock, ScaledClock, StoreError, connections
from prebuilds.emulator.server import run

from .driver import PROJECT, SERVICE, Driver
from .program import PATIENCE, SOON, launch, post, refused, stop

ROOT = Path(__file__).parents[2]


def create(url):
    return post(url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})["prebuild"]["id"]


# -- The program


def test_it_says_where_it_listens_and_stops_on_a_signal():
    program = launch()
    assert program.line == f"listening on {program.url}\n"
    create(program.url)
    ended = stop(program, signal.SIGINT)
    assert (ended.code, ended.out) == (0, "")
    assert ended.seconds < SOON
    assert f"GITPOD_BASE_URL={program.url} GITPOD_API_KEY=" in ended.err
    assert "Traceback" not in ended.err


@contextmanager
def halfway(url):
    """A connection on which nothing is sent, and one with a part of a request."""
    address = urlsplit(url)
    place = (address.hostname, address.port)
    with socket.create_connection(place) as idle, socket.create_connection(place) as begun:
        begun.sendall(
            f"POST {SERVICE}/GetPrebuild HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )
        post(url, "ListPrebuilds", {})
        yield idle


def test_it_stops_soon_whatever_its_callers_do():
    program = launch(speed=1)
    with halfway(program.url) as idle:
        ended = stop(program)
        assert idle.recv(1) == b""
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert ended.seconds < SOON


def test_it_waits_for_less_than_a_second_for_calls_that_are_under_way():
    seconds = []
    # The quickest of some, as the machine may be busy with other tests.
    while not seconds or (min(seconds) >= 1 and len(seconds) < 5):
        with ExitStack() as stack:
            with EmulatorServer() as server:
                stack.enter_context(halfway(server.url))
                begin = time.monotonic()
            seconds.append(time.monotonic() - begin)
    assert min(seconds) < 1


def test_an_IPv6_address_stands_in_brackets():
    with EmulatorServer(host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        prebuild_id = create(server.url)
        assert post(server.url, "GetPrebuild", {"prebuildId": prebuild_id})


def test_the_port_can_be_chosen_and_taken_again():
    with EmulatorServer() as first:
        address = urlsplit(first.url)
        connection = socket.create_connection((address.hostname, address.port))
    # The server hung up first, so the system keeps the port for late packets.
    with connection:
        assert connection.recv(1) == b""
    with EmulatorServer(port=address.port) as second:
        assert second.url == first.url
        create(second.url)


def test_a_busy_port_is_refused_in_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}" in refused(capsys, lambda: run(port=port))


@pytest.mark.parametrize("options", [{"port": 65536}, {"port": -1}, {"host": "no such host"}])
def test_an_address_that_does_not_exist_is_refused_in_one_line(capsys, options):
    assert "cannot listen on" in refused(capsys, lambda: run(**options))


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), 1e7])
def test_a_speed_that_makes_no_sense_is_refused_in_one_line(capsys, speed):
    assert "speed" in refused(capsys, lambda: run(speed=speed))


def test_an_in_process_server_tells_that_it_cannot_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        EmulatorServer(port=taken.getsockname()[1]).__enter__()
    with pytest.raises(StoreError):
        EmulatorServer(data=tmp_path).__enter__()
    with pytest.raises(ValueError, match="speed"):
        EmulatorServer(speed=0).__enter__()


# -- The data file


def test_everything_is_there_after_a_restart(tmp_path):
    data, clock = tmp_path / "data", ManualClock()
    with EmulatorServer(clock=clock, data=data) as server:
        before = Driver(server, clock)
        completed, running, cancelled, pools = before.create(), [], before.create(), []
        before.call("CancelPrebuild", prebuildId=cancelled)
        pools.append(before.create_pool(minSize=0, maxSize=3))
        clock.advance(300)
        running = [before.create() for _ in range(3)]
        listed = before.call("ListPrebuilds", pagination={"pageSize": 2})
        everything = [before.prebuild(item) for item in (completed, cancelled, *running)], before.pool(pools[0])
        logs_token = before.call("CreatePrebuildLogsToken", prebuildId=completed)["accessToken"]
        before.close()

    with EmulatorServer(clock=clock, data=data) as server:
        after = Driver(server, clock)

        def without_address(prebuilds):
            for item in prebuilds:
                item["status"].pop("logUrl", None)
            return prebuilds

        again = [after.prebuild(item) for item in (completed, cancelled, *running)]
        assert without_address(again) == without_address(everything[0])
        assert after.pool(pools[0]) == everything[1]
        # Tokens that were handed out stay valid.
        rest = after.call("ListPrebuilds", pagination={"token": listed["pagination"]["nextToken"]})
        assert [item["id"] for item in rest["prebuilds"]] == [running[0], cancelled, completed]
        headers = {"Authorization": f"Bearer {logs_token}"}
        assert after.http.get(f"/logs/{completed}", headers=headers).status_code == 200
        # And life goes on.
        clock.advance(300)
        assert after.phase(running[2]) == "COMPLETED"
        assert after.pool(pools[0])["spec"]["snapshotId"] == running[2]
        after.close()


def test_time_goes_on_where_it_was_left(tmp_path):
    data = tmp_path / "data"
    clock = ManualClock()  # in 2030, far ahead of the real time
    with EmulatorServer(clock=clock, data=data) as server:
        driver = Driver(server, clock)
        driver.create()
        driver.close()
    with EmulatorServer(speed=1, data=data) as server:
        created = post(server.url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})["prebuild"]
    assert datetime.fromisoformat(created["metadata"]["createdAt"]) >= clock.now()


def test_nothing_is_kept_without_a_file():
    clock = ManualClock()
    for _ in range(2):
        with EmulatorServer(clock=clock) as server:
            assert post(server.url, "ListPrebuilds", {}) == {}
            create(server.url)


# -- Clocks


def test_a_manual_clock_moves_forward_only():
    clock = ManualClock()
    begin = clock.now()
    clock.advance(1.5)
    assert (clock.now() - begin).total_seconds() == 1.5
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_a_scaled_clock_starts_where_it_is_told():
    start = ManualClock().now()
    clock = ScaledClock(1000, start)
    first, second = clock.now(), clock.now()
    assert start <= first <= second
    assert (second - start).total_seconds() < 1000 * PATIENCE


def test_a_call_in_JSON_is_answered_without_what_only_other_calls_need():
    """Pydantic, protobuf and the faults would take longer than all the rest of the start."""
    program = (
        "import json, sys, urllib.request\n"
        "from prebuilds.emulator.server import EmulatorServer\n"
        "with EmulatorServer() as server:\n"
        f"    url = server.url + '{SERVICE}/ListPrebuilds'\n"
        "    headers = {'Authorization': 'Bearer x', 'Content-Type': 'application/json'}\n"
        "    with urllib.request.urlopen(urllib.request.Request(url, b'{}', headers)) as answer:\n"
        "        assert json.load(answer) == {}\n"
        "late = ('pydantic', 'google.protobuf', 'prebuilds.emulator.control', 'prebuilds.emulator.faults')\n"
        "print([name for name in late if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_it_tells_that_it_is_ready(tmp_path):
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "prebuilds", "emulator", "--ready-file", ready, "--allowed-host", "emulator"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        line = process.stdout.readline()
        url = ready.read_text(encoding="utf-8").strip()
        assert line == f"listening on {url}\n"
        response = httpx.get(f"{url}/health", headers={"Host": "emulator"})
        assert (response.status_code, response.json()) == (200, {"status": "ok", "version": prebuilds.__version__})
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_that_cannot_be_written_is_told_in_one_line(capsys, tmp_path):
    assert "cannot write the ready file" in refused(capsys, lambda: run(ready_file=tmp_path / "none" / "ready"))


# -- Limits


def test_connections_on_which_nothing_comes_keep_nobody_out(tmp_path):
    program = launch(files=100)
    address = urlsplit(program.url)
    with ExitStack() as stack:
        for number in range(60):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(PATIENCE)
            sock.connect((address.hostname, address.port))
            sock.sendall(b"" if number % 2 else b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ")
            if number % 20 == 19:
                create(program.url)
    ended = stop(program)
    assert (ended.code, ended.out) == (0, "")
    assert "Traceback" not in ended.err


def test_a_request_whose_head_never_ends_is_closed(monkeypatch):
    monkeypatch.setattr(connections, "_MAX_HEAD_SECONDS", 0.1)
    with EmulatorServer() as server:
        address = urlsplit(server.url)
        for beginning in (b"", b"POST / HT", b"GET /_emulator/clock HTTP/1.1\r\nHost: localhost\r\n\r\nGET / "):
            with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as sock:
                sock.sendall(beginning)
                received = b""
                with suppress(ConnectionResetError):
                    while piece := sock.recv(65536):
                        received += piece
                assert received.startswith(b"HTTP/1.1 200" if b"clock" in beginning else b"")


def test_a_data_file_and_those_beside_it_are_readable_by_nobody_else(tmp_path):
    with EmulatorServer(data=tmp_path / "data") as server:
        create(server.url)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["data"] == 0o600
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("name", ["time", "monotonic", "perf_counter"])
def test_it_stops_in_a_test_whose_time_stands_still(monkeypatch, name):
    server = EmulatorServer()
    with server:
        now = getattr(time, name)()
        monkeypatch.setattr(time, name, lambda: now)
        create(server.url)
    monkeypatch.undo()
    assert not server._thread.is_alive()


def test_it_runs_from_a_zip_file(tmp_path):
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for folder in (ROOT / "overlays", ROOT / "generated"):
            for path in folder.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    file.write(path, path.relative_to(folder))
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import prebuilds
from prebuilds.emulator import EmulatorServer
with EmulatorServer() as server, prebuilds.PrebuildClient("any", base_url=server.url) as client:
    found = client.prebuilds.create(project_id="07e03a28-65a5-4d98-b532-8ea67b188048", spec={})
    print(prebuilds.__file__, found.prebuild.status.phase.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, archive], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.stdout.split() == [str(archive / "prebuilds" / "__init__.py"), "PENDING"], done.stderr
