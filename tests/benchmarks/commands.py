"""How long commands take to start."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from .measure import Row, medians
from .servers import emulator, post

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
LISTING = """
from prebuilds import PrebuildClient
with PrebuildClient(engine="fast") as client:
    for prebuild in client.prebuilds.list():
        print(prebuild.id, prebuild.status.phase)
"""


def commands() -> list[Row]:
    """`prebuilds --help` against the import of click, and `prebuilds list` against a script that does the same."""
    with emulator() as port:
        for _ in range(20):
            post(port, "CreatePrebuild", {"projectId": PROJECT, "spec": {}})
        address = f"http://127.0.0.1:{port}"
        shown, click = medians(_run("-m", "prebuilds", "--help"), _run("-c", "import click"), rounds=15, warm_up=2)
        listed, script = medians(
            _run("-m", "prebuilds", "list", address=address), _run("-c", LISTING, address=address), rounds=15, warm_up=2
        )
    return [
        Row("prebuilds --help", shown, "import click", click, target=1.6),
        Row("prebuilds list", listed, "a script that lists", script, target=1.3),
    ]


def _run(*arguments: str, address: str = "") -> Callable[[], float]:
    environment = {**os.environ, "GITPOD_API_KEY": "somebody", "GITPOD_BASE_URL": address}

    def side() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
        return time.perf_counter() - begin

    return side
