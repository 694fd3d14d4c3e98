"""The README's Python samples run, against the emulator, as they stand; and type checkers read them.

python -m tests.test_readme     writes tests/typing/readme.py anew
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from prebuilds import PrebuildClient
from prebuilds.emulator import EmulatorServer

ROOT = Path(__file__).parents[1]
SAMPLES: list[str] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
TYPED = ROOT / "tests" / "typing" / "readme.py"

# The names that a sample finds there, beside what it imports and defines.
NAMES = "client: PrebuildClient, project: str, prebuild: Prebuild"


def test_there_are_samples():
    assert len(SAMPLES) >= 4


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_a_sample_runs(sample, monkeypatch):
    project = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
    with EmulatorServer(speed=3000) as server:
        monkeypatch.setenv("GITPOD_API_KEY", "anything")
        monkeypatch.setenv("GITPOD_BASE_URL", server.url)
        with PrebuildClient() as client:
            prebuild = client.prebuilds.create(project_id=project, spec={}).prebuild
            names: dict[str, Any] = {"client": client, "project": project, "prebuild": prebuild}
            code = compile(sample, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            outcome = eval(code, names)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)


def test_type_checkers_read_the_samples():
    assert TYPED.read_text(encoding="utf-8") == typed_samples(), f"{TYPED.name} is old: python -m tests.test_readme"


def typed_samples() -> str:
    """A module with a function for each sample."""
    text = (
        '"""The README\'s samples, for type checkers. Written by `python -m tests.test_readme`; never run."""\n\n'
        "# pyright: reportUnusedVariable=false\n\n"
        "from __future__ import annotations\n\n"
        "from prebuilds import Prebuild, PrebuildClient\n"
    )
    for number, sample in enumerate(SAMPLES):
        keyword = "async def" if re.search(r"\b(async|await)\b", sample) else "def"
        parameters = ", ".join(
            each for each in NAMES.split(", ") if not re.search(rf"\bas {each.partition(':')[0]}\b", sample)
        )
        text += f"\n\n{keyword} sample_{number}({parameters}) -> None:\n{textwrap.indent(sample, '    ')}"
    return text


if __name__ == "__main__":
    TYPED.write_text(typed_samples(), encoding="utf-8")
