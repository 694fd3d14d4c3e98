"""`prebuilds cancel`, `delete` and `prune`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from prebuilds.cli.options import (
    DURATION,
    class_option,
    confirm,
    counted,
    ids_argument,
    projects_option,
    read_ids,
    yes_option,
)
from prebuilds.cli.output import Column, Layout
from prebuilds.cli.reading import for_each
from prebuilds.cli.session import Session, with_session

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds import Prebuilds


@click.command("cancel", epilog="Example: prebuilds cancel --active -p PROJECT")
@ids_argument
@click.option("--active", is_flag=True, help="Cancel all active prebuilds of the projects.")
@projects_option
@class_option
@with_session
def cancel_command(
    session: Session,
    *,
    ids: tuple[str, ...],
    active: bool,
    projects: tuple[str, ...],
    environment_class: str | None,
) -> int:
    """Cancel prebuilds by their ids, or the active prebuilds of projects. - reads ids from standard input."""
    from prebuilds.cli.prebuild_layouts import prebuild_layout

    if active == bool(ids) or active != bool(projects):
        raise click.UsageError("expected either ids of prebuilds, or --active -p PROJECT")
    client = _paced(session)
    layout = prebuild_layout(session.now)
    if ids:
        cancelled, code = for_each(
            session, read_ids(ids, "prebuild"), lambda each: client.cancel(prebuild_id=each).prebuild
        )
        session.output.show(cancelled, layout)
        return code()
    lists, code = for_each(
        session,
        read_ids(projects, "project"),
        lambda project: client.cancel_active(project, environment_class_id=environment_class),
    )
    session.output.show((each for found in lists for each in found), layout)
    return code()


@click.command("delete", epilog="Example: prebuilds delete ID --yes")
@ids_argument
@yes_option
@with_session
def delete_command(session: Session, *, ids: tuple[str, ...], yes: bool) -> int:
    """Delete prebuilds and their snapshots. - reads ids from standard input."""
    wanted = read_ids(ids, "prebuild")
    confirm(f"Delete {counted(len(wanted), 'prebuild')}?", yes=yes or not wanted)
    client = _paced(session)
    deleted, code = for_each(session, wanted, lambda each: _deleted(each, client.delete(prebuild_id=each)))
    session.output.show(deleted, id_layout())
    return code()


@click.command("prune", epilog="Example: prebuilds prune -p PROJECT --older-than 7d --keep 3 --dry-run")
@projects_option
@class_option
@click.option("--older-than", metavar="TIME", type=DURATION, help="Only prebuilds that ended longer ago.")
@click.option("--keep", type=click.IntRange(0), default=1, help="Completed ones to keep for each project and class.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; print the prebuilds that would be deleted.")
@yes_option
@with_session
def prune_command(
    session: Session,
    *,
    projects: tuple[str, ...],
    environment_class: str | None,
    older_than: timedelta | None,
    keep: int,
    dry_run: bool,
    yes: bool,
) -> int:
    """Delete old prebuilds of projects. The newest completed ones are kept."""
    from prebuilds.cli.prebuild_layouts import prebuild_layout
    from prebuilds.errors import NotFoundError

    if not projects:
        raise click.UsageError("missing option: expected -p PROJECT, or -p - to read projects from standard input")
    wanted = read_ids(projects, "project")
    client = _paced(session)
    doomed = (
        client.prune(
            project_ids=wanted,
            environment_class_id=environment_class,
            older_than=older_than,
            keep=keep,
            dry_run=True,
        )
        if wanted
        else []
    )
    layout = prebuild_layout(session.now)
    if dry_run or not doomed:
        session.output.show(doomed, layout)
        session.info(f"{counted(len(doomed), 'prebuild')} would be deleted" if doomed else "there is nothing to delete")
        return 0
    confirm(f"Delete {counted(len(doomed), 'prebuild')} of {counted(len(wanted), 'project')}?", yes=yes)
    by_id: dict[str, Prebuild] = {each.id or "": each for each in doomed}

    def delete(prebuild_id: str) -> Prebuild | None:
        try:
            client.delete(prebuild_id=prebuild_id)
        except NotFoundError:
            return None  # somebody else was faster
        return by_id[prebuild_id]

    deleted, code = for_each(session, list(by_id), delete)
    session.output.show((each for each in deleted if each is not None), layout)
    return code()


def id_layout() -> Layout[str]:
    """The layout for ids of deleted resources."""

    def record(item_id: str) -> dict[str, Any]:
        return {"id": item_id}

    return Layout(
        columns=(Column(header="ID", text=lambda each: each),),
        item_id=lambda each: each,
        record=record,
        paths=lambda: ("id",),
    )


def _paced(session: Session) -> Prebuilds:
    """The methods of the client, with a limited number of calls per second."""
    from prebuilds.cli.fleet.pacing import Pace

    pace = Pace(session.runtime)
    return session.client.with_options(on_attempt=pace.after_attempt).prebuilds


def _deleted(item_id: str, _response: object) -> str:
    return item_id
