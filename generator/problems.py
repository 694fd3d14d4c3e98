"""The error that stops the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where.

    `pointer` is a JSON pointer into the schema as a URI fragment (`#/paths/~1x/post`), or empty for the whole file.
    """

    reason: str
    pointer: str = ""
    line: int | None = None
    file: Path | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.pointer, self.reason) if part)


class PipelineError(Exception):
    """A stage refused to go on. Nothing in the tree has changed.

    Raised with every problem that the stage found, not only the first.
    """

    def __init__(self, stage: str, problems: list[Problem]) -> None:
        super().__init__(stage, problems)
        self.stage = stage
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
