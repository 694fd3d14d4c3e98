"""`prebuilds wait`, `watch` and `logs`: the commands that follow prebuilds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from prebuilds.cli.exit_codes import SUCCESS, code_of, code_of_many
from prebuilds.cli.options import (
    PREBUILD_PHASE,
    github_option,
    ids_argument,
    max_wait_option,
    projects_option,
    read_ids,
    stalled_option,
)
from prebuilds.cli.session import Session, with_session
from prebuilds.cli.terminal import is_terminal, log_line, new_console

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds import PrebuildsError
    from prebuilds.cli.output import Layout

_LOG_GRACE: Final = 10.0
"""Seconds that the last lines of a log may take once its prebuild has ended."""

until_option = click.option(
    "--until", metavar="PHASE", type=PREBUILD_PHASE, multiple=True, help="Until this phase; default: completed."
)


@dataclass(frozen=True)
class Patience:
    """The timeout of a wait for prebuilds."""

    stalled_after: timedelta | None
    max_wait: timedelta | None

    def options(self) -> dict[str, Any]:
        """The value for the client. Without a limit, the client's own limit applies."""
        limit = {} if self.max_wait is None else {"timeout": self.max_wait}
        return {"stalled_after": self.stalled_after, **limit}


@click.command("wait", epilog="Example: prebuilds wait ID --max-wait 1h")
@ids_argument
@until_option
@stalled_option
@max_wait_option
@github_option
@with_session
def wait_command(
    session: Session,
    *,
    ids: tuple[str, ...],
    until: tuple[str, ...],
    stalled_after: timedelta | None,
    max_wait: timedelta | None,
    github: bool,
) -> int:
    """Wait until prebuilds have ended. The exit code reports the result.

    0 completed, 1 failed, 3 cancelled, 5 not found, 6 timed out or stalled, 7 some of several did not complete.
    """
    from prebuilds.cli import github as job
    from prebuilds.cli.prebuild_layouts import prebuild_layout

    wanted = read_ids(ids, "prebuild")
    if github:
        job.check(session)
    ended, code = follow(session, wanted, Patience(stalled_after, max_wait), until=until)
    session.output.show(ended, prebuild_layout(session.now))
    if github:
        job.write(ended)
    return code


@click.command("watch", epilog="Example: prebuilds watch -p PROJECT")
@ids_argument
@projects_option
@until_option
@stalled_option
@max_wait_option
@with_session
def watch_command(
    session: Session,
    *,
    ids: tuple[str, ...],
    projects: tuple[str, ...],
    until: tuple[str, ...],
    stalled_after: timedelta | None,
    max_wait: timedelta | None,
) -> int:
    """Show the changes of prebuilds until they end.

    Shows the prebuilds with these ids, or with -p the active prebuilds of a project. A terminal gets a table that is
    kept up to date, a pipe gets a line for each change.
    """
    from prebuild_api.models import PrebuildPhase
    from prebuilds.cli.prebuild_layouts import prebuild_layout
    from prebuilds.cli.reading import newest_first

    if bool(ids) == bool(projects):
        raise click.UsageError("expected either ids of prebuilds, or -p PROJECT")
    wanted: list[Any] = (
        list(read_ids(ids, "prebuild"))
        if ids
        else list(
            newest_first(
                session,
                projects=read_ids(projects, "project"),
                phases=[phase for phase in PrebuildPhase if phase.is_active],
            )
        )
    )
    if not wanted:
        session.info("no prebuild is active")
        return SUCCESS
    live = session.output.is_terminal and session.output.format == "table"
    with _live_table(session) if live else _lines(session, prebuild_layout(session.now)) as on_update:
        _, errors = _wait_all(session, wanted, Patience(stalled_after, max_wait), until, on_update)
    return _report(session, len(wanted), errors)


@click.command("logs", epilog="Example: prebuilds logs ID --no-follow")
@click.argument("prebuild_id", metavar="ID")
@click.option("--follow/--no-follow", default=True, help="Wait for more lines until the prebuild ends.")
@click.option("--timestamps", is_flag=True, help="Print the time of arrival before each line.")
@click.option(
    "--output-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the log to this file.",
)
@with_session
def logs_command(
    session: Session, *, prebuild_id: str, follow: bool, timestamps: bool, output_file: Path | None
) -> None:
    """Show the log of a prebuild, and follow it to its end."""
    from prebuilds.cli.github import without_commands

    lines = session.client.prebuilds.logs(read_ids([prebuild_id], "prebuild")[0], follow=follow)
    if output_file is None:
        # Standard output gets only the log.
        with without_commands(sys.stderr, active=False):
            _copy_log(lines, sys.stdout, session.runtime.now if timestamps else None)
        return
    with output_file.open("w", encoding="utf-8", errors="backslashreplace") as file:
        _copy_log(lines, file, session.runtime.now if timestamps else None)


