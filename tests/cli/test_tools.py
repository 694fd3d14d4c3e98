"""The command `prebuilds`, run as a person runs it: as a process of its own, or in this one where that says as much."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from prebuilds import PrebuildClient, UnauthenticatedError
from prebuilds.cli import demo, main
from prebuilds.emulator import EmulatorServer, ManualClock

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
OTHER_PROJECT = "1f3c4c1e-54a5-4a0e-9a6f-30f7a4c2a7d1"
VARIABLES = ("GITPOD_API_KEY", "ONA_API_KEY", "ONA_TOKEN", "GITPOD_BASE_URL", "ONA_BASE_URL")


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return clean | more


def prebuilds(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prebuilds", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def prebuilds_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in this process, which is quicker."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo looks often."""
    for name in ("EMULATED", "REAL"):
        monkeypatch.setattr(demo, name, replace(getattr(demo, name), interval=0.001))


class Ticking(ManualClock):
    """Each look takes a second, so that a service is as fast as it is looked at, and no phase can be missed."""

    def now(self) -> datetime:
        self.advance(1)
        return super().now()


@pytest.fixture
def service() -> Iterator[PrebuildClient]:
    """A service that stands for somebody's own."""
    with EmulatorServer(clock=Ticking()) as server, PrebuildClient(base_url=server.url, bearer_token="t") as client:
        yield client


def url(client: PrebuildClient) -> str:
    return str(client.base_url)


def running(parent: int) -> list[int]:
    """The children of a process; none where there is no /proc."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def test_the_version_is_that_of_the_distribution():
    done = prebuilds("--version")
    assert (done.returncode, done.stdout) == (0, "prebuilds 0.1.0\n")


def test_the_emulator_serves_until_it_is_told_to_end():
    command = [sys.executable, "-m", "prebuilds", "emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            found = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
            with PrebuildClient(base_url=found[1], bearer_token="t") as client:
                assert client.prebuilds.list().prebuilds == []
        finally:
            process.terminate()
        assert process.wait(timeout=10) == 0


def test_the_emulator_takes_the_tokens_it_is_given_and_shows_none():
    tokens = ["--token", "first", "--token", "second", "--read-only-token", "reader"]
    command = [sys.executable, "-m", "prebuilds", "emulator", *tokens]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().removeprefix("listening on ").strip()
            for token in ("first", "second", "reader"):
                with PrebuildClient(base_url=url, bearer_token=token) as client:
                    assert client.prebuilds.list().prebuilds == []
            with PrebuildClient(base_url=url, bearer_token="third") as client, pytest.raises(UnauthenticatedError):
                client.prebuilds.list()
        finally:
            process.terminate()
        assert not re.search("first|second|reader", process.stderr.read())


def test_an_emulator_that_cannot_take_a_token_says_so():
    done = prebuilds("emulator", "--token", "two words")
    assert (done.returncode, done.stdout) == (2, "")
    assert "token" in done.stderr
    assert "two words" not in done.stderr


def test_an_emulator_that_cannot_listen_says_so_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = prebuilds("emulator", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def check_story(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    for phase in ("STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "COMPLETED"):
        assert re.search(rf"^ +\d+\.\d s  {phase}$", done.stdout, flags=re.MULTILINE)
    assert "page 3" in done.stdout
    assert re.search(r"READY .* snapshot [0-9a-f-]{36}$", done.stdout, flags=re.MULTILINE)
    assert "2..4 instances" in done.stdout


def test_the_demo_tells_its_story_in_plain_lines(prebuilds_here, impatient, service, monkeypatch):
    monkeypatch.setattr(demo, "_emulator", lambda: nullcontext(url(service)))
    check_story(prebuilds_here("demo"))
    left = [each.spec.desired_phase for each in service.prebuilds.list()]
    assert set(left) == {"PREBUILD_PHASE_DELETED"}


def test_the_demo_runs_an_emulator_of_its_own_and_ends_it(prebuilds_here, monkeypatch):
    monkeypatch.setattr(demo, "SPEED", 2000)
    before = running(os.getpid())
    # A proxy has no way to this machine.
    done = prebuilds_here("demo", HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="socks5://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Everything that was created is deleted again" in done.stdout
    assert running(os.getpid()) == before


@pytest.mark.campaign
def test_the_demo_tells_its_story_in_time():
    began = time.monotonic()
    check_story(prebuilds("demo"))
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_no_emulator_behind(number: signal.Signals):
    process = subprocess.Popen(
        [sys.executable, "-m", "prebuilds", "demo"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell runs in the background does not heed it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  one thread
    )
    with process:
        while "created" not in process.stdout.readline():
            assert process.poll() is None
        (emulator,) = running(process.pid)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode not in (0, -number)
    assert "Traceback" not in errors
    assert not Path(f"/proc/{emulator}").exists()


@pytest.mark.parametrize("given", ["options", "environment"])
def test_on_a_service_of_ones_own_the_demo_only_reads(prebuilds_here, service: PrebuildClient, given: str):
    made = service.prebuilds.create(project_id=PROJECT, spec={}).prebuild
    if given == "options":
        done = prebuilds_here("demo", "--base-url", url(service), "--token-env", "MINE", MINE="t")
    else:
        done = prebuilds_here("demo", ONA_BASE_URL=url(service), ONA_TOKEN="t")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Reading from {url(service)}" in done.stdout
    assert made.id in done.stdout
    assert [each.id for each in service.prebuilds.list()] == [made.id]
    assert list(service.prebuilds.list_warm_pools()) == []


def create_on(service: PrebuildClient, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Run the demo on a service, with leave to create, and see that it leaves nothing."""
    kept = service.prebuilds.create(project_id=OTHER_PROJECT, spec={}).prebuild
    done = run("demo", "--base-url", url(service), "--create", "--project", PROJECT, GITPOD_API_KEY="t")
    assert (done.returncode, done.stderr) == (0, "")
    assert "COMPLETED" in done.stdout
    phases = {each.id: str(each.status.phase) for each in service.prebuilds.list()}
    assert "DELET" not in phases.pop(kept.id)
    assert all("DELET" in phase for phase in phases.values())
    assert all("DELET" in str(each.status.phase) for each in service.prebuilds.list_warm_pools())


