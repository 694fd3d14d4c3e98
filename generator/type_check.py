"""Checks the generated packages with mypy and pyright.

Both take seconds, so packages that have passed once are not checked again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import spec
from .document import join
from .problems import Problem
from .stamp import files

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "generator"

MAX_KNOWN = 200

_MYPY_LINE = re.compile(r"(?P<file>[^:]+):(?P<line>\d+)(?::\d+)?: error: (?P<text>.*)")


def is_known(root: Path) -> bool:
    """Whether the packages below `root` have passed before."""
    try:
        return _digest(root) in (CACHE / "passed").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return False


def remember(root: Path) -> None:
    """Note that the packages below `root` have passed."""
    digest = _digest(root)
    path = CACHE / "passed"
    try:
        known = path.read_text(encoding="ascii").split() if path.exists() else []
        if known[:1] != [digest]:
            CACHE.mkdir(parents=True, exist_ok=True)
            rest = [each for each in known if each != digest]
            path.write_text("\n".join([digest, *rest[: MAX_KNOWN - 1]]) + "\n", encoding="ascii")
    except OSError:
        return  # Next time they are checked again.


def mypy(root: Path, api: spec.Api, limit: float) -> list[Problem]:
    """The errors of mypy, strict, in both packages."""
    options = ["--strict", "--no-error-summary", "--no-color-output", "--config-file=", f"--cache-dir={CACHE / 'mypy'}"]
    done = _run(["mypy", *options, "--python-version=3.11", "prebuild_api", "prebuild_wire"], root, limit)
    if isinstance(done, Problem):
        return [done]
    problems = [
        _problem("mypy", root / match["file"], int(match["line"]), match["text"], api)
        for match in map(_MYPY_LINE.fullmatch, done.stdout.splitlines())
        if match
    ]
    if not problems and done.returncode:
        problems.append(Problem(f"mypy: {(done.stderr + done.stdout).strip()[:1000]}"))
    return problems


def pyright(root: Path, api: spec.Api, limit: float) -> list[Problem]:
    """The errors of pyright in the client's package; only mypy supports pydantic's constrained fields."""
    settings = {"include": ["prebuild_api"], "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    config = root.parent / "pyrightconfig.json"
    config.write_text(json.dumps(settings | {"include": [f"{root.name}/prebuild_api"]}), encoding="utf-8")
    done = _run(["pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)], root, limit)
    if isinstance(done, Problem):
        return [done]
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    except (ValueError, KeyError):
        return [Problem(f"pyright: {(done.stderr + done.stdout).strip()[:1000]}")]
    return [
        _problem("pyright", Path(item["file"]), item["range"]["start"]["line"] + 1, item["message"], api)
        for item in found
        if item["severity"] == "error"
    ]


def _run(arguments: list[str], root: Path, limit: float) -> subprocess.CompletedProcess[str] | Problem:
    if importlib.util.find_spec(arguments[0]) is None:
        return Problem(f"{arguments[0]} is not installed: `make setup` installs it, --no-types leaves it out")
    try:
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return Problem(f"{arguments[0]} took more than {limit} s")


def _problem(tool: str, path: Path, line: int, text: str, api: spec.Api) -> Problem:
    place = "/".join(path.parts[-2:])
    return Problem(f"{tool}: {place}:{line}: {text}", _pointer(path, line, api))


def _pointer(path: Path, line: int, api: spec.Api) -> str:
    """The place in the schema that a line of the generated code comes from."""
    modules = {message.module: message.name for message in api.messages.values()}
    modules |= {enum.module: enum.name for enum in api.enums.values()}
    operations = {operation.module: operation for operation in api.operations}
    if path.parent.name == "models" and path.stem in modules:
        return join("#/components/schemas", modules[path.stem])
    if path.parent.parent.name == "api" and path.stem in operations:
        return join("#/paths", operations[path.stem].path, "post")
    for name in _enclosing(path, line):
        component = name.removesuffix("Param")
        if component in api.messages or component in api.enums:
            return join("#/components/schemas", component)
        for operation in api.operations:
            if name == operation.client_method:
                return join("#/paths", operation.path, "post")
    return "#"


def _enclosing(path: Path, line: int) -> list[str]:
    """The functions and classes around a line, innermost first."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return []
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return [node.name for node in sorted(found, key=lambda node: -node.lineno)]


def _digest(root: Path) -> str:
    whole = hashlib.sha256(f"{sys.version} {_version('mypy')} {_version('pyright')}".encode())
    for path in files(root):
        if path.suffix == ".py":
            whole.update(f"{path.relative_to(root).as_posix()}\0".encode())
            whole.update(path.read_bytes())
    return whole.hexdigest()


def _version(name: str) -> str:
    return version(name) if importlib.util.find_spec(name) is not None else "none"