def follow(
    session: Session,
    prebuilds: Sequence[str | Prebuild],
    patience: Patience,
    *,
    until: Sequence[str] = (),
    logs: bool = False,
    github: bool = False,
) -> tuple[list[Prebuild], int]:
    """Wait for prebuilds, and print their progress and warnings to standard error.

    Args:
        session: the session.
        prebuilds: the prebuilds, or their ids.
        patience: how long to wait.
        until: the phases to wait for; COMPLETED by default.
        logs: whether to print the log of the (only) prebuild to standard error.
        github: whether a job of GitHub runs this, which must not obey a log.

    Returns:
        The prebuilds as they were last seen, and the exit code.
    """
    seen: dict[str, Prebuild] = {}
    shown: dict[str, str] = {}

    def on_update(prebuild: Prebuild) -> None:
        from prebuilds.cli.prebuild_layouts import short_name

        seen[prebuild.id or ""] = prebuild
        phase = short_name(prebuild.status.phase)
        if shown.get(prebuild.id or "") != phase:
            shown[prebuild.id or ""] = phase
            if not logs:
                session.info(f"{prebuild.id} {phase}")

    log = _start_log(session, prebuilds[0], github=github) if logs else None
    _, errors = _wait_all(session, prebuilds, patience, until, on_update)
    if log is not None:
        log.join(_LOG_GRACE)
    for prebuild in seen.values():
        if prebuild.status.warning_message:
            session.warn(f"{prebuild.id}: {prebuild.status.warning_message}")
    return list(seen.values()), _report(session, len(prebuilds), errors)


def _wait_all(
    session: Session,
    prebuilds: Sequence[str | Prebuild],
    patience: Patience,
    until: Sequence[str],
    on_update: Callable[[Prebuild], None],
) -> tuple[list[Prebuild], list[PrebuildsError]]:
    from prebuilds.errors import WaitManyError

    goal: dict[str, Any] = {"until": list(until)} if until else {}
    try:
        ended = session.client.prebuilds.wait_all(prebuilds, on_update=on_update, **goal, **patience.options())
    except WaitManyError as error:
        return error.prebuilds, error.errors
    return ended, []


def _report(session: Session, count: int, errors: Sequence[PrebuildsError]) -> int:
    for error in errors:
        session.report(error)
    return code_of_many([*map(code_of, errors), *[SUCCESS] * (count - len(errors))])


@contextmanager
def _lines(session: Session, layout: Layout[Prebuild]) -> Generator[Callable[[Prebuild], None]]:
    """Prints a line for each change.

    A table does not show every change; it gets one line for each change that it shows.
    """
    shown: dict[str, object] = {}

    with session.output.writer(layout) as writer:

        def on_update(prebuild: Prebuild) -> None:
            row = (prebuild.status.phase, layout.notes(prebuild))
            if session.output.format != "table" or shown.get(prebuild.id or "") != row:
                shown[prebuild.id or ""] = row
                writer.add(prebuild)

        yield on_update


@contextmanager
def _live_table(session: Session) -> Generator[Callable[[Prebuild], None]]:
    """Keeps a table on the terminal up to date."""
    from rich.live import Live
    from rich.text import Text

    from prebuilds.cli.output import table_lines
    from prebuilds.cli.prebuild_layouts import prebuild_layout

    console = new_console(session.output.stream, no_color=session.no_color)
    seen: dict[str, Prebuild] = {}

    def table() -> Text:
        # Rich calls this in its own thread.
        rows = list(seen.copy().values())
        lines = table_lines(rows, prebuild_layout(session.now), session.output, console.width)
        return Text.from_ansi("\n".join(lines))

    with Live(get_renderable=table, console=console, refresh_per_second=2) as live:

        def on_update(prebuild: Prebuild) -> None:
            seen[prebuild.id or ""] = prebuild
            live.refresh()

        yield on_update


def _start_log(session: Session, prebuild: str | Prebuild, *, github: bool) -> threading.Thread:
    """Print the log of a prebuild to standard error, in the background."""
    from prebuilds.cli.github import without_commands
    from prebuilds.errors import PrebuildsError

    lines = session.client.prebuilds.logs(prebuild)

    def copy() -> None:
        try:
            with without_commands(sys.stderr, active=github):
                _copy_log(lines, sys.stderr, None)
        except PrebuildsError as error:
            # The wait continues: an unreadable log proves nothing about its prebuild.
            session.report(error)

    thread = threading.Thread(target=copy, name="prebuild-log", daemon=True)
    thread.start()
    return thread


def _copy_log(lines: Iterator[str], stream: TextIO, now: Callable[[], float] | None) -> None:
    from prebuilds import LINE_CONTINUES

    terminal = is_terminal(stream)
    begins = True
    for line in lines:
        piece = line.removesuffix(LINE_CONTINUES)
        text = log_line(piece) if terminal else piece
        if begins and now is not None:
            text = f"{datetime.fromtimestamp(now(), UTC):%Y-%m-%dT%H:%M:%SZ} {text}"
        begins = piece == line
        print(text, end="\n" if begins else "", file=stream, flush=True)
