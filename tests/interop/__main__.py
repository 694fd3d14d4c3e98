"""Runs the vendor's clients, each in an environment of its own, against the emulator: `python -m tests.interop`."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-interop"
SCRIPTS = {"gitpod-sdk-0.11.0": "gitpod_sdk_0_11.py", "gitpod-sdk-1.2.0": "gitpod_sdk_1_2.py"}


def main():
    failed = []
    with emulator() as url:
        for environment, script in SCRIPTS.items():
            print(f"{environment}:", flush=True)
            python = ENVIRONMENTS / environment / "bin" / "python"
            command = [python, "-m", "pytest", "-q", "-c", HERE / "pytest.ini", HERE / script]
            # None of the settings of whoever runs this is to reach the clients.
            kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
            if subprocess.run(command, env={**kept, "PREBUILDS_EMULATOR_URL": url}, check=False).returncode:
                failed.append(environment)
    if failed:
        sys.exit(f"the emulator does not get along with {', '.join(failed)}")


@contextmanager
def emulator():
    """An emulator in a process of its own, and its URL."""
    # A prebuild takes about half a second: long enough to be cancelled, short enough to be waited for.
    options = ["--port", "0", "--log", "none", "--speed", "500", "--token", "writer", "--read-only-token", "reader"]
    command = [sys.executable, "-m", "prebuilds", "emulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            if not line:
                sys.exit("the emulator does not start")
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()
            code = process.wait(timeout=5)
    if code:
        sys.exit(f"the emulator ended with exit code {code}")


if __name__ == "__main__":
    main()
