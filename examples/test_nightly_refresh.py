"""A test suite for an automation: `nightly_refresh.py` against the emulator, with failures that the tests plan.

pytest examples
"""

from __future__ import annotations

import pytest

from nightly_refresh import refresh
from prebuilds.emulator import ConnectCode, DropFault, ErrorFault, Outcome
from pytest_prebuilds import PrebuildEmulator

PROJECTS = ["b0e12f6c-4c67-429d-a4a6-d9838b5da047", "1f3c4c1e-54a5-4a0e-9a6f-30f7a4c2a7d1"]


def created(emulator: PrebuildEmulator) -> int:
    return sum(request.method == "CreatePrebuild" for request in emulator.control.requests())


def test_each_project_gets_a_prebuild(prebuild_emulator: PrebuildEmulator) -> None:
    assert refresh(prebuild_emulator.client, PROJECTS, prebuild_emulator.now) == 0
    assert created(prebuild_emulator) == 2
    assert refresh(prebuild_emulator.client, PROJECTS, prebuild_emulator.now) == 0
    assert created(prebuild_emulator) == 2  # both projects are fresh now


def test_one_failure_does_not_stop_the_others(
    prebuild_emulator: PrebuildEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    prebuild_emulator.control.plan_outcome(Outcome(fails_in="RUNNING", message="no space left"), project_id=PROJECTS[0])
    assert refresh(prebuild_emulator.client, PROJECTS, prebuild_emulator.now) == 1
    output = capsys.readouterr()
    assert PROJECTS[1] in output.out
    assert "no space left" in output.err


def test_a_prebuild_that_hangs_ends_the_wait(prebuild_emulator: PrebuildEmulator) -> None:
    prebuild_emulator.control.plan_outcome(Outcome(stalls_in="STARTING"), project_id=PROJECTS[0])
    assert refresh(prebuild_emulator.client, PROJECTS, prebuild_emulator.now) == 1


def test_a_rate_limit_delays_the_creates(prebuild_emulator: PrebuildEmulator) -> None:
    prebuild_emulator.control.plan_fault(
        ErrorFault(method="CreatePrebuild", code=ConnectCode.RESOURCE_EXHAUSTED, retry_after=5)
    )
    assert refresh(prebuild_emulator.client, PROJECTS, prebuild_emulator.now) == 0
    assert created(prebuild_emulator) == 3  # one of them was rejected


def test_a_broken_connection_during_the_wait_is_harmless(prebuild_emulator: PrebuildEmulator) -> None:
    prebuild_emulator.control.plan_fault(DropFault(method="ListPrebuilds", after=3))
    assert refresh(prebuild_emulator.client, PROJECTS, prebuild_emulator.now) == 0
