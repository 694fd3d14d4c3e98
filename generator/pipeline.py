"""The stages in their order: lint -> normalise -> generate -> format and stamp -> verify -> swap -> report."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import api, document, lint, normalise, report, stamp, swap, verify, wire


@dataclass(frozen=True)
class Project:
    """Where the pipeline reads and writes."""

    root: Path

    @property
    def schema(self) -> Path:
        """What is read."""
        return self.root / "schema" / "prebuild_service.yaml"

    @property
    def change_log(self) -> Path:
        """Where the report of a change is entered."""
        return self.root / "schema" / "CHANGELOG.md"

    @property
    def generated(self) -> Path:
        """What is replaced."""
        return self.root / "generated"


def generate(project: Project, progress: Callable[[str], None]) -> report.Report:
    """Replace `generated/` by what the schema says now, and enter what changed into the change log.

    Args:
        project: where to read and write.
        progress: told the name of each stage as it begins.

    Raises:
        PipelineError: the schema, or what came of it, is not right. Nothing has changed.
    """
    with _built(project, progress) as new:
        old = report.last_generation(project.generated)
        result = report.compare(old, report.last_generation(new) or {})
        progress("swap")
        log = project.change_log
        entries = log.read_bytes() if log.exists() else None
        if result.changes:
            report.prepend(result, log)
        try:
            if swap.differences(new, project.generated):
                swap.swap(new, project.generated)
        except OSError:
            log.unlink(missing_ok=True) if entries is None else log.write_bytes(entries)
            raise
        progress("report")
        return result


def check(project: Project, progress: Callable[[str], None]) -> list[str]:
    """The differences between `generated/` and what the schema gives; empty if there are none.

    Raises:
        PipelineError: as of `generate`.
    """
    with _built(project, progress) as new:
        progress("compare")
        return swap.differences(new, project.generated)


@contextmanager
def _built(project: Project, progress: Callable[[str], None]) -> Generator[Path]:
    """The packages, made and verified in a directory beside `generated/`."""
    progress("lint")
    source = document.load(project.schema)
    model = lint.lint(source)
    progress("normalise")
    plain = normalise.for_openapi_python_client(source.data)
    with swap.workspace(project.generated) as space:
        new = space / project.generated.name
        new.mkdir()
        progress("generate")
        api.generate(plain, model, new / "prebuild_api")
        wire.generate(source.data, model, new / "prebuild_wire")
        progress("format and stamp")
        stamp.format_and_stamp(new)
        progress("verify")
        verify.verify(source.data, model, new)
        yield new
