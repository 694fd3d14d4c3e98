"""The README's Python samples run, against the emulator, as they stand."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from prebuilds import PrebuildClient
from prebuilds.emulator import EmulatorServer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_samples():
    assert len(SAMPLES) >= 4


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_a_sample_runs(sample, monkeypatch):
    with EmulatorServer(speed=3000) as server:
        monkeypatch.setenv("GITPOD_API_KEY", "anything")
        monkeypatch.setenv("GITPOD_BASE_URL", server.url)
        with PrebuildClient() as client:
            names: dict[str, Any] = {"client": client, "project": "b0e12f6c-4c67-429d-a4a6-d9838b5da047"}
            code = compile(sample, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            outcome = eval(code, names)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
