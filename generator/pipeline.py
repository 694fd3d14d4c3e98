"""The stages in their order: lint -> generate -> format and stamp -> verify -> swap -> report."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import api, document, lint, report, stamp, swap, verify, wire
from .problems import PipelineError, Problem


@dataclass(frozen=True)
class Project:
    """Where the pipeline reads and writes."""

    root: Path
    types: bool = True
    """Whether mypy and pyright read the packages."""

    @property
    def schema(self) -> Path:
        """The input files."""
        return self.root / "schema" / "prebuild_service.yaml"

    @property
    def change_log(self) -> Path:
        """Where the report of a change is entered."""
        return self.root / "schema" / "CHANGELOG.md"

    @property
    def generated(self) -> Path:
        """The files that a run replaces."""
        return self.root / "generated"


def generate(project: Project, progress: Callable[[str], None], notice: Callable[[str], object]) -> report.Report:
    """Regenerate `generated/` from the schema, and add the changes to the change log.

    Args:
        project: the paths to read and write.
        progress: called with the name of each stage as it begins.
        notice: called with other messages.

    Raises:
        PipelineError: the schema, or the code generated from it, is invalid. Nothing has changed.
    """
    with _alone(project, notice):
        if swap.repair(project.generated, project.change_log):
            notice("an earlier run was interrupted: what it left behind is repaired")
        with _built(project, progress, notice) as new:
            old = report.last_generation(project.generated)
            result = report.compare(old, report.last_generation(new) or {})
            progress("swap")
            if swap.differences(new, project.generated):
                entries = report.with_entry(result, _text(project.change_log)) if result.changes else None
                swap.swap(new.parent, project.generated, project.change_log, entries)
            progress("report")
            return result


def check(project: Project, progress: Callable[[str], None], notice: Callable[[str], object]) -> list[str]:
    """The differences between `generated/` and a new generation; empty if there are none.

    Raises:
        PipelineError: as for `generate`.
    """
    with _alone(project, notice), _built(project, progress, notice) as new:
        progress("compare")
        return swap.differences(new, project.generated)


@contextmanager
def _alone(project: Project, notice: Callable[[str], object]) -> Generator[None]:
    folder = project.schema.parent
    if not folder.is_dir():
        raise PipelineError("lint", [Problem(f"there is no directory {folder}: run this at the root of the project")])
    with swap.lock(folder, lambda: notice("another run is at work here: waiting until it has ended")):
        yield


@contextmanager
def _built(project: Project, progress: Callable[[str], None], notice: Callable[[str], object]) -> Generator[Path]:
    """The packages, generated and verified in a directory next to `generated/`."""
    progress("lint")
    source = document.load(project.schema)
    model = lint.lint(source)
    for problem in lint.unwritten(source):
        notice(str(problem))
    with swap.workspace(project.generated) as space:
        new = space / project.generated.name
        new.mkdir()
        progress("generate")
        api.generate(model, new / "prebuild_api")
        wire.generate(source.data, model, new / "prebuild_wire")
        progress("format and stamp")
        stamp.format_and_stamp(new)
        progress("verify")
        verify.verify(source, model, new, types=project.types)
        yield new


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
