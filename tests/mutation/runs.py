"""Runs of an area's tests: once with coverage, to learn which test runs which line, and once for each mutant."""

from __future__ import annotations

import ast
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from .areas import Area
from .mutants import Mutant

MEMORY = 6 * 2**30
"""Bytes of address space that the tests of a mutant may use: an endless loop must not take the machine."""

MAX_UNMEASURABLE = 5
"""So many tests may fail with coverage and be left out. More of them mean that something is broken."""

SPARE_SECONDS = 30.0
"""A run may take three times as long as without the mutant, and this much more."""

_COVERAGE = """\
[run]
branch = false
patch = subprocess
parallel = true
context = ${PYTEST_CURRENT_TEST-}
source =
    generated
    generator
    overlays
"""


def copy_project(root: Path, target: Path) -> None:
    """Copy the files of the project that git knows, or would know, without what it ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)


class Suite:
    """The tests of an area in a copy of the project, and what they run.

    Attributes:
        area: the area.
        root: the copy.
    """

    def __init__(self, area: Area, root: Path) -> None:
        self.area = area
        self.root = root
        self._by_line: dict[Path, defaultdict[int, set[str]]] = {}
        self._seconds: dict[str, float] = {}
        self._unmeasurable: set[str] = set()

    def measure(self) -> str | None:
        """Run all tests with coverage. Returns what they printed if they fail, which they must not.

        A few may fail for being measured, such as those that limit the size of files. They are left out.
        """
        (self.root / "coverage.ini").write_text(_COVERAGE, encoding="utf-8")
        options = ["--cov-config=coverage.ini", "--cov", "--cov-context=test", "--cov-report=", "--durations=0"]
        workers = ["--numprocesses", "auto", "--durations-min=0.001", "-vv"]
        done = self._run([*options, *workers, *self.area.tests], timeout=3600)
        self._unmeasurable = set(re.findall(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", done.output, re.MULTILINE))
        if done.code and not 0 < len(self._unmeasurable) <= MAX_UNMEASURABLE:
            return done.output
        for line in done.output.splitlines():
            parts = line.split(maxsplit=2)
            if len(parts) == 3 and parts[1] in ("call", "setup") and parts[0].endswith("s"):
                self._seconds[parts[2]] = self._seconds.get(parts[2], 0.0) + float(parts[0][:-1])
        data = CoverageData(str(self.root / ".coverage"))
        data.read()
        for file in data.measured_files():
            lines = self._by_line.setdefault(Path(file).relative_to(self.root), defaultdict(set))
            for line, contexts in data.contexts_by_lineno(file).items():
                lines[line] |= {_test_of(context) for context in contexts}
        return None

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run the changed statement, the quickest first; the area's folders if it runs on import."""
        lines = self._by_line.get(mutant.path, {})
        found: set[str] = set()
        for line in _statement(self.root / mutant.path, mutant.line):
            found |= lines.get(line, set())
        if "" in found or (not found and _runs_on_import(self.root / mutant.path, mutant.line)):
            # Run when a module is imported, maybe before coverage begins, or in a thread that belongs to no test.
            return list(self.area.tests)
        return sorted(found - self._unmeasurable, key=lambda test: (self._seconds.get(test, 0.0), test))

    def survives(self, mutant: Mutant, root: Path) -> Outcome:
        """Run the tests of a mutant in another copy of the project."""
        tests = self.tests_of(mutant)
        if not tests:
            return Outcome(True, 0, "no test runs this line")
        original = (root / mutant.path).read_text(encoding="utf-8")
        chosen = root / "mutation-tests.txt"
        chosen.write_text("\n".join(tests), encoding="utf-8")
        usual = sum(self._seconds.get(test, 0.01) for test in tests)
        if tests == list(self.area.tests):
            usual = sum(self._seconds.values())
        try:
            (root / mutant.path).write_text(mutant.code, encoding="utf-8")
            skipped = [f"--deselect={test}" for test in self._unmeasurable]
            done = self._run(
                ["-x", "-p", "no:randomly", *skipped, f"@{chosen}"], root, timeout=3 * usual + SPARE_SECONDS
            )
        finally:
            (root / mutant.path).write_text(original, encoding="utf-8")
        # 1: a test failed; 5: no test was collected. Anything else but 0 is a module that cannot be imported.
        return Outcome(done.code == 0, len(tests), "timed out" if done.code is None else _failure(done.output))

    def _run(self, arguments: list[str], root: Path | None = None, *, timeout: float) -> _Run:
        root = root or self.root
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(root / folder) for folder in ("generated", "overlays")),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(root / ".hypothesis"),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return _Run(None, output)
        return _Run(process.returncode, output)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        survived: whether all of its tests passed.
        tests: how many tests, or folders of tests, were chosen for it.
        why: the first test that failed, or another reason.
    """

    survived: bool
    tests: int
    why: str


@dataclass(frozen=True)
class _Run:
    code: int | None
    output: str


def _test_of(context: str) -> str:
    """The test that a context names: `id|run` as pytest-cov writes it, `id (call)` in the programs of a test."""
    return context.rpartition("|")[0] if "|" in context else context.rpartition(" (")[0]


def _statement(path: Path, line: int) -> range:
    """The lines of the innermost statement around a line: coverage counts a statement by its first line.

    Of a compound statement, a loop or a function say, only the lines before its body count.
    """
    best = range(line, line + 1)
    size = sys.maxsize
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            continue
        body = getattr(node, "body", None)
        start = min([getattr(node, "lineno", line), *(each.lineno for each in getattr(node, "decorator_list", []))])
        if isinstance(node, ast.match_case):
            start = node.pattern.lineno
        end = body[0].lineno - 1 if isinstance(body, list) and body else getattr(node, "end_lineno", start)
        if start <= line <= max(start, end) and end - start < size:
            best, size = range(start, max(start, end) + 1), end - start
    return best


def _runs_on_import(path: Path, line: int) -> bool:
    """Whether a line stands outside of all functions. Their decorators and defaults do as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            end = node.end_lineno or node.lineno
            if node.body[0].lineno <= line <= end:
                return False
    return True


def _failure(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line[:200]
    return output.strip().rpartition("\n")[2][:200]


def elapsed(since: float) -> str:
    """How long it took, in words."""
    return f"{time.monotonic() - since:.0f} s"
