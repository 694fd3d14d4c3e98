"""Runs commands in this process, against an emulator whose time passes when a command sleeps."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import random
import re
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prebuilds import PrebuildClient
from prebuilds.cli.app import run
from prebuilds.emulator import EmulatorControl, EmulatorServer, ManualClock
from prebuilds.flows.effects import Runtime

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
OTHER = "1f3c4c1e-54a5-4a0e-9a6f-30f7a4c2a7d1"
CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
MISSING = "00000000-0000-4000-8000-000000000000"
TOKEN = "secret-token-0123456789"

CLEARED = (
    *("GITPOD_API_KEY", "ONA_API_KEY", "ONA_TOKEN", "GITPOD_BASE_URL", "ONA_BASE_URL", "NO_COLOR", "COLUMNS"),
    *("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"),
)
_MOVES = re.compile(r"\r+\n|\r|\x1b\[[0-9;]*[A-HJK]")
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|.)")


@dataclass
class Service:
    """An emulator, and the time that it lives in."""

    url: str
    clock: ManualClock
    control: EmulatorControl
    client: PrebuildClient
    runtime: Runtime

    def create(self, project: str = PROJECT, environment_class: str = CLASS) -> str:
        created = self.client.prebuilds.create(project_id=project, environment_class_id=environment_class)
        return str(created.prebuild.id)

    def completed(self, project: str = PROJECT, environment_class: str = CLASS) -> str:
        made = self.create(project, environment_class)
        self.clock.advance(600)
        return made

    def phase(self, prebuild: str) -> str:
        return self.client.prebuilds.retrieve(prebuild_id=prebuild).prebuild.status.phase.name

    def writes(self) -> list[str]:
        """The methods of the latest requests that may change something."""
        return [
            each.method or "" for each in self.control.requests(1000) if not re.match("Get|List", each.method or "")
        ]


@pytest.fixture(scope="module")
def shared() -> Iterator[Service]:
    clock = ManualClock()
    begin = clock.now()

    def seconds() -> float:
        return (clock.now() - begin).total_seconds()

    def sleep(pause: float) -> None:
        clock.advance(pause + 1e-6)

    runtime = Runtime(
        clock=seconds,
        now=lambda: clock.now().timestamp(),
        uniform=random.Random(1).uniform,
        sleep=sleep,
        async_sleep=clock.async_sleep,
    )
    with (
        EmulatorServer(clock=clock) as server,
        EmulatorControl(server.url) as control,
        PrebuildClient(TOKEN, base_url=server.url, _runtime=runtime) as client,
    ):
        yield Service(server.url, clock, control, client, runtime)


@pytest.fixture
def service(shared: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The emulator as new. The environment names it."""
    for name in CLEARED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("GITPOD_API_KEY", TOKEN)
    monkeypatch.setenv("GITPOD_BASE_URL", shared.url)
    shared.control.reset()
    return shared


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def plain(self) -> str:
        """What a terminal shows, without colours."""
        return _ESCAPES.sub("", _MOVES.sub("\n", self.out))


Run = Callable[..., Done]


@pytest.fixture
def cli(service: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with pipes."""

    def call(*arguments: str, stdin: str = "", encoding: str = "utf-8") -> Done:
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = run(arguments, service.runtime)
        written = []
        for stream in streams.values():
            stream.flush()
            written.append(stream.buffer.getvalue().decode(encoding))  # type: ignore[attr-defined]
        return Done(code, *written)

    return call


class Terminal:
    """A real pseudo-terminal, and what it has been sent."""

    def __init__(self, columns: int, encoding: str, typed: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._received = b""
        self._encoding = encoding
        self.streams: dict[str, Any] = {
            "stdin": os.fdopen(os.dup(slave), encoding=encoding),
            "stdout": os.fdopen(os.dup(slave), "w", encoding=encoding),
            "stderr": os.fdopen(os.dup(slave), "w", encoding=encoding),
        }
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if typed:
            os.write(self._master, typed.encode())

    def _read(self) -> None:
        while True:
            try:
                self._received += os.read(self._master, 65536)
            except OSError:  # the other end is closed
                return

    def close(self) -> str:
        for stream in self.streams.values():
            stream.close()
        self._reader.join(timeout=10)
        os.close(self._master)
        return self._received.decode(self._encoding)


@pytest.fixture
def terminal(service: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a terminal, where both outputs are one."""

    def call(*arguments: str, columns: int = 80, encoding: str = "utf-8", typed: str = "") -> Done:
        device = Terminal(columns, encoding, typed)
        with monkeypatch.context() as patch:
            for name, stream in device.streams.items():
                patch.setattr(sys, name, stream)
            code = run(arguments, service.runtime)
        return Done(code, device.close(), "")

    return call


@pytest.fixture
def pools_file(tmp_path: Path) -> Callable[[str], str]:
    """Writes the YAML file of `warm-pool apply`."""

    def write(text: str) -> str:
        path = tmp_path / "pools.yaml"
        path.write_text(text)
        return str(path)

    return write