def test_told_to_create_it_deletes_what_it_created_and_nothing_else(prebuilds_here, impatient, service: PrebuildClient):
    create_on(service, prebuilds_here)


@pytest.mark.campaign
def test_told_to_create_a_process_of_its_own_deletes_what_it_created():
    with EmulatorServer(speed=100) as server, PrebuildClient(base_url=server.url, bearer_token="t") as service:
        create_on(service, prebuilds)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "reason"),
    [
        (["--base-url", "http://127.0.0.1:1"], {}, 4, "there is no token"),
        (["--base-url", "http://127.0.0.1:1", "--token-env", "MINE"], {}, 4, "set MINE"),
        (["--base-url", "http://127.0.0.1:1", "--create"], {"ONA_TOKEN": "t"}, 2, "add --project"),
        (["--create"], {}, 2, "add --base-url"),
        (["--base-url", "http://127.0.0.1:1"], {"ONA_TOKEN": "t"}, 1, "127.0.0.1:1"),
        (["--base-url", "ftp://example.test"], {"ONA_TOKEN": "t"}, 2, "ftp://example.test"),
    ],
)
def test_a_demo_that_cannot_run_says_why_in_a_line_and_a_hint(
    prebuilds_here, arguments: list[str], variables: dict[str, str], code: int, reason: str
):
    done = prebuilds_here("demo", *arguments, **variables)
    assert done.returncode == code
    assert done.stderr.startswith("prebuilds: ")
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_process_ends_with_the_code_of_what_went_wrong():
    assert prebuilds("no-such-command").returncode == 2
    done = prebuilds("demo", "--create")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)


def test_a_fault_in_our_own_code_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "prebuilds.cli.app", None)
    with pytest.raises(ImportError, match="prebuilds.cli.app"):
        main(["--version"])


def test_the_demo_needs_no_unicode(service: PrebuildClient, impatient, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(demo, "_emulator", lambda: nullcontext(url(service)))

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    terminal = Terminal(io.BytesIO(), encoding="cp1252")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert main(["demo"]) == 0
    terminal.flush()
    assert b"Everything that was created is deleted again" in terminal.buffer.getvalue()
