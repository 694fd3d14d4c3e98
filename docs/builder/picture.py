"""Draw the README's picture: `python -m docs.builder.picture` runs commands on a terminal and saves what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from prebuilds import PrebuildClient
from prebuilds.emulator import EmulatorControl, EmulatorServer, ManualClock, Outcome

PICTURE = Path(__file__).parents[1] / "assets" / "demo.svg"
WIDTH = 100
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
CLASS = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
COMMANDS = (
    ("list", "-p", PROJECT),
    ("status", PROJECT, "--max-age", "26h"),
    ("warm-pool", "ensure", PROJECT, "--class", CLASS, "--min", "1", "--max", "3"),
)


def main() -> None:
    """Prepare an emulator, run the commands, and write the picture."""
    pauses = (5000, 3000, 400, 130, 0)
    clock = ManualClock(datetime.now(UTC) - timedelta(seconds=sum(pauses)))
    with (
        EmulatorServer(clock=clock) as server,
        EmulatorControl(server.url) as control,
        PrebuildClient("any-token", base_url=server.url) as client,
    ):
        control.plan_outcome(Outcome(warning="the dev container did not build"))
        control.plan_outcome(Outcome(fails_in="RUNNING", message="no space left on device"))
        for pause in pauses:
            client.prebuilds.create(project_id=PROJECT, environment_class_id=CLASS)
            clock.advance(pause)
        screen = "".join(f"\x1b[1m$ prebuilds {_typed(each)}\x1b[0m\n{run(each, server.url)}\n" for each in COMMANDS)
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen.rstrip()))
    PICTURE.parent.mkdir(exist_ok=True)
    # Without the fonts, which the usual picture fetches from another host.
    style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    PICTURE.write_text(console.export_svg(title="prebuilds", code_format=style), encoding="utf-8")


def _typed(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments).replace(PROJECT, "$PROJECT").replace(CLASS, "$CLASS")


def run(arguments: tuple[str, ...], url: str) -> str:
    """What a command shows on a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
    environment = os.environ | {"GITPOD_BASE_URL": url, "GITPOD_API_KEY": "any-token", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "prebuilds", *arguments]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603  our own commands
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # the terminal's other end is closed
        pass
    process.wait()
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


if __name__ == "__main__":
    main()
