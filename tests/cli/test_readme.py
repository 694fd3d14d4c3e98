"""The commands of the README run as they stand, against the emulator."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from .conftest import PROJECT, Run, Service

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## From the shell\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)


def test_the_commands_of_the_readme_succeed(cli: Run, service: Service, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = SECTION[1]
    (declared,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    Path("pools.yaml").write_text(declared)
    Path("projects.txt").write_text(PROJECT)
    values = {"$PROJECT": PROJECT, "$ID": service.completed()}
    commands = re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        written = ""
        for part in command.split(" | "):
            for name, value in values.items():
                part = part.replace(name, value)
            program, *arguments = shlex.split(part)
            assert program == "prebuilds"
            done = cli(*arguments, stdin=written)
            assert done.code == 0, (part, done.err)
            written = done.out
