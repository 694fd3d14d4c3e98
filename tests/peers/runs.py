"""Runs one measurement, each time in a process of its own, with the interpreter of the side's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from .goals import ROWS, Figures
from .server import CERTIFICATE, ROOT, Server
from .starting import PROGRAMS

CLIENTS = Path(__file__).parent / "clients"

STAINLESS = ROOT / ".venv-interop" / "gitpod-sdk-0.11.0" / "bin" / "python"
CONNECT = ROOT / ".venv-interop" / "gitpod-sdk-1.2.0" / "bin" / "python"
OURS = ROOT / ".venv-peers" / "bin" / "python"

SCRIPTS = {
    "stainless": (STAINLESS, "stainless.py"),
    "connect": (CONNECT, "connect.py"),
    "connect-plain": (CONNECT, "connect.py"),
    "connect-raw": (CONNECT, "connect.py"),
    "bare": (OURS, "bare.py"),
    "default": (OURS, "ours.py"),
    "fast": (OURS, "ours.py"),
}
"""The interpreter and the script of each side."""

TOP = 25
"""How many modules the profile of the start lists."""


def check_environments() -> None:
    """End the program if a client is not installed."""
    missing = [str(python.relative_to(ROOT)) for python in (STAINLESS, CONNECT, OURS) if not python.exists()]
    if missing:
        sys.exit(f"There is no {' and no '.join(missing)}. `make peers` sets up what is missing.")


def why_not_fast(server: Server) -> str:
    """Why our client has no fast engine here; empty if it has one."""
    done = _run([OURS, "-c", PROGRAMS["fast"], server.url])
    if done.returncode == 0:
        return ""
    error = done.stderr.strip().rpartition("\n")[2]
    # Anything else is a failure of the engine, which must not pass for its absence.
    absent = ("unexpected keyword argument 'engine'", "ImportError", "ModuleNotFoundError", "ConfigurationError")
    if not any(each in error for each in absent):
        sys.exit(f"the fast engine fails:\n{done.stderr}")
    return error


def measured(name: str, sides: list[str], server: Server, rounds: int) -> Figures:
    """The seconds that each side of a row needs, once for each round.

    A busy moment of the machine hits all sides of a round. The order rotates, so that no side always follows another.
    """
    found: dict[str, list[float]] = {side: [] for side in sides}
    read: dict[str, object] = {}
    if ROWS[name].call:
        measure = partial(_cpu_seconds, name, server=server)
    else:
        measure = partial(_seconds_to_start, server=server)
        for side in sides:
            measure(side)  # compiles our modules, as pip does for those that it installs
    for turn in range(rounds):
        for step in range(len(sides)):
            side = sides[(turn + step) % len(sides)]
            seconds, read[side] = measure(side)
            found[side].append(seconds)
    # A comparison of clients that read different things would mean nothing.
    assert len({json.dumps(each) for each in read.values()}) == 1, f"the clients do not read the same: {read}"
    return found


def profile(name: str, side: str, server: Server) -> str:
    """Where the time of a side goes: the functions, or the modules of a start, that take most of it by themselves.

    This is wall time, so the functions that wait for the server take more than their CPU time.
    """
    if ROWS[name].call:
        return _run_script(name, side, server, "--profile")
    python, _ = SCRIPTS[side]
    report = _checked([python, "-X", "importtime", "-c", PROGRAMS[side], server.url]).stderr
    heading, *modules = (line.removeprefix("import time:") for line in report.splitlines() if "import time:" in line)
    # In microseconds: those of the module alone stand first.
    modules.sort(key=_own_time, reverse=True)
    total = sum(map(_own_time, modules)) / 1000
    return "\n".join([f"{len(modules)} modules take {total:.0f} ms to import", heading, *modules[:TOP], ""])


def _own_time(line: str) -> int:
    return int(line.partition("|")[0])


def _cpu_seconds(name: str, side: str, *, server: Server) -> tuple[float, object]:
    """The CPU seconds of a call, and what was read."""
    found = json.loads(_run_script(name, side, server))
    return found["seconds"], found["read"]


def _run_script(name: str, side: str, server: Server, *options: str) -> str:
    row, (python, script) = ROWS[name], SCRIPTS[side]
    url = server.tls_url if row.tls else server.url
    return _checked([python, CLIENTS / script, row.call, side, url, *options], trust=row.tls).stdout


def _seconds_to_start(side: str, *, server: Server) -> tuple[float, object]:
    """The seconds from the start of an interpreter to the first response, and what was read."""
    python, _ = SCRIPTS[side]
    command = [python, "-c", PROGRAMS[side], server.url]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - begin
    # The exit code does not matter: now and then the threads of pyqwest abort the process at its end.
    if not line:
        sys.exit(f"the first call of {side} failed")
    return seconds, line.strip()


def _checked(command: list[str | Path], *, trust: bool = False) -> subprocess.CompletedProcess[str]:
    done = _run(command, trust=trust)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with exit code {done.returncode}:\n{done.stderr}")
    return done


def _run(command: list[str | Path], *, trust: bool = False) -> subprocess.CompletedProcess[str]:
    environment = _environment() | ({"SSL_CERT_FILE": str(CERTIFICATE)} if trust else {})
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _environment() -> dict[str, str]:
    """None of the settings of whoever runs this reaches the clients, which would see proxies and tokens there."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
