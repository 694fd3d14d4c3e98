"""The emulator as a program of its own."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from .driver import NO_CERTIFICATES, SERVICE

PATIENCE = 30

SOON = 5
"""So many seconds a program may take that takes less than one: the machine may be busy with other tests."""

_PROGRAM = """
import sys
from pathlib import Path
from prebuilds.emulator.server import run
host, port, speed, data, files = sys.argv[1:]
if int(files):
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))
sys.exit(run(host=host, port=int(port), speed=float(speed), data=Path(data) if data else None))
"""


def start(data: Path | str = "", host="127.0.0.1", port=0, speed=60.0, command=(), files=0) -> subprocess.Popen[str]:
    """The program, which may not be serving yet.

    `command` runs it, if that is given. `files` limits the number of its open files.
    """
    process = subprocess.Popen(
        [*command, sys.executable, "-c", _PROGRAM, host, str(port), str(speed), str(data), str(files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    # A test that fails does not come to stop it.
    atexit.register(process.kill)
    return process


@dataclass
class Program:
    """The program, once it listens."""

    process: subprocess.Popen[str]
    line: str

    @property
    def url(self) -> str:
        return self.line.split()[-1]


def launch(data: Path | str = "", host="127.0.0.1", port=0, speed=60.0, files=0) -> Program:
    process = start(data, host, port, speed, files=files)
    line = process.stdout.readline()
    if not line.startswith("listening on http://"):
        process.kill()
        raise AssertionError(process.communicate())
    return Program(process, line)


@dataclass
class Ended:
    code: int
    seconds: float
    out: str
    err: str


def stop(program: Program, number=signal.SIGTERM) -> Ended:
    begin = time.monotonic()
    program.process.send_signal(number)
    out, err = program.process.communicate(timeout=PATIENCE)
    return Ended(program.process.returncode, time.monotonic() - begin, out, err)


def exit_code(call: Callable[[], int]) -> int:
    """What a call returns that has to end by itself, as the program does that cannot start.

    In a thread of its own, so that a server that starts after all fails the test rather than keeping it.
    """
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(call()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    (code,) = codes
    return code


def refused(capsys: pytest.CaptureFixture[str], call: Callable[[], int]) -> str:
    """The one line that says why the program did not start."""
    assert exit_code(call) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def post(url, method, body):
    headers = {"Authorization": "Bearer somebody"}
    address = f"{url}{SERVICE}/{method}"
    response = httpx.post(address, json=body, headers=headers, timeout=PATIENCE, verify=NO_CERTIFICATES)
    assert response.status_code == 200, response.text
    return response.json()
