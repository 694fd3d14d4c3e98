"""`python -m generator`: the program behind `make gen` and `make gen-check`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import pipeline
from .problems import PipelineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline. Exit code 0: done, 1: the schema is not right, or `generated/` is not what it gives."""
    parser = argparse.ArgumentParser(prog="python -m generator", description="Turn schema/ into generated/.")
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare only: regenerate aside and print the difference",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(),
        help="the project's directory (default: the current one)",
    )
    parser.add_argument(
        "--no-types",
        action="store_true",
        help="leave out mypy and pyright, which take some seconds where the packages change",
    )
    options = parser.parse_args(arguments)
    project = pipeline.Project(options.root, types=not options.no_types)
    stages = _Stages()
    before = _state(project)
    try:
        if options.check:
            differences = pipeline.check(project, stages.begin, stages.notice)
            stages.end()
            return _compared(differences)
        result = pipeline.generate(project, stages.begin, stages.notice)
        stages.end()
    except PipelineError as error:
        stages.end()
        for problem in error.problems:
            print(_printable(str(problem)), file=sys.stderr)
        count = len(error.problems)
        print(
            f"{error.stage} found {count} problem{'s' * (count != 1)}; generated/ is as it was",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        stages.end()
        print(f"{error}; {_outcome(project, before)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        stages.end()
        print(f"interrupted; {_outcome(project, before)}", file=sys.stderr)
        return 130
    print(_printable(str(result)))
    return 0


def _state(project: pipeline.Project) -> int | None:
    """What tells one `generated/` from another that took its place."""
    try:
        return project.generated.stat().st_ino
    except OSError:
        return None


def _outcome(project: pipeline.Project, before: int | None) -> str:
    return "generated/ is as it was" if _state(project) == before else "generated/ is what the schema gives"


def _printable(text: str) -> str:
    """`text` without terminal control sequences: the schema's text is data."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def _compared(differences: list[str]) -> int:
    if not differences:
        print("generated/ is what the schema gives")
        return 0
    print("\n".join(differences))
    print(
        "generated/ is not what the schema gives: run `make gen`, and commit what it changes",
        file=sys.stderr,
    )
    return 1


class _Stages:
    """Prints each stage with the time it took."""

    def __init__(self) -> None:
        self._name = ""
        self._start = 0.0

    def begin(self, name: str) -> None:
        self.end()
        self._name, self._start = name, time.perf_counter()
        if sys.stderr.isatty():
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)

    def notice(self, text: str) -> None:
        """Say something between two stages."""
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._name:
            print(
                f"{self._name:<18}{time.perf_counter() - self._start:6.2f} s",
                file=sys.stderr,
                flush=True,
            )
        self._name = ""


if __name__ == "__main__":
    raise SystemExit(main())
