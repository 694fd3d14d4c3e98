"""`prebuilds refresh`: exactly one new prebuild for each project and class, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import selectors
import signal
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from prebuilds import PrebuildClient, ResourceExhaustedError
from prebuilds.cli.fleet import state_file
from prebuilds.cli.fleet.pacing import Pace, PacedCalls
from prebuilds.cli.fleet.targets import Target
from prebuilds.emulator import ConnectCode, DropFault, EmulatorControl, EmulatorServer, ErrorFault, Outcome, Plan
from prebuilds.flows.effects import Runtime

from .conftest import CLASS, OTHER, PROJECT, TOKEN, Run, Service


def projects(count: int, seed: int = 1) -> list[str]:
    drawn = random.Random(seed)
    return [str(uuid.UUID(int=drawn.getrandbits(128), version=4)) for _ in range(count)]


def new_prebuilds(client: PrebuildClient, before: set[str]) -> dict[str, list[str]]:
    """The ids of the prebuilds of each project that were not there before."""
    found: dict[str, list[str]] = {}
    for each in client.prebuilds.list(page_size=100):
        if each.id not in before:
            found.setdefault(str(each.metadata.project_id), []).append(str(each.id))
    return found


def ids(client: PrebuildClient) -> set[str]:
    return {str(each.id) for each in client.prebuilds.list(page_size=100)}


def busiest(service: Service) -> int:
    """The number of calls in the busiest ten seconds, in the time of the emulator."""
    times = sorted(each.at.timestamp() for each in service.control.requests(1000))
    return max(sum(begin <= each < begin + 10 for each in times) for begin in times)


def test_every_project_gets_one_prebuild_and_the_report_says_how_they_ended(cli: Run, service: Service, tmp_path: Path):
    names = projects(20)
    service.completed(names[3])
    before = ids(service.client)
    service.control.declare_project(names[0], outcome=Outcome(fails_in="RUNNING", message="no space | left"))
    service.control.declare_project(names[1], outcome=Outcome(stalls_in="STARTING"))
    service.control.declare_project(names[2], outcome=Outcome(warning="no dev container"))
    service.control.disable_prebuilds(names[4])
    service.control.forget_requests()
    report, table = tmp_path / "report.json", tmp_path / "report.md"
    done = cli(
        *("refresh", "-", "--stalled-after", "20m", "--report", f"json={report},md={table}", "-o", "jsonl"),
        stdin="\n".join(names),
    )
    assert done.code == 7
    made = new_prebuilds(service.client, before)
    assert sorted(made) == sorted(set(names) - {names[4]})
    assert all(len(each) == 1 for each in made.values())
    found = json.loads(report.read_text())
    assert found["counts"] == {"completed": 17, "failed": 1, "stalled": 1, "refused": 1}
    assert {each["projectId"]: [each["prebuildId"]] for each in found["results"] if each["prebuildId"]} == made
    assert found["results"] == [json.loads(line) for line in done.lines]
    assert "no space &#124; left" in table.read_text()
    assert f"{names[2]} {made[names[2]][0]} completed: no dev container" in done.err
    assert "20 targets: 17 completed, 3 failed" in done.err
    assert busiest(service) <= 100


def test_prebuilds_are_followed_with_lists_and_not_one_by_one(cli: Run, service: Service):
    names = projects(205, seed=2)
    assert cli("refresh", "-", stdin="\n".join(names)).code == 0
    calls = Counter(each.method for each in service.control.requests(1000))
    assert calls["CreatePrebuild"] == 205
    assert calls["GetPrebuild"] == 0
    assert calls["ListPrebuilds"] < 205
    assert busiest(service) <= 100


def test_lines_of_a_file_may_name_a_class_and_each_target_has_its_own_prebuild(
    cli: Run, service: Service, tmp_path, monkeypatch
):
    file = tmp_path / "projects"
    file.write_text(f"\ufeff# projects\n{PROJECT}\n{PROJECT} {CLASS}\n\n{OTHER} {CLASS} # comment\n{PROJECT} {CLASS}\n")
    state = tmp_path / "state"
    run = ("refresh", "--projects-from", str(file), "--state", str(state), "--json")
    with monkeypatch.context() as patch:
        killed_after(2, written=False, monkeypatch=patch)
        with pytest.raises(Killed):
            cli(*run)
    # Another run is killed after it has sent two creates, of which only the second one took effect. The prebuild of the
    # one class must not be taken for that of the other.
    for target in (f"{PROJECT} -", f"{PROJECT} {CLASS}"):
        event = {"event": "intent", "target": target, "at": service.runtime.now(), "since": None, "known": []}
        with state.open("a") as lines:
            lines.write(json.dumps(event) + "\n")
    service.create(PROJECT, CLASS)
    done = cli(*run)
    assert done.code == 0
    results = json.loads(done.out)
    assert len({each["prebuildId"] for each in results}) == 3 == len(ids(service.client))
    assert [each["environmentClassId"] == CLASS for each in results] == [False, True, True]
    for each in results:
        prebuild = service.client.prebuilds.retrieve(prebuild_id=each["prebuildId"]).prebuild
        assert each["environmentClassId"] == prebuild.metadata.environment_class_id
    file.write_text("a b c\n")
    assert cli("refresh", "--projects-from", str(file)).code == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_whose_response_is_lost_is_looked_up_and_not_mistaken(cli: Run, service: Service, when):
    # Somebody else creates one at the same moment.
    other = service.create(PROJECT)
    service.control.plan_fault(DropFault(method="CreatePrebuild", when=when))
    (made,) = cli("refresh", PROJECT, "--class", CLASS, "-o", "id").lines
    assert ids(service.client) == {other, made}
    assert made != other


class Killed(BaseException):
    """Stands for `kill -9`: nothing is done after it."""


def killed_after(writes: int, *, written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the run at its n-th event: before it is on disk, or just after."""
    write = state_file.StateFile._write
    left = writes

    def counted(self: state_file.StateFile, document: dict[str, Any]) -> None:
        nonlocal left
        left -= 1
        if left == 0 and not written:
            raise Killed
        write(self, document)
        if left == 0:
            raise Killed

    monkeypatch.setattr(state_file.StateFile, "_write", counted)


