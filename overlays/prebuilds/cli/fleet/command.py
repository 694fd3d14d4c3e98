"""`prebuilds refresh`: a new prebuild for each of many projects."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from prebuilds.cli.durations import seconds_text
from prebuilds.cli.exit_codes import FAILED, INTERRUPTED, code_of_many
from prebuilds.cli.invocation import invocation
from prebuilds.cli.options import DURATION, RateType, github_option, read_ids
from prebuilds.cli.session import Session, with_session

if TYPE_CHECKING:
    from prebuilds.cli.fleet.run import RefreshOptions
    from prebuilds.cli.fleet.state_file import StateFile

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_LIMIT: Final = re.compile(r"(\d{1,9})(%?)", re.ASCII)
_MAX_SHOWN: Final = 50
"""The number of results on a terminal above which only prebuilds that did not complete are shown."""


@click.command("refresh", epilog="Example: prebuilds refresh --projects-from projects.txt --state run.jsonl")
@click.argument("projects", metavar="[PROJECT]...", nargs=-1)
@click.option(
    "--projects-from", metavar="FILE", help="A project per line, and optionally a class; - for standard input."
)
@click.option("--class", "--environment-class-id", "classes", metavar="ID", multiple=True, help="Class; repeatable.")
@click.option("--state", metavar="FILE", type=_FILE, help="Keep the state here; the same command resumes from it.")
@click.option("--concurrency", metavar="N", type=click.IntRange(1), default=8, help="Creates that are sent at a time.")
@click.option("--max-active", metavar="N", type=click.IntRange(1), help="Prebuilds that run at a time; default: any.")
@click.option("--rate", metavar="N/s", type=RateType(), default="5/s", help="Creates per second.")
@click.option("--max-failures", metavar="N or N%", help="Create no more after so many failures.")
@click.option("--stalled-after", metavar="TIME", type=DURATION, default="125m", help="Give up after no change.")
@click.option("--poll-interval", metavar="TIME", type=DURATION, default="10s", help="Time between two polls.")
@click.option("--timeout", metavar="TIME", type=DURATION, help="The time that each prebuild may take.")
@click.option("--cancel-active", is_flag=True, help="First cancel the active prebuilds of each project.")
@click.option("--keep-baseline", is_flag=True, help="Delete old prebuilds only where the new one completed.")
@click.option("--skip-fresher-than", metavar="TIME", type=DURATION, help="Skip projects with a newer prebuild.")
@click.option("--report", "reports", metavar="KIND=FILE", multiple=True, help="Write json=FILE or md=FILE.")
@github_option
@with_session
def refresh_command(
    session: Session,
    *,
    projects: tuple[str, ...],
    projects_from: str | None,
    classes: tuple[str, ...],
    state: Path | None,
    concurrency: int,
    max_active: int | None,
    rate: float,
    max_failures: str | None,
    stalled_after: timedelta,
    poll_interval: timedelta,
    timeout: timedelta | None,
    cancel_active: bool,
    keep_baseline: bool,
    skip_fresher_than: timedelta | None,
    reports: tuple[str, ...],
    github: bool,
) -> int:
    """Create a new prebuild for each project and class, and follow them all.

    With --state, a run that was interrupted or killed is continued by the same command, and creates no second prebuild.
    """
    from prebuilds.cli import github as job
    from prebuilds.cli.fleet.reports import report_files
    from prebuilds.cli.fleet.run import RefreshOptions
    from prebuilds.cli.fleet.state_file import StateFile
    from prebuilds.cli.fleet.targets import targets_of

    named = [each for each in projects if each != "-"]
    lines = _lines(projects_from) + _lines("-" if "-" in projects else None)
    targets = targets_of(read_ids(named, "project") if named else [], lines, classes)
    files = report_files(reports)
    if github:
        job.check(session)
    options = RefreshOptions(
        concurrency=concurrency,
        max_active=max_active,
        rate=rate,
        max_failures=_failures(max_failures, len(targets)),
        stalled_after=stalled_after,
        poll_interval=poll_interval,
        timeout=None if timeout is None else seconds_text(timeout),
        cancel_active=cancel_active,
        keep_baseline=keep_baseline,
        skip_fresher_than=skip_fresher_than,
    )
    if state is None and len(targets) > 1:
        session.info("hint: with --state FILE, a run that is interrupted can be resumed")
    with StateFile(state, session.base_url, targets) as states:
        try:
            interrupted = not _run(session, states, options)
        finally:
            _finish(session, states, files, github=github)
    if interrupted:
        return INTERRUPTED
    return code_of_many([_code(item) for item in states.items.values()])


def _run(session: Session, states: StateFile, options: RefreshOptions) -> bool:
    """Run to the end. Returns False if the person interrupts."""
    import asyncio

    from prebuilds.cli.fleet.progress import shown_progress
    from prebuilds.cli.fleet.refresh import refresh
    from prebuilds.cli.fleet.run import Run

    async def main() -> None:
        async with session.new_async_client() as client:
            with shown_progress(session, states.items.values()) as progress:
                run = Run(client, states, options, progress, session.runtime)
                await refresh(run)
                if run.is_stopped:
                    session.info("stopped: too many prebuilds failed; no further one was created")

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        _say_how_to_resume(session, states, "interrupted")
        return False
    except BaseExceptionGroup as group:
        _say_how_to_resume(session, states, "the run ended early")
        raise _first(group) from None
    return True


def _say_how_to_resume(session: Session, states: StateFile, why: str) -> None:
    if states.path is None:
        advice = "A run with --state FILE can be resumed"
    else:
        advice = f"To resume: {shlex.join(['prebuilds', *invocation().arguments])}"
    session.info(f"{why}; the prebuilds that were created go on. {advice}")


def _finish(session: Session, states: StateFile, files: dict[str, Path], *, github: bool) -> None:
    """Print and write the results, however the run ended."""
    from prebuilds.cli import github as job
    from prebuilds.cli.fleet.reports import as_markdown, record_of, result_layout, state_of, summary_of, write_reports

    items = list(states.items.values())
    write_reports(files, items)
    person = session.output.is_terminal and session.output.format == "table" and len(items) > _MAX_SHOWN
    shown = [item for item in items if not person or state_of(item) not in ("completed", "skipped")]
    session.output.show(shown, result_layout())
    session.info(summary_of(items))
    if github:
        job.append_text(as_markdown(items))
        records = [record_of(item) for item in items]
        job.write_outputs(
            {
                "prebuild-id": [record["prebuildId"] or "" for record in records],
                "phase": [record["outcome"].upper() for record in records],
                "log-url": [record["logUrl"] for record in records],
            }
        )


def _code(item: Any) -> int:
    from prebuilds.cli.fleet.targets import EXIT_CODES

    return FAILED if item.outcome is None else EXIT_CODES[item.outcome.name]


def _lines(source: str | None) -> list[tuple[str, str | None]]:
    """The projects and classes of a file."""
    if source is None:
        return []
    if source == "-":
        return _words(sys.stdin, "standard input")
    try:
        file = Path(source).open(encoding="utf-8-sig", errors="backslashreplace")  # noqa: SIM115  closed below
    except OSError as error:
        raise click.UsageError(f"--projects-from: {error}") from None
    with file:
        return _words(file, source)


def _words(lines: Iterable[str], source: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for number, line in enumerate(lines, start=1):
        words: Sequence[str] = line.partition("#")[0].split()
        if len(words) > 2 or not all(len(word) <= 255 and word.isprintable() for word in words):
            raise click.UsageError(f"{source}, line {number}: expected a project, and optionally a class")
        if words:
            found.append((words[0], words[1] if len(words) == 2 else None))
    return found


def _failures(text: str | None, targets: int) -> int | None:
    """The number of failures that `--max-failures` allows."""
    if text is None:
        return None
    match = _LIMIT.fullmatch(text.strip())
    if match is None or (match[2] and int(match[1]) > 100):
        raise click.UsageError(f"--max-failures: expected a number such as 20, or a part such as 5%, found {text!r}")
    return int(match[1]) * targets // 100 if match[2] else int(match[1])


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first error of a group that is not a group itself."""
    error: BaseException = group.exceptions[0]
    return _first(cast("Any", error)) if isinstance(error, BaseExceptionGroup) else error
