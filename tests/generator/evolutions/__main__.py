"""`make evolutions`: all changes and broken inputs; mypy and pyright read what comes of those that are accepted."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import Case, cases, failure


def main() -> int:
    """Run the cases. Exit code 0: all are as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.generator.evolutions")
    parser.add_argument("-k", default="", help="only cases with this text in their names")
    parser.add_argument("--no-types", action="store_true", help="leave out mypy and pyright")
    options = parser.parse_args()
    start = time.perf_counter()
    chosen = [case for case in cases() if options.k in str(case)]
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, case in enumerate(chosen):
            folder = root / f"case_{number}"
            text = _failure(case, folder)
            if text is not None:
                failed += 1
                print(f"FAILED {case}: {text}\n", flush=True)
        if not options.no_types:
            failed += _types(root)
    print(f"{len(chosen)} cases, {failed} failed, {time.perf_counter() - start:.0f} s")
    return 1 if failed else 0


def _failure(case: Case, folder: Path) -> str | None:
    try:
        return failure(case, folder)
    except Exception as error:  # noqa: BLE001, a traceback is what must not happen
        return f"{type(error).__name__}: {error}"


def _types(root: Path) -> int:
    """What mypy and pyright find in all packages at once: their imports are relative."""
    for folder in root.iterdir():
        (folder / "__init__.py").touch()
    failed = 0
    for arguments in (
        ["mypy", "--strict", "--config-file=", "--no-error-summary", "--cache-dir=/dev/null", "."],
        ["pyright", "--pythonpath", sys.executable, *map(str, root.glob("*/prebuild_api"))],
    ):
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            failed += 1
            print(f"FAILED {arguments[0]}:\n{done.stdout[-8000:]}{done.stderr[-2000:]}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
