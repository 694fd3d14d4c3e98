"""The emulator as a program of its own."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from .driver import SERVICE

PATIENCE = 30

_PROGRAM = """
import sys
from pathlib import Path
from prebuilds.emulator.server import run
host, port, speed, data = sys.argv[1:]
sys.exit(run(host=host, port=int(port), speed=float(speed), data=Path(data) if data else None))
"""


def start(data: Path | str = "", host="127.0.0.1", port=0, speed=60.0, command=()) -> subprocess.Popen[str]:
    """The program, which may not be serving yet. It is run by `command`, if that is given."""
    process = subprocess.Popen(
        [*command, sys.executable, "-c", _PROGRAM, host, str(port), str(speed), str(data)],
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


def launch(data: Path | str = "", host="127.0.0.1", port=0, speed=60.0) -> Program:
    process = start(data, host, port, speed)
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


def post(url, method, body):
    response = httpx.post(f"{url}{SERVICE}/{method}", json=body, headers={"Authorization": "Bearer somebody"})
    assert response.status_code == 200, response.text
    return response.json()
