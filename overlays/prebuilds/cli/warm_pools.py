"""`prebuilds warm-pool`: the commands about warm pools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from prebuilds.cli.exit_codes import code_of_many
from prebuilds.cli.options import (
    WARM_POOL_PHASE,
    class_option,
    confirm,
    counted,
    ids_argument,
    max_wait_option,
    projects_option,
    read_ids,
    stalled_option,
    yes_option,
)
from prebuilds.cli.reading import MAX_FILTER, PAGE_SIZE, for_each
from prebuilds.cli.session import Session, with_session

if TYPE_CHECKING:
    from prebuild_api.models import WarmPool

_SIZE: Final = click.IntRange(0)

_class_of_pool = click.option(
    "--class", "--environment-class-id", "environment_class", metavar="ID", required=True, help="Environment class."
)
_min_option = click.option("--min", "min_size", metavar="N", type=_SIZE, help="Instances to keep at least.")
_max_option = click.option("--max", "max_size", metavar="N", type=_SIZE, help="Instances to keep at most.")


@click.group("warm-pool")
def warm_pool_command() -> None:
    """List, create, resize and delete warm pools."""


@warm_pool_command.command("list", epilog="Example: prebuilds warm-pool list -p PROJECT")
@projects_option
@class_option
@with_session
def list_command(session: Session, *, projects: tuple[str, ...], environment_class: str | None) -> None:
    """List warm pools."""
    from prebuilds.cli.warm_pool_layouts import warm_pool_layout

    wanted = read_ids(projects, "project") if projects else []
    count = session.output.show(pools_of(session, wanted, environment_class), warm_pool_layout())
    if not count and session.is_watched:
        session.info("no warm pool matches")


@warm_pool_command.command("get", epilog="Example: prebuilds warm-pool get ID -o json")
@ids_argument
@with_session
def get_command(session: Session, *, ids: tuple[str, ...]) -> int:
    """Show warm pools by their ids."""
    from prebuilds.cli.warm_pool_layouts import warm_pool_layout

    client = session.client.prebuilds
    found, code = for_each(
        session, read_ids(ids, "warm pool"), lambda each: client.retrieve_warm_pool(warm_pool_id=each).warm_pool
    )
    session.output.show_details(found, warm_pool_layout())
    return code()


@warm_pool_command.command("create", epilog="Example: prebuilds warm-pool create PROJECT --class ID --min 1 --max 3")
@click.argument("project")
@_class_of_pool
@_min_option
@_max_option
@with_session
def create_command(
    session: Session, *, project: str, environment_class: str, min_size: int | None, max_size: int | None
) -> None:
    """Create the warm pool of a project and environment class."""
    pool = session.client.prebuilds.create_warm_pool(
        project_id=project, environment_class_id=environment_class, min_size=min_size, max_size=max_size
    ).warm_pool
    _show(session, [pool])


@warm_pool_command.command("update", epilog="Example: prebuilds warm-pool update ID --min 2")
@ids_argument
@_min_option
@_max_option
@with_session
def update_command(session: Session, *, ids: tuple[str, ...], min_size: int | None, max_size: int | None) -> int:
    """Resize warm pools. A size that is not given stays as it is."""
    if min_size is None and max_size is None:
        raise click.UsageError("missing option: expected --min, --max or both")
    client = session.client.prebuilds
    pools, code = for_each(
        session,
        read_ids(ids, "warm pool"),
        lambda each: client.update_warm_pool(warm_pool_id=each, min_size=min_size, max_size=max_size).warm_pool,
    )
    _show(session, pools)
    return code()


@warm_pool_command.command(
    "ensure",
    short_help="Create a warm pool, or resize it.",
    epilog="Example: prebuilds warm-pool ensure PROJECT --class ID --min 1 --max 3",
)
@click.argument("project")
@_class_of_pool
@_min_option
@_max_option
@max_wait_option
@with_session
def ensure_command(
    session: Session,
    *,
    project: str,
    environment_class: str,
    min_size: int | None,
    max_size: int | None,
    max_wait: timedelta | None,
) -> None:
    """Create the warm pool of a project and environment class, or resize it.

    A deleted pool is waited for until it has drained.
    """
    limit: dict[str, Any] = {} if max_wait is None else {"timeout": max_wait}
    pool = session.client.prebuilds.ensure_warm_pool(project, environment_class, min_size, max_size, **limit)
    _show(session, [pool])


@warm_pool_command.command("delete", epilog="Example: prebuilds warm-pool delete ID --yes")
@ids_argument
@yes_option
@with_session
def delete_command(session: Session, *, ids: tuple[str, ...], yes: bool) -> int:
    """Delete warm pools. Their instances drain in the background."""
    from prebuilds.cli.removing import id_layout

    wanted = read_ids(ids, "warm pool")
    confirm(f"Delete {counted(len(wanted), 'warm pool')}?", yes=yes or not wanted)
    client = session.client.prebuilds

    def delete(pool_id: str) -> str:
        client.delete_warm_pool(warm_pool_id=pool_id)
        return pool_id

    deleted, code = for_each(session, wanted, delete)
    session.output.show(deleted, id_layout())
    return code()


@warm_pool_command.command("wait", epilog="Example: prebuilds warm-pool wait ID --max-wait 10m")
@ids_argument
@click.option("--until", metavar="PHASE", type=WARM_POOL_PHASE, multiple=True, help="Until this phase; default: ready.")
@stalled_option
@max_wait_option
@with_session
def wait_command(
    session: Session,
    *,
    ids: tuple[str, ...],
    until: tuple[str, ...],
    stalled_after: timedelta | None,
    max_wait: timedelta | None,
) -> int:
    """Wait until warm pools are ready, or have reached another phase."""
    from prebuilds.cli.prebuild_layouts import short_name

    client = session.client.prebuilds
    options: dict[str, Any] = {"stalled_after": stalled_after}
    if until:
        options["until"] = list(until)
    if max_wait is not None:
        options["timeout"] = max_wait

    def on_update(pool: WarmPool) -> None:
        session.info(f"{pool.id} {short_name(pool.status.phase)}")

    pools, code = for_each(
        session,
        read_ids(ids, "warm pool"),
        lambda each: client.wait_warm_pool(each, on_update=on_update, **options),
    )
    _show(session, pools)
    return code()


@warm_pool_command.command(
    "apply",
    short_help="Give pools the sizes that a file declares.",
    epilog="Example: prebuilds warm-pool apply pools.yaml --yes",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--delete-others", is_flag=True, help="Delete pools of -p PROJECT that FILE does not list.")
@projects_option
@click.option("-y", "--yes", is_flag=True, help="Carry out the plan; without it, the plan is printed only.")
@with_session
def apply_command(session: Session, *, file: Path, delete_others: bool, projects: tuple[str, ...], yes: bool) -> int:
    """Give warm pools the sizes that a YAML file declares for this hour.

    Prints the plan; --yes carries it out.
    """
    from prebuilds.cli.pool_files import read_pools
    from prebuilds.cli.pool_plans import carry_out, make_plan, plan_layout
    from prebuilds.errors import PrebuildsError

    if delete_others != bool(projects):
        raise click.UsageError("--delete-others and -p PROJECT need one another")
    declared = read_pools(file)
    others = read_ids(projects, "project") if projects else []
    asked = list(dict.fromkeys([*(each.project.lower() for each in declared), *(each.lower() for each in others)]))
    plan = make_plan(declared, list(pools_of(session, asked)) if asked else [], others, session.now)
    session.output.show(plan, plan_layout())
    changes = [step for step in plan if step.changes]
    if not changes:
        session.info("nothing to change")
        return 0
    if not yes:
        session.info(f"hint: {len(changes)} to change; --yes carries out the plan")
        return 0
    codes: list[int] = []
    for step in changes:
        try:
            carry_out(session.client, step)
            codes.append(0)
        except PrebuildsError as error:
            codes.append(session.report(error))
    return code_of_many(codes)


def pools_of(session: Session, projects: Sequence[str], environment_class: str | None = None) -> Iterator[WarmPool]:
    """The warm pools of the projects (of all projects, if none is named)."""
    client = session.client.prebuilds
    wanted: dict[str, Any] = {} if environment_class is None else {"environment_class_ids": [environment_class]}
    for at in range(0, max(len(projects), 1), MAX_FILTER):
        chunk = list(projects[at : at + MAX_FILTER]) or None
        yield from client.list_warm_pools(page_size=PAGE_SIZE, project_ids=chunk, **wanted)


def _show(session: Session, pools: Iterable[WarmPool]) -> None:
    from prebuilds.cli.warm_pool_layouts import warm_pool_layout

    session.output.show(pools, warm_pool_layout())
