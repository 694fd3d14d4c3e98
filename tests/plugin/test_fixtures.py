"""The fixtures of pytest, as the tests of another project use them."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"

HEADER = f"""
import asyncio, os, subprocess, sys, time
import httpx, pytest
from prebuilds import ConnectionFailedError, PrebuildClient, PrebuildFailedError, RequestTimeoutError, WaitTimeoutError
from prebuilds.emulator import *

PROJECT = "{PROJECT}"

@pytest.fixture(params=["prebuild_emulator", "prebuild_emulator_server"])
def emulator(request):
    return request.getfixturevalue(request.param)
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    """Runs the tests of a file, which all have to pass unless said otherwise."""

    def run(source: str, passed: int = 0, **outcomes: int) -> pytest.RunResult:
        pytester.makepyfile(HEADER + source)
        # The tests of one file may depend on their order.
        options = ["-p", "no:cacheprovider", "-p", "no:randomly", "--strict-markers", "-W", "error"]
        result = pytester.runpytest_inprocess(*options)
        result.assert_outcomes(passed=passed, **outcomes)
        return result

    return run


def test_a_prebuild_is_waited_for_in_no_time(run):
    run(
        """
def test_sync(emulator):
    begin = time.monotonic()
    started = emulator.client.prebuilds.create(project_id=PROJECT)
    prebuild = emulator.client.prebuilds.wait(started.prebuild)
    assert prebuild.status.phase == "PREBUILD_PHASE_COMPLETED"
    assert (emulator.now - started.prebuild.metadata.created_at).total_seconds() >= 300
    assert time.monotonic() - begin < 15

def test_async(emulator):
    async def story():
        async with emulator.async_client() as client:
            async def one():
                started = await client.prebuilds.create(project_id=PROJECT)
                return await client.prebuilds.wait(started.prebuild, timeout=600)
            return await asyncio.gather(*(one() for _ in range(4)))
    begin = emulator.now
    prebuilds = asyncio.run(story())
    assert {prebuild.status.phase for prebuild in prebuilds} == {"PREBUILD_PHASE_COMPLETED"}
    # They waited side by side.
    assert (emulator.now - begin).total_seconds() < 600

def test_a_deadline_is_one_of_the_emulated_time(emulator):
    emulator.control.plan_outcome(Outcome(stalls_in="RUNNING"))
    started = emulator.client.prebuilds.create(project_id=PROJECT)
    with pytest.raises(WaitTimeoutError):
        emulator.client.prebuilds.wait(started.prebuild, timeout=1800)

def test_a_failure(emulator):
    emulator.control.plan_outcome(Outcome(fails_in="RUNNING", message="no space left"))
    started = emulator.client.prebuilds.create(project_id=PROJECT)
    with pytest.raises(PrebuildFailedError, match="no space left"):
        emulator.client.prebuilds.wait(started.prebuild)
""",
        passed=8,
    )


def test_time_stands_still_until_it_is_moved(run):
    run(
        """
def test_time(emulator):
    started = emulator.client.prebuilds.create(project_id=PROJECT).prebuild
    def phase():
        return emulator.client.prebuilds.retrieve(prebuild_id=started.id).prebuild.status.phase
    assert phase() == "PREBUILD_PHASE_PENDING"
    emulator.advance(60)
    assert phase() == "PREBUILD_PHASE_RUNNING"
    emulator.advance(seconds=240)
    assert phase() == "PREBUILD_PHASE_COMPLETED"
""",
        passed=2,
    )


def test_each_test_has_an_emulator_of_its_own(run):
    run(
        """
@pytest.mark.parametrize("turn", range(3))
def test_alone(emulator, turn):
    assert emulator.client.prebuilds.list().prebuilds == []
    assert emulator.control.projects() == []
    assert emulator.control.requests()[:-1] == []
    assert emulator.now == ManualClock().now()
    emulator.client.prebuilds.create(project_id=PROJECT)
    emulator.control.declare_project(PROJECT)
    emulator.control.plan_outcome(Outcome(fails_in="RUNNING"))
    emulator.advance(60)
""",
        passed=6,
    )


