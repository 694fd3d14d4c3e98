"""Does what a reader of a page does: saves files, types Python, and runs commands."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.cli.conftest import CLASS, PROJECT, Run, Service

from .samples import ROOT, Block

BLOCKING = {"contract", "demo", "emulator"}
"""Commands that run for long. Their arguments are parsed, and the tests of these commands run them."""

MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@contextmanager
def suppress_success() -> Iterator[None]:
    """Take `sys.exit(0)` for the end of a script."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"the script ended with {end.code!r}") from end


class Reader:
    """Follows a page from top to bottom."""

    def __init__(self, service: Service, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = service
        self.cli = cli
        self.monkeypatch = monkeypatch
        self.session: dict[str, Any] = {"__name__": "__main__"}
        self.variables = {"PROJECT": PROJECT, "CLASS": CLASS, "ID": service.completed()}
        pool = service.client.prebuilds.create_warm_pool(project_id=PROJECT, environment_class_id=CLASS, min_size=1)
        self.variables["POOL"] = str(pool.warm_pool.id)

    def follow(self, block: Block) -> None:
        if block.title is not None:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.language == "console":
            for command in block.commands:
                self.run(command)
        elif block.language == "python" and block.title is None and not block.is_test:
            code = "\n" * block.line + block.text
            exec(compile(code, ROOT / block.page, "exec", dont_inherit=True), self.session)
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "json":
            json.loads(block.text)

    def run(self, command: str) -> None:
        written = ""
        for part in command.split(" | "):
            text = re.sub(r"\$([A-Z_]+)", lambda match: self.variables.get(match[1], match[0]), part)
            path, *arguments = shlex.split(text)
            program = path.rpartition("/")[2]
            assert program in PROGRAMS, f"the test does not know how to check {command!r}"
            written = PROGRAMS[program](self, arguments, written)

    def run_prebuilds(self, arguments: list[str], stdin: str) -> str:
        with self.monkeypatch.context() as patch:
            if arguments[0] in BLOCKING:
                patch.setattr(click.Command, "invoke", lambda self, context: 0)
            done = self.cli(*arguments, stdin=stdin)
        assert done.code == 0, (arguments, done.err)
        return done.out

    def run_python(self, arguments: list[str], stdin: str) -> str:
        if arguments and arguments[0].endswith(".py"):
            path = Path(arguments[0])
            with self.monkeypatch.context() as patch:
                patch.setattr(sys, "argv", arguments)
                # A script that fails ends with an exit code, which fails the test.
                with suppress_success():
                    runpy.run_path(str(path if path.exists() else ROOT / path), run_name="__main__")
        return ""

    def run_curl(self, arguments: list[str], stdin: str) -> str:
        urls = [re.sub(r"^http://127\.0\.0\.1:8080", self.service.url, each) for each in arguments]
        done = subprocess.run(
            ["curl", "-fsS", *urls], input=stdin, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def check_make(self, arguments: list[str], stdin: str) -> str:
        assert {each for each in arguments if "=" not in each} <= MAKE_TARGETS, arguments
        return ""

    def check_pip(self, arguments: list[str], stdin: str) -> str:
        named = re.findall(r"[a-z]+", "".join(re.findall(r"\[(.*?)\]", " ".join(arguments))))
        assert set(named) <= set(EXTRAS), arguments
        return ""

    def skip(self, arguments: list[str], stdin: str) -> str:
        return ""


PROGRAMS: dict[str, Callable[[Reader, list[str], str], str]] = {
    "prebuilds": Reader.run_prebuilds,
    "python": Reader.run_python,
    "curl": Reader.run_curl,
    "make": Reader.check_make,
    "pip": Reader.check_pip,
    # `test_the_sample_tests_pass` runs the tests.
    **dict.fromkeys(("cd", "eval", "export", "git", "mkdir", "pytest"), Reader.skip),
}
