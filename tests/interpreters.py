"""The client's and the generator's tests on other interpreters, and with the lowest releases that we allow.

python -m tests.interpreters [3.12] [lowest]

Every Python of 3.11 to 3.14 that is installed here gets a virtual environment of its own below .venv-matrix/, with the
pinned releases. One more, `lowest`, is for the oldest of them, with the lowest allowed release of each dependency.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv-matrix"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
TESTS = ("tests/client", "tests/generator")
LOWEST = "lowest"

PROJECT = ["--editable", ".[all,test]"]
PINNED = ["--constraint", "constraints.txt", *PROJECT]
OLDEST = ["--resolution", "lowest-direct", *PROJECT]


def main(chosen: list[str]) -> int:
    """Run the tests in each environment; 1 if they fail in one of them."""
    found = interpreters()
    for version in SUPPORTED:
        print(f"Python {version}: {found.get(version, 'not installed here')}")
    oldest = next(iter(found.values()))
    runs = {version: (python, PINNED) for version, python in found.items()} | {LOWEST: (oldest, OLDEST)}
    # `make test` has run with this one.
    runs.pop(".".join(map(str, sys.version_info[:2])), None)
    unknown = set(chosen) - set(runs)
    if unknown:
        print(f"cannot test with {', '.join(sorted(unknown))}: choose from {', '.join(runs)}", file=sys.stderr)
        return 2
    failed = [name for name in chosen or runs if not passes(name, *runs[name])]
    if failed:
        print(f"the tests fail with {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def interpreters() -> dict[str, str]:
    """The path of one interpreter for each supported version that is installed, oldest version first."""
    found = {}
    for version in SUPPORTED:
        for candidate in candidates(version):
            # A launcher can be there without the version that it stands for.
            command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                found[version] = candidate
                break
    return found


def candidates(version: str) -> Iterator[str]:
    """Where an interpreter of a version may be: this one, on the PATH, or below pyenv's folder."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield sys.executable
    for folder in os.environ["PATH"].split(os.pathsep):
        path = Path(folder, f"python{version}")
        if path.is_file():
            yield str(path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python")), reverse=True)


def passes(name: str, python: str, requirements: list[str]) -> bool:
    """Whether the tests pass in an environment, which is filled first."""
    home = ENVIRONMENTS / name
    print(f"\n{name}: filling {home.relative_to(ROOT)} ...", flush=True)
    inside = home / "bin" / "python"
    # With pip, by which the comparison with the vendor's descriptor fetches it.
    uv("venv", "--clear", "--seed", "--python", python, str(home))
    uv("pip", "install", "--python", str(inside), *requirements)
    # The tests of the generator look for the tools of their environment.
    path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
    command = [str(inside), "-m", "pytest", "-q", "--numprocesses", "auto", "--dist", "loadgroup", *TESTS]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False).returncode == 0


def uv(*arguments: str) -> None:
    """Run uv, and end the program with what it says if it fails."""
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    # uv doesn't read pip's settings. It must not fetch an interpreter either.
    settings = {"UV_DEFAULT_INDEX": index.stdout.strip()} if index.returncode == 0 else {}
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=ROOT,
        env={"UV_PYTHON_DOWNLOADS": "never", **settings, **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"uv {' '.join(arguments)} failed:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
