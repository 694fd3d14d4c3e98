"""The data file: what survives a killed process and a full disk, and which files are refused."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
import time
import uuid
from pathlib import Path
from signal import SIGKILL

import httpx
import pytest

from prebuilds.emulator import EmulatorServer, ManualClock
from prebuilds.emulator.datafile import SCHEMA_VERSION
from prebuilds.emulator.server import run

from .driver import NO_CERTIFICATES, PROJECT, SERVICE, Driver
from .program import PATIENCE, SOON, launch, post, refused, start, stop

# -- A killed process


class Caller:
    """One who changes things and knows what was acknowledged. Nobody else touches what it has made."""

    def __init__(self, number):
        self.chance = random.Random(number)
        self.http = None
        self.prebuilds = {}
        """The desired phase of each prebuild, and those that it may have instead, as an answer is missing."""
        self.pools = {}
        """The sizes of each pool, None for one that is deleted, and those that it may have instead."""
        self.unanswered = 0
        """How many calls that make something were not answered."""
        self.acknowledged = 0

    def run(self, url):
        headers = {"Authorization": "Bearer somebody"}
        with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, verify=NO_CERTIFICATES) as self.http:
            try:
                while True:
                    self.change()
                    self.acknowledged += 1
            except httpx.TransportError:
                return

    def call(self, method, **fields):
        response = self.http.post(f"{SERVICE}/{method}", json=fields)
        assert response.status_code == 200, response.text
        return response.json()

    def change(self):
        active = [item for item, desired in self.prebuilds.items() if desired == ["COMPLETED"]]
        pools = [item for item, sizes in self.pools.items() if len(sizes) == 1 and sizes[0]]
        what = self.chance.random()
        if what < 0.4 or len(active) < 3:
            self.unanswered += 1
            made = self.call("CreatePrebuild", projectId=PROJECT, spec={})
            self.prebuilds[made["prebuild"]["id"]] = ["COMPLETED"]
            self.unanswered -= 1
        elif what < 0.6:
            item = self.chance.choice(active)
            method, desired = self.chance.choice((("CancelPrebuild", "CANCELLED"), ("DeletePrebuild", "DELETED")))
            self.prebuilds[item].append(desired)
            self.call(method, prebuildId=item)
            self.prebuilds[item] = [desired]
        elif what < 0.75 or len(pools) < 3:
            sizes = (self.chance.randint(0, 5), self.chance.randint(5, 20))
            self.unanswered += 1
            fields = {"environmentClassId": str(uuid.uuid4()), "minSize": sizes[0], "maxSize": sizes[1]}
            made = self.call("CreateWarmPool", projectId=PROJECT, **fields)
            self.pools[made["warmPool"]["id"]] = [sizes]
            self.unanswered -= 1
        elif what < 0.9:
            item, sizes = self.chance.choice(pools), (self.chance.randint(0, 5), self.chance.randint(5, 20))
            self.pools[item].append(sizes)
            self.call("UpdateWarmPool", warmPoolId=item, minSize=sizes[0], maxSize=sizes[1])
            self.pools[item] = [sizes]
        else:
            item = self.chance.choice(pools)
            self.pools[item].append(None)
            self.call("DeleteWarmPool", warmPoolId=item)
            self.pools[item] = [None]

    def check(self, prebuilds, pools):
        """That all is there as it was acknowledged. What was not answered is now known to have happened or not."""
        for item, desired in self.prebuilds.items():
            found = prebuilds.pop(item)["spec"]["desiredPhase"].removeprefix("PREBUILD_PHASE_")
            assert found in desired
            self.prebuilds[item] = [found]
        for item, sizes in self.pools.items():
            spec = pools.pop(item)["spec"]
            deleted = spec["desiredPhase"] == "WARM_POOL_PHASE_DELETED"
            found = None if deleted else (spec["minSize"], spec["maxSize"])
            assert found in sizes
            self.pools[item] = [found]


def everything(url, method, name):
    """All items of a list by their ids."""
    found, token = {}, ""
    while True:
        page = post(url, method, {"pagination": {"pageSize": 100, "token": token}})
        found.update((item["id"], item) for item in page.get(name, ()))
        token = page.get("pagination", {}).get("nextToken")
        if not token:
            return found


@pytest.mark.campaign(quick=2, full=20)
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path, size):
    data = tmp_path / "data"
    # So slow that nothing changes but what the callers change.
    program = launch(data, speed=0.001)
    callers = [Caller(number) for number in range(4)]
    starts = []
    for _ in range(size):
        threads = [threading.Thread(target=caller.run, args=(program.url,)) for caller in callers]
        enough = sum(caller.acknowledged for caller in callers) + 100
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PATIENCE
        while sum(caller.acknowledged for caller in callers) < enough and time.monotonic() < deadline:
            time.sleep(0.005)  # polling, until there is enough to lose
        stop(program, SIGKILL)
        for thread in threads:
            thread.join()
        assert sum(caller.acknowledged for caller in callers) >= enough

        begin = time.monotonic()
        program = launch(data, speed=0.001)
        post(program.url, "ListPrebuilds", {})
        starts.append(time.monotonic() - begin)
        prebuilds = everything(program.url, "ListPrebuilds", "prebuilds")
        pools = everything(program.url, "ListWarmPools", "warmPools")
        for item in random.sample(sorted(prebuilds), 20):
            assert post(program.url, "GetPrebuild", {"prebuildId": item})["prebuild"] == prebuilds[item]
        for caller in callers:
            caller.check(prebuilds, pools)
        # What nobody was told of was under way when the process died.
        assert len(prebuilds) + len(pools) <= sum(caller.unanswered for caller in callers)
    assert min(starts) < SOON
    assert stop(program).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert sqlite3.connect(data).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_a_caller_has_seen_is_not_undone_by_a_kill(tmp_path):
    """Be it only that time has passed: no phase goes back."""
    data = tmp_path / "data"
    program = launch(data, speed=100_000)
    prebuild_id = post(program.url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})["prebuild"]["id"]
    deadline = time.monotonic() + PATIENCE
    phase = ""
    while phase != "PREBUILD_PHASE_COMPLETED" and time.monotonic() < deadline:
        phase = post(program.url, "GetPrebuild", {"prebuildId": prebuild_id})["prebuild"]["status"]["phase"]
    stop(program, SIGKILL)
    program = launch(data, speed=0.001)
    found = post(program.url, "GetPrebuild", {"prebuildId": prebuild_id})["prebuild"]
    assert found["status"]["phase"] == "PREBUILD_PHASE_COMPLETED"
    assert stop(program).code == 0


# -- A full disk


limited = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the files of another process")


def limit_files(process, size):
    """Let no file of a process grow beyond `size` bytes, which for it is as if the disk were full."""
    import resource

    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


@limited
def test_on_a_full_disk_a_change_is_refused_and_nothing_is_lost(tmp_path):
    data = tmp_path / "data"
    program = launch(data, speed=0.001)
    body = {"projectId": PROJECT, "spec": {}}
    created = [post(program.url, "CreatePrebuild", body)["prebuild"]["id"] for _ in range(20)]
    before = post(program.url, "ListPrebuilds", {"pagination": {"pageSize": 100}})

    limit_files(program.process, max(path.stat().st_size for path in tmp_path.iterdir()))
    headers = {"Authorization": "Bearer somebody"}
    with httpx.Client(base_url=program.url, headers=headers, verify=NO_CERTIFICATES) as http:
        for method, fields in [
            ("CreatePrebuild", body),
            ("CancelPrebuild", {"prebuildId": created[0]}),
            ("DeletePrebuild", {"prebuildId": created[1]}),
            ("CreateWarmPool", {"projectId": PROJECT, "environmentClassId": PROJECT}),
        ]:
            refused = http.post(f"{SERVICE}/{method}", json=fields)
            assert refused.status_code == 429, refused.text
            assert refused.json()["code"] == "resource_exhausted"
            assert "no room" in refused.json()["message"]
    assert post(program.url, "ListPrebuilds", {"pagination": {"pageSize": 100}}) == before
    assert post(program.url, "ListWarmPools", {}) == {}

    limit_files(program.process, None)
    created.append(post(program.url, "CreatePrebuild", body)["prebuild"]["id"])
    assert stop(program).code == 0
    program = launch(data, speed=0.001)
    found = post(program.url, "ListPrebuilds", {"pagination": {"pageSize": 100}})["prebuilds"]
    assert [item["id"] for item in found] == created[::-1]
    assert [item["spec"] for item in found[1:]] == [item["spec"] for item in before["prebuilds"]]
    assert stop(program).code == 0


@limited
def test_on_a_full_disk_time_goes_on(tmp_path):
    data = tmp_path / "data"
    program = launch(data, speed=600)
    created = post(program.url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})["prebuild"]
    limit_files(program.process, (tmp_path / "data-wal").stat().st_size)
    deadline = time.monotonic() + PATIENCE
    found = created
    while found["status"]["phase"] != "PREBUILD_PHASE_COMPLETED" and time.monotonic() < deadline:
        found = post(program.url, "GetPrebuild", {"prebuildId": created["id"]})["prebuild"]
    assert found["status"]["phase"] == "PREBUILD_PHASE_COMPLETED"
    assert post(program.url, "ListPrebuilds", {})["prebuilds"] == [found]
    assert stop(program).code == 0


@limited
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_at_the_start_is_told_in_one_line(tmp_path, used, there):
    data = tmp_path / "data"
    if there:
        data.write_bytes(used)
    refused_as_a_program(data, ["bash", "-c", 'ulimit -S -f 1; exec "$@"', "-"])
    assert (data.read_bytes() if data.exists() else None) == (used if there else None)
    assert [path.name for path in tmp_path.iterdir()] == (["data"] if there else [])


# -- Files that cannot be used


# Root may do everything, unless it does without the right to.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def refused_as_a_program(data, command=()):
    """The one line that says why the program, run by `command`, did not start."""
    process = start(data, command=command)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert str(data) in err
    return err


def refused_here(capsys, data):
    """The one line that says why the program would not start; in this process, which is quicker."""
    err = refused(capsys, lambda: run(data=data))
    assert str(data) in err
    return err


def test_two_emulators_cannot_share_a_file(tmp_path, capsys):
    data = tmp_path / "data"
    program = launch(data=data)
    prebuild_id = post(program.url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})["prebuild"]["id"]
    assert "in use by another emulator" in refused_here(capsys, data)
    assert post(program.url, "GetPrebuild", {"prebuildId": prebuild_id})
    assert stop(program).code == 0

    with EmulatorServer(data=data):
        assert "in use by another emulator" in refused_as_a_program(data)


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """The bytes of a data file that has something in it."""
    data = tmp_path_factory.mktemp("used") / "data"
    with EmulatorServer(data=data) as server:
        for _ in range(30):
            post(server.url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})
    return data.read_bytes()


def overwritten(data: Path, used: bytes) -> None:
    data.write_bytes(used[:4096] + b"garbage!" * ((len(used) - 4096) // 8))


def cut(data: Path, used: bytes) -> None:
    data.write_bytes(used[:10_000])


def text(data: Path, used: bytes) -> None:
    data.write_text("dear diary\n" * 100)


def foreign(data: Path, used: bytes) -> None:
    connection = sqlite3.connect(data)
    connection.execute("CREATE TABLE books (title TEXT)")
    connection.commit()
    connection.close()


def newer(data: Path, used: bytes) -> None:
    data.write_bytes(used)
    connection = sqlite3.connect(data)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()


def older(data: Path, used: bytes) -> None:
    data.write_bytes(used)
    connection = sqlite3.connect(data)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (overwritten, "damaged"),
        (cut, "damaged"),
        (text, "damaged, or no data file"),
        (foreign, "no data file of the emulator"),
        (newer, "newer emulator"),
        (older, "older emulator"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_left_as_it_was(tmp_path, capsys, used, make, reason):
    data = tmp_path / "data"
    make(data, used)
    before = data.read_bytes()
    assert reason in refused_here(capsys, data)
    assert data.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_that_cannot_be_made_is_refused(tmp_path, capsys):
    assert "cannot" in refused_here(capsys, tmp_path / "missing" / "data")
    assert "cannot" in refused_here(capsys, tmp_path)


def test_an_empty_file_becomes_a_data_file(tmp_path):
    data = tmp_path / "data"
    data.touch()
    with EmulatorServer(data=data) as server:
        post(server.url, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})
    assert data.stat().st_size > 0


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_file_that_must_not_be_used_is_refused_and_left_as_it_was(tmp_path, used, mode):
    data = tmp_path / "data"
    data.write_bytes(used)
    data.chmod(mode)
    assert "cannot" in refused_as_a_program(data, AS_ANYBODY)
    data.chmod(0o644)
    assert data.read_bytes() == used


def test_a_newer_file_is_left_as_a_killed_emulator_left_it(tmp_path, capsys, used):
    data = tmp_path / "data"
    data.write_bytes(used)
    connection = sqlite3.connect(data)
    connection.execute("PRAGMA user_version = 99")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("UPDATE meta SET value = value")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("data*"):
        (copy / path.name).write_bytes(path.read_bytes())
    connection.close()
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert {"data", "data-wal"} <= before.keys()
    assert "newer emulator" in refused_here(capsys, copy / "data")
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_damage_that_is_met_later_is_told_to_the_caller_that_it_concerns(tmp_path):
    data, clock = tmp_path / "data", ManualClock()
    with EmulatorServer(data=data, clock=clock) as server:
        driver = Driver(server, clock)
        whole, damaged = driver.create(), driver.create()
        driver.close()
    connection = sqlite3.connect(data)
    connection.execute(
        "UPDATE documents SET document = substr(document, 1, 100)"
        " WHERE sequence = (SELECT sequence FROM prebuilds WHERE id = ?)",
        (damaged,),
    )
    connection.commit()
    connection.close()
    with EmulatorServer(data=data, clock=clock) as server:
        driver = Driver(server, clock)
        assert driver.phase(whole) == "PENDING"
        response = driver.post("GetPrebuild", {"prebuildId": damaged})
        assert (response.status_code, response.json()["code"]) == (500, "data_loss")
        assert "damaged" in response.json()["message"]
        driver.close()