@pytest.mark.campaign(quick=9, full=200)
def test_a_run_that_is_killed_anywhere_creates_no_second_prebuild(
    cli: Run, service: Service, tmp_path, monkeypatch, size
):
    names = projects(size)
    state = tmp_path / "state.jsonl"
    # Every thread that sleeps moves the clock, so weeks may pass.
    service.control.put_plan(Plan(expiry=365 * 24 * 3600))
    before = {service.completed(name) for name in names[::3]} | {service.create(name) for name in names[::5]}
    drawn = random.Random(size)
    for number in range(size // 3):
        service.control.plan_fault(DropFault(method="CreatePrebuild", when="after", after=3 * number))
        service.control.plan_fault(DropFault(method="CreatePrebuild", when="before", after=3 * number + 1))
        service.control.plan_fault(
            ErrorFault(
                method="CreatePrebuild", code=ConnectCode.RESOURCE_EXHAUSTED, retry_after=2, after=3 * number + 2
            )
        )
        service.control.plan_fault(DropFault(method="ListPrebuilds", after=4 * number))
    run = ("refresh", "-", "--state", str(state), "--max-active", str(size // 2), "--json")
    for number in range(size):
        with monkeypatch.context() as patch, suppress(Killed):
            killed_after(drawn.randint(1, 5), written=number % 2 == 0, monkeypatch=patch)
            cli(*run, stdin="\n".join(names))
    done = cli(*run, stdin="\n".join(names))
    assert done.code == 0
    made = new_prebuilds(service.client, before)
    assert {name: [each] for name, each in ((r["projectId"], r["prebuildId"]) for r in json.loads(done.out))} == made
    assert sorted(made) == sorted(names)
    # A run that has ended has nothing left to do.
    service.control.forget_requests()
    assert cli(*run, stdin="\n".join(names)).code == 0
    assert service.control.requests() == []


def test_ctrl_c_prints_the_command_that_resumes(cli: Run, service: Service, tmp_path, monkeypatch):
    state = tmp_path / "my state.jsonl"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(state_file.StateFile, "ended", interrupt)
        done = cli("refresh", PROJECT, OTHER, "--state", str(state))
    assert done.code == 130
    assert f"To resume: prebuilds refresh {PROJECT} {OTHER} --state '{state}'" in done.err
    assert "Traceback" not in done.err
    assert cli("refresh", OTHER, PROJECT, "--state", str(state)).code == 0
    assert len(ids(service.client)) == 2


def test_a_state_file_of_another_run_is_refused(cli: Run, service: Service, tmp_path, monkeypatch):
    state = tmp_path / "state.jsonl"
    assert cli("refresh", PROJECT, "--state", str(state)).code == 0
    content = state.read_bytes()
    service.control.forget_requests()

    def refused(*arguments: str) -> str:
        done = cli("refresh", *arguments, "--state", str(state))
        assert done.code in (1, 2)
        assert service.control.requests() == []
        return done.err

    assert "other projects" in refused(OTHER)
    assert "it belongs to http" in refused(PROJECT, "--base-url", "http://127.0.0.1:1")
    with state_file.StateFile(state, service.url, [Target(PROJECT, None)]):
        assert "used by another process" in refused(PROJECT)
    state.write_bytes(content.replace(b'"created"', b'"creatd"'))
    assert "damaged in line 3" in refused(PROJECT)
    state.write_bytes(b"a shopping list\n")
    assert "damaged in line 1" in refused(PROJECT)
    # A line that the process was killed in is no damage.
    state.write_bytes(content + b'{"event": "en')
    assert cli("refresh", PROJECT, "--state", str(state)).code == 0


def test_no_further_prebuild_is_created_after_too_many_failures(cli: Run, service: Service):
    names = projects(30)
    service.control.plan_outcome(Outcome(fails_in="STARTING"), times=30)
    done = cli("refresh", *names, "--max-failures", "10%", "--max-active", "2", "-o", "jsonl")
    assert done.code == 1
    outcomes = Counter(json.loads(line)["outcome"] for line in done.lines)
    assert 3 < outcomes["failed"] <= 5
    assert outcomes["waiting"] == 30 - outcomes["failed"]
    assert "too many prebuilds failed" in done.err


def test_active_prebuilds_are_cancelled_and_old_ones_deleted_only_where_the_new_one_completed(
    cli: Run, service: Service
):
    old = {name: service.completed(name) for name in (PROJECT, OTHER)}
    other_class = service.completed(PROJECT, OTHER)
    active = service.create(PROJECT)
    service.control.plan_outcome(Outcome(fails_in="RUNNING"), project_id=OTHER)
    done = cli("refresh", PROJECT, OTHER, "--class", CLASS, "--cancel-active", "--keep-baseline", "-o", "jsonl")
    assert done.code == 7
    assert service.phase(active) in ("CANCELLED", "CANCELLING", "DELETING")
    assert "DELET" in service.phase(old[PROJECT])
    assert service.phase(old[OTHER]) == "COMPLETED"
    assert service.phase(other_class) == "COMPLETED"
    service.clock.advance(3600)
    made = service.completed(OTHER)
    again = cli("refresh", PROJECT, OTHER, "--class", CLASS, "--skip-fresher-than", "30m", "-o", "jsonl")
    outcomes = {each["projectId"]: each["outcome"] for each in map(json.loads, again.lines)}
    assert outcomes == {PROJECT: "completed", OTHER: "skipped"}
    assert service.phase(made) == "COMPLETED"


def test_a_rejected_token_ends_the_run_and_can_be_resumed(cli: Run, service: Service, tmp_path):
    state = str(tmp_path / "state.jsonl")
    service.control.plan_fault(ErrorFault(method="CreatePrebuild", code=ConnectCode.UNAUTHENTICATED))
    done = cli("refresh", PROJECT, "--state", state)
    assert done.code == 4
    assert "To resume: prebuilds refresh" in done.err
    assert "The token came from $GITPOD_API_KEY" in done.err
    assert ids(service.client) == set()
    assert cli("refresh", PROJECT, "--state", state).code == 0
    assert len(ids(service.client)) == 1


def test_a_terminal_gets_bars_and_the_results_that_matter(terminal: Run, service: Service):
    names = projects(60)
    service.control.declare_project(names[7], outcome=Outcome(fails_in="RUNNING", message="no space left"))
    done = terminal("refresh", *names)
    assert done.code == 7
    for stage in ("waiting", "running", "completed", "failed"):
        assert re.search(rf"{stage} .*/60", done.plain)
    assert "no space left" in done.plain
    assert names[7][:8] in done.plain
    assert names[8][:8] not in done.plain


class JumpingSelector(selectors.SelectSelector):
    """Lets an event loop jump to the time of its next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


def test_all_workers_wait_for_a_rate_limit_together():
    selector = JumpingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    runtime = Runtime(clock=loop.time, uniform=lambda _low, high: high, async_sleep=asyncio.sleep)
    starts: list[float] = []

    async def main() -> None:
        calls = PacedCalls(runtime, Pace(runtime, 4))

        async def send() -> None:
            starts.append(loop.time())
            if len(starts) == 3:
                raise ResourceExhaustedError(
                    "",
                    operation="list",
                    code=ConnectCode.RESOURCE_EXHAUSTED,
                    status=429,
                    retry_after=30,
                    retryable=True,
                )

        await asyncio.gather(*(calls(send) for _ in range(6)))

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert len(starts) == 7
    assert starts[2] < 1
    assert starts[3] >= 30
    assert all(later - earlier >= 0.24 for earlier, later in pairwise(starts))


@pytest.mark.campaign
def test_two_thousand_projects_with_ten_kills(tmp_path: Path):
    names = projects(2000)
    drawn = random.Random(7)
    listed, state, report = tmp_path / "projects", tmp_path / "state.jsonl", tmp_path / "report.json"
    listed.write_text("\n".join(names))
    with EmulatorServer(speed=60) as server, PrebuildClient(TOKEN, base_url=server.url) as client:
        with EmulatorControl(server.url) as control:
            before = {str(client.prebuilds.create(project_id=name).prebuild.id) for name in names[::50]}
            for name in names[:100]:
                control.declare_project(name, outcome=Outcome(fails_in="RUNNING"))
            for name in names[100:120]:
                control.declare_project(name, outcome=Outcome(stalls_in="STARTING"))
            for number in range(60):
                when = "after" if number % 2 else "before"
                control.plan_fault(DropFault(method="CreatePrebuild", when=when, after=30 * number))
                control.plan_fault(DropFault(method="ListPrebuilds", after=15 * number))
                control.plan_fault(
                    ErrorFault(
                        method="CreatePrebuild",
                        code=ConnectCode.RESOURCE_EXHAUSTED,
                        retry_after=1,
                        after=30 * number + 9,
                    )
                )
            command = [
                *(sys.executable, "-m", "prebuilds", "refresh", "--projects-from", str(listed), "--state", str(state)),
                *("--stalled-after", "30s", "--report", f"json={report}", "-o", "id", "-q"),
                *("--base-url", server.url),
            ]
            environment = {**os.environ, "GITPOD_API_KEY": TOKEN}
            for _ in range(10):
                process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
                try:
                    process.wait(timeout=drawn.uniform(2, 40))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
            minutes = Counter[int]()
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            sizes: list[int] = []
            while process.poll() is None:
                sizes.append(_memory(process.pid))
                try:
                    process.wait(timeout=2)
                except subprocess.TimeoutExpired:
                    continue
            for each in control.requests(1000):
                minutes[int(each.at.timestamp() // 60)] += 1
        made = new_prebuilds(client, before)
    assert process.returncode == 7
    assert sorted(made) == sorted(names)
    assert all(len(each) == 1 for each in made.values())
    found = json.loads(report.read_text())
    assert {each["projectId"]: [each["prebuildId"]] for each in found["results"]} == made
    assert found["counts"]["completed"] == 1880
    # A minute of the emulator is a second.
    assert max(minutes.values()) <= 10
    assert max(sizes[len(sizes) // 2 :]) < 1.1 * max(sizes[: len(sizes) // 2])


def _memory(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int((re.findall(r"VmRSS:\s+(\d+)", status) or ["0"])[0])