def test_the_server_is_the_same_for_all_tests(run):
    run(
        """
seen = set()

@pytest.mark.parametrize("turn", range(3))
def test_one(prebuild_emulator_server, turn):
    seen.add(prebuild_emulator_server.url)
    assert len(seen) == 1

@pytest.mark.prebuild_emulator(strict_projects=True)
def test_other_options_need_another(prebuild_emulator_server):
    assert prebuild_emulator_server.url not in seen
""",
        passed=4,
    )


def test_a_fault_that_no_call_met_fails_the_test(run):
    result = run(
        """
def test_nothing_calls(emulator):
    emulator.control.plan_fault(DropFault(method="CancelPrebuild", times=2))

@pytest.mark.prebuild_emulator(unused_faults=True)
def test_as_it_should_be(emulator):
    emulator.control.plan_fault(DropFault(method="CancelPrebuild"))

def test_met(emulator):
    emulator.control.plan_fault(StatusFault(status=503))
    emulator.client.prebuilds.list()

def test_removed(emulator):
    emulator.control.plan_fault(StatusFault(status=503))
    emulator.control.remove_faults()
""",
        passed=8,
        errors=2,
    )
    result.stdout.fnmatch_lines(
        [
            "*planned faults that not enough calls have met*",
            "*fault 1: DropFault(method='CancelPrebuild'*met 0 of 2 calls",
        ]
    )
    result.stdout.fnmatch_lines(["*@pytest.mark.prebuild_emulator(unused_faults=True)"])


def test_a_client_meets_faults_as_it_does_in_the_field(run):
    run(
        """
@pytest.mark.parametrize("fault", [DropFault(), DropFault(when="after"), TruncateFault()])
def test_broken_off(emulator, fault):
    emulator.control.plan_fault(fault)
    with pytest.raises(ConnectionFailedError):
        emulator.new_client(retries=0).prebuilds.list()
    assert emulator.client.prebuilds.list().prebuilds == []

@pytest.mark.parametrize("fault", [DropFault(), DropFault(when="after"), TruncateFault()])
def test_broken_off_async(emulator, fault):
    async def story():
        emulator.control.plan_fault(fault)
        async with emulator.async_client(retries=0) as client:
            with pytest.raises(ConnectionFailedError):
                await client.prebuilds.list()
            assert (await client.prebuilds.list()).prebuilds == []
    asyncio.run(story())

def test_a_create_whose_answer_is_lost_makes_one(emulator):
    emulator.control.plan_fault(DropFault(method="CreatePrebuild", when="after"))
    with pytest.raises(ConnectionFailedError) as caught:
        emulator.client.prebuilds.create(project_id=PROJECT)
    assert caught.value.maybe_executed
    assert len(emulator.client.prebuilds.list().prebuilds) == 1

def test_a_hint_is_waited_for(emulator):
    emulator.control.plan_fault(ErrorFault(code="resource_exhausted", retry_after=20))
    begin = emulator.now
    emulator.client.prebuilds.list()
    assert (emulator.now - begin).total_seconds() >= 20
    assert [item.status for item in emulator.control.requests()] == [429, 200]

def test_what_is_late_costs_no_time_without_a_socket(prebuild_emulator):
    emulator, begin = prebuild_emulator, time.monotonic()
    emulator.control.plan_fault(LatencyFault(seconds=20))
    emulator.control.plan_fault(SlowFault(chunks=10, pause=1))
    emulator.client.prebuilds.list(timeout=30)
    emulator.client.prebuilds.list(timeout=30)
    emulator.control.plan_fault(LatencyFault(seconds=500))
    with pytest.raises(RequestTimeoutError):
        emulator.new_client(retries=0).prebuilds.list(timeout=30)
    assert time.monotonic() - begin < 15
    assert (emulator.now - ManualClock().now()).total_seconds() == pytest.approx(20 + 2 + 30, abs=10)
""",
        passed=17,
    )


