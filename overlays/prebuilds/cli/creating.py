"""`prebuilds create`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from prebuilds.cli.durations import seconds_text
from prebuilds.cli.exit_codes import INTERRUPTED, SUCCESS, code_of_many
from prebuilds.cli.options import (
    DURATION,
    github_option,
    max_wait_option,
    stalled_option,
)
from prebuilds.cli.session import Session, with_session

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild


@click.command("create", epilog="Example: prebuilds create PROJECT --cancel-active --wait --logs")
@click.argument("project", metavar="PROJECT")
@click.option(
    "--class", "--environment-class-id", "classes", metavar="ID", multiple=True, help="Environment class; repeatable."
)
@click.option(
    "--timeout", "--prebuild-timeout", metavar="TIME", type=DURATION, help="The time that the prebuild may take."
)
@click.option("--cancel-active", is_flag=True, help="First cancel the active prebuilds of the project.")
@click.option("--wait", is_flag=True, help="Wait for the end; the exit code says how it ended.")
@click.option("--logs", is_flag=True, help="Print the log to standard error, and wait.")
@stalled_option
@max_wait_option
@github_option
@with_session
def create_command(
    session: Session,
    *,
    project: str,
    classes: tuple[str, ...],
    timeout: timedelta | None,
    cancel_active: bool,
    wait: bool,
    logs: bool,
    stalled_after: timedelta | None,
    max_wait: timedelta | None,
    github: bool,
) -> int:
    """Create a prebuild of PROJECT, and print its id at once.

    Without --class, the project's default class is used.
    """
    from prebuilds.cli import github as job
    from prebuilds.cli.following import Patience, follow
    from prebuilds.cli.prebuild_layouts import prebuild_layout

    if logs and len(classes) > 1:
        raise click.UsageError("--logs follows one prebuild: expected one --class")
    if not (wait or logs) and (stalled_after or max_wait):
        raise click.UsageError("--stalled-after and --max-wait need --wait")
    if github:
        job.check(session)
    created, code = _create_all(session, project, classes or (None,), timeout, cancel_active=cancel_active)
    ended = created
    if created and (wait or logs):
        try:
            ended, waited = follow(session, created, Patience(stalled_after, max_wait), logs=logs, github=github)
        except KeyboardInterrupt:
            ids = " ".join(each.id or "" for each in created)
            session.info(f"interrupted; the prebuild goes on. To cancel it: prebuilds cancel {ids}")
            return INTERRUPTED
        code = code_of_many([code, waited]) if code else waited
    elif created and session.is_watched:
        session.info(f"hint: prebuilds watch {created[0].id} shows its progress")
    if _prints_objects(session):
        session.output.show(ended, prebuild_layout(session.now))
    if github:
        job.write(ended)
    return code


def _create_all(
    session: Session,
    project: str,
    classes: Sequence[str | None],
    timeout: timedelta | None,
    *,
    cancel_active: bool,
) -> tuple[list[Prebuild], int]:
    """Create a prebuild of each class, up to the first error. Returns them and the exit code."""
    from prebuilds.errors import CallError, PrebuildsError

    created: list[Prebuild] = []
    for environment_class in classes:
        try:
            if cancel_active:
                _cancel_active(session, project, environment_class, created)
            created.append(_create(session, project, environment_class, timeout))
        except PrebuildsError as error:
            code = session.report(error)
            if isinstance(error, CallError) and error.operation == "create" and error.maybe_executed:
                session.info(f"hint: the prebuild may exist; to look for it: prebuilds list -p {project} -L 3")
            return created, code
    return created, SUCCESS


def _create(session: Session, project: str, environment_class: str | None, timeout: timedelta | None) -> Prebuild:
    prebuild = session.client.prebuilds.create(
        project_id=project,
        environment_class_id=environment_class,
        spec={} if timeout is None else {"timeout": seconds_text(timeout)},
    ).prebuild
    # A job that is killed while it waits can still cancel the prebuild.
    if _prints_objects(session):
        print(f"created {prebuild.id}", file=sys.stderr, flush=True)
    else:
        session.output.line(prebuild.id or "")
    return prebuild


def _prints_objects(session: Session) -> bool:
    """Return True if standard output gets the prebuilds at the end, so that it cannot get the id first."""
    return session.output.format in ("json", "jsonl", "csv")


def _cancel_active(session: Session, project: str, environment_class: str | None, created: list[Prebuild]) -> None:
    cancelled = session.client.prebuilds.cancel_active(
        project, environment_class_id=environment_class, keep=[each.id or "" for each in created if each.id]
    )
    for each in cancelled:
        session.info(f"cancelled {each.id}")
