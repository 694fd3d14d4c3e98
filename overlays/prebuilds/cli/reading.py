"""`prebuilds list`, `get` and `status`: the commands that only read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from prebuilds.cli.durations import parse_moment
from prebuilds.cli.exit_codes import FAILED, SUCCESS, code_of_many
from prebuilds.cli.options import (
    DURATION,
    PREBUILD_PHASE,
    TRIGGER,
    class_option,
    ids_argument,
    projects_option,
    read_ids,
    since_option,
)
from prebuilds.cli.session import Session, with_session

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds.cli.output import Layout

MAX_FILTER: Final = 25
"""The number of projects that the filter of a list can name."""

PAGE_SIZE: Final = 100


@click.command("list", epilog="Example: prebuilds list -p PROJECT --phase failed --since 2d")
@projects_option
@class_option
@click.option(
    "--phase", "phases", metavar="PHASE", type=PREBUILD_PHASE, multiple=True, help="In this phase; repeatable."
)
@click.option("--trigger", "triggers", metavar="KIND", type=TRIGGER, multiple=True, help="manual or scheduled.")
@click.option("--creator", "creators", metavar="ID", multiple=True, help="Created by; repeatable.")
@click.option("--executor", "executors", metavar="ID", multiple=True, help="Run in the name of; repeatable.")
@since_option
@click.option("-L", "--limit", type=click.IntRange(1), default=20, help="Print at most so many.")
@click.option("--all", "everything", is_flag=True, help="Print all, whatever the limit.")
@with_session
def list_command(
    session: Session,
    *,
    projects: tuple[str, ...],
    environment_class: str | None,
    phases: tuple[str, ...],
    triggers: tuple[str, ...],
    creators: tuple[str, ...],
    executors: tuple[str, ...],
    since: str | None,
    limit: int,
    everything: bool,
) -> None:
    """List prebuilds, newest first."""
    from prebuilds.cli.prebuild_layouts import prebuild_layout

    oldest = moment(since, session.now)
    filtered = environment_class is not None or oldest is not None
    found = newest_first(
        session,
        projects=read_ids(projects, "project") if projects else [],
        page_size=PAGE_SIZE if everything or filtered else min(limit + 1, PAGE_SIZE),
        phases=list(phases),
        triggered_by=list(triggers),
        creator_ids=list(creators),
        executor_ids=list(executors),
    )
    found = of_class(since_then(found, oldest), environment_class)
    shown = found if everything else islice(found, limit)
    count = session.output.show(shown, prebuild_layout(session.now))
    if not session.is_watched:
        return
    if not count:
        session.info("no prebuild matches")
    elif not everything and next(found, None) is not None:
        session.info(f"hint: only the newest {limit} are shown; --all shows all")


@click.command("get", epilog="Example: prebuilds get ID -o json")
@ids_argument
@with_session
def get_command(session: Session, ids: tuple[str, ...]) -> int:
    """Show prebuilds by their ids. - reads ids from standard input."""
    from prebuilds.cli.prebuild_layouts import prebuild_layout

    client = session.client.prebuilds
    found, code = for_each(session, read_ids(ids, "prebuild"), lambda each: client.retrieve(prebuild_id=each).prebuild)
    session.output.show_details(found, prebuild_layout(session.now))
    return code()


@click.command("status", epilog="Example: prebuilds status PROJECT --max-age 26h")
@click.argument("projects", metavar="PROJECT...", nargs=-1)
@class_option
@click.option("--max-age", metavar="TIME", type=DURATION, help="Exit with 1 if the newest completed prebuild is older.")
@with_session
def status_command(
    session: Session, projects: tuple[str, ...], environment_class: str | None, max_age: timedelta | None
) -> int:
    """Show the newest completed prebuild of each project, and its active ones."""
    found, code = for_each(
        session,
        read_ids(projects, "project"),
        lambda project: _status(session, project, environment_class, max_age),
    )
    codes: list[int] = []

    def counted() -> Iterator[_ProjectStatus]:
        for each in found:
            codes.append(FAILED if each.is_stale else SUCCESS)
            yield each

    session.output.show(counted(), _status_layout())
    return code_of_many([code(), *codes]) if code() else code_of_many(codes)


class _ProjectStatus(NamedTuple):
    project: str
    latest: Prebuild | None
    """The prebuild that completed last."""
    newest: Prebuild | None
    """The most recently created prebuild among the ended prebuilds."""
    active: Sequence[Prebuild]
    age: float | None
    """The seconds since the latest one completed."""
    is_stale: bool


def _status(session: Session, project: str, environment_class: str | None, max_age: timedelta | None) -> _ProjectStatus:
    from prebuild_api.models import PrebuildPhase

    active_phases = [str(phase) for phase in PrebuildPhase if phase.is_active]
    active = list(of_class(newest_first(session, projects=[project], phases=active_phases), environment_class))
    latest = newest = None
    for each in of_class(newest_first(session, projects=[project]), environment_class):
        if not each.status.phase.is_terminal:
            continue
        newest = newest or each
        if each.status.phase == PrebuildPhase.COMPLETED:
            latest = each
            break
    ended = None if latest is None else latest.status.completion_time or latest.metadata.updated_at
    age = None if ended is None else (session.now - ended).total_seconds()
    return _ProjectStatus(
        project=project,
        latest=latest,
        newest=newest,
        active=active,
        age=age,
        is_stale=max_age is not None and (age is None or age > max_age.total_seconds()),
    )


def _status_layout() -> Layout[_ProjectStatus]:
    from prebuilds.cli.durations import short_duration
    from prebuilds.cli.output import Column, Layout
    from prebuilds.cli.prebuild_layouts import prebuild_notes, short_name

    def state(each: _ProjectStatus) -> str:
        newest = each.newest
        if each.is_stale:
            return "STALE"
        return "NONE" if newest is None else short_name(newest.status.phase)

    def record(each: _ProjectStatus) -> dict[str, Any]:
        return {
            "projectId": each.project,
            "state": state(each),
            "ageSeconds": None if each.age is None else round(each.age),
            "latestCompleted": None if each.latest is None else each.latest.to_dict(),
            "newestEnded": None if each.newest is None else each.newest.to_dict(),
            "active": [active.to_dict() for active in each.active],
        }

    def notes(each: _ProjectStatus) -> list[str]:
        shown = [each.newest, *([each.latest] if each.latest is not each.newest else [])]
        return [note for prebuild in shown if prebuild is not None for note in prebuild_notes(prebuild)]

    return Layout(
        columns=(
            Column(header="PROJECT", text=lambda each: each.project, short=9),
            Column(
                header="NEWEST",
                text=state,
                style=lambda each: "green" if state(each) == "COMPLETED" else "red" if each.newest else None,
            ),
            Column(header="COMPLETED", text=lambda each: (each.latest.id or "") if each.latest else ""),
            Column(header="AGE", text=lambda each: "" if each.age is None else short_duration(each.age), right=True),
            Column(header="ACTIVE", text=lambda each: str(len(each.active)), right=True),
        ),
        item_id=lambda each: each.project,
        record=record,
        paths=lambda: ("projectId", "state", "ageSeconds", "latestCompleted.id", "newestEnded.id"),
        notes=notes,
    )


def newest_first(
    session: Session, *, projects: Sequence[str] = (), page_size: int = PAGE_SIZE, **filters: Any
) -> Iterator[Prebuild]:
    """The prebuilds of the projects (of all projects, if none is named), newest first."""
    client = session.client.prebuilds
    chunks: list[list[str]] = [
        list(projects[at : at + MAX_FILTER]) for at in range(0, max(len(projects), 1), MAX_FILTER)
    ]
    wanted: dict[str, Any] = {name: value for name, value in filters.items() if value}
    lists: list[Iterable[Prebuild]] = [
        client.list(page_size=page_size, project_ids=chunk or None, **wanted) for chunk in chunks
    ]
    if len(lists) == 1:
        return iter(lists[0])
    import heapq

    return heapq.merge(*lists, key=lambda each: each.metadata.created_at, reverse=True)


def moment(since: str | None, now: datetime) -> datetime | None:
    """The moment that `--since` stands for.

    Raises:
        click.UsageError: it is not a valid moment.
    """
    if since is None:
        return None
    try:
        return parse_moment(since, now)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None


def since_then(prebuilds: Iterator[Prebuild], oldest: datetime | None) -> Iterator[Prebuild]:
    """The prebuilds, newest first, up to the first that is older than `oldest`."""
    for each in prebuilds:
        if oldest is not None and each.metadata.created_at < oldest:
            return
        yield each


def of_class(prebuilds: Iterator[Prebuild], environment_class: str | None) -> Iterator[Prebuild]:
    """The prebuilds of an environment class; all of them if that is None."""
    wanted = None if environment_class is None else environment_class.lower()
    for each in prebuilds:
        if wanted is None or (each.metadata.environment_class_id or "").lower() == wanted:
            yield each


def for_each(
    session: Session, ids: Sequence[str], work: Callable[[str], Any]
) -> tuple[Iterator[Any], Callable[[], int]]:
    """Do something for each id. An error is printed, and does not end the others.

    Returns the results as they come, and a function that returns the exit code once they have come.
    """
    from prebuilds.errors import PrebuildsError

    codes: list[int] = []

    def results() -> Iterator[Any]:
        with session.counted(ids) as remaining:
            for each in remaining:
                try:
                    result = work(each)
                except PrebuildsError as error:
                    codes.append(session.report(error, each))
                else:
                    codes.append(SUCCESS)
                    yield result

    return results(), lambda: code_of_many(codes)