def test_a_log_is_followed_to_its_end(run):
    run(
        """
def test_follow(prebuild_emulator):
    emulator = prebuild_emulator
    prebuild = emulator.client.prebuilds.create(project_id=PROJECT).prebuild
    emulator.advance(60)
    token = emulator.client.prebuilds.create_logs_token(prebuild_id=prebuild.id).access_token
    url = emulator.client.prebuilds.retrieve(prebuild_id=prebuild.id).prebuild.status.log_url
    headers = {"Authorization": f"Bearer {token}"}
    with emulator.http_client().stream("GET", url, headers=headers) as response:
        lines = list(response.iter_lines())
    assert lines[-1].endswith("the prebuild completed")

    async def story():
        async with emulator.async_http_client() as http, http.stream("GET", url, headers=headers) as response:
            return [line async for line in response.aiter_lines()]
    assert asyncio.run(story()) == lines

def test_not_to_its_end(prebuild_emulator):
    emulator = prebuild_emulator
    prebuild = emulator.client.prebuilds.create(project_id=PROJECT).prebuild
    emulator.advance(60)
    token = emulator.client.prebuilds.create_logs_token(prebuild_id=prebuild.id).access_token
    url = emulator.client.prebuilds.retrieve(prebuild_id=prebuild.id).prebuild.status.log_url
    with emulator.http_client().stream("GET", url, headers={"Authorization": f"Bearer {token}"}) as response:
        next(response.iter_lines())
    assert (emulator.now - ManualClock().now()).total_seconds() < 200
""",
        passed=2,
    )


def test_a_synchronous_client_works_within_an_event_loop(run):
    run(
        """
def test_within(prebuild_emulator):
    async def story():
        return prebuild_emulator.client.prebuilds.list().prebuilds
    assert asyncio.run(story()) == []
""",
        passed=1,
    )


def test_another_program_finds_the_server(run):
    run(
        """
def test_program(prebuild_emulator_server, monkeypatch):
    for name, value in prebuild_emulator_server.environment.items():
        monkeypatch.setenv(name, value)
    program = f"import prebuilds; prebuilds.PrebuildClient().prebuilds.create(project_id={PROJECT!r})"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(prebuild_emulator_server.client.prebuilds.list().prebuilds) == 1
""",
        passed=1,
    )


def test_time_can_be_let_run(run):
    run(
        """
def test_running(prebuild_emulator):
    prebuild_emulator.control.resume(speed=10_000)
    started = prebuild_emulator.client.prebuilds.create(project_id=PROJECT)
    prebuild_emulator.client.prebuilds.wait(started.prebuild)
""",
        passed=1,
    )


def test_the_marker_says_what_the_emulator_is_like(run):
    run(
        """
@pytest.mark.prebuild_emulator(strict_projects=True, projects=[Project(id=PROJECT)], plan=Plan(pending=1000))
def test_marked(emulator):
    prebuild = emulator.client.prebuilds.create(project_id=PROJECT).prebuild
    emulator.advance(999)
    found = emulator.client.prebuilds.retrieve(prebuild_id=prebuild.id).prebuild
    assert found.status.phase == "PREBUILD_PHASE_PENDING"
    with pytest.raises(Exception, match="there is no project"):
        emulator.client.prebuilds.create(project_id=PROJECT[::-1].replace("-", "", 4)[:8] + PROJECT[8:])

@pytest.mark.prebuild_emulator(relaxed_ids=True)
class TestClass:
    @pytest.mark.prebuild_emulator(plan=Plan(pending=1))
    def test_both_count(self, prebuild_emulator):
        prebuild_emulator.client.prebuilds.create(project_id="any id")
        assert prebuild_emulator.control.plan().pending == 1
""",
        passed=3,
    )


def test_a_marker_with_a_mistake_is_refused(run):
    result = run(
        """
@pytest.mark.prebuild_emulator(strict_project=True)
def test_typo(prebuild_emulator):
    pass

@pytest.mark.prebuild_emulator(True)
def test_positional(prebuild_emulator):
    pass
""",
        errors=2,
    )
    result.stdout.fnmatch_lines(
        ["*does not know strict_project: it takes plan, strict_projects,*", "*takes keywords only*"]
    )


def test_the_plugin_loads_nothing_before_it_is_used():
    program = "import sys, pytest, pytest_prebuilds; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pytest_prebuilds" in loaded
    assert not loaded & {
        "prebuilds",
        "prebuild_api",
        "prebuild_wire",
        "httpx",
        "pydantic",
        "starlette",
        "uvicorn",
        "google",
    }
