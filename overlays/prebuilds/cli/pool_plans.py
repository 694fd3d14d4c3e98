"""The plan of `prebuilds warm-pool apply`: the changes that bring warm pools to their declared sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from prebuild_api.models import WarmPool, WarmPoolPhase
from prebuilds.cli.output import Column, Layout
from prebuilds.cli.pool_files import DeclaredPool, Size

if TYPE_CHECKING:
    from prebuilds import PrebuildClient

Action = Literal["create", "resize", "delete", "keep"]

_SIGNS: Final[dict[Action, str]] = {"create": "+", "resize": "~", "delete": "-", "keep": "="}
_STYLES: Final[dict[Action, str]] = {"create": "green", "resize": "yellow", "delete": "red"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """The action for one pool."""

    action: Action
    project: str
    environment_class: str
    pool_id: str | None
    """None for a pool that is to be created."""
    before: Size | None
    after: Size | None

    @property
    def changes(self) -> bool:
        """True if there is a change to make."""
        return self.action != "keep"


def make_plan(
    declared: Sequence[DeclaredPool], pools: Sequence[WarmPool], others: Sequence[str], now: datetime
) -> list[Step]:
    """The actions for all pools.

    Args:
        declared: the pools of the file.
        pools: the pools that exist in the projects.
        others: the projects whose pools are deleted if the file does not list them.
        now: the time, for the schedules.
    """
    # A pool that is being deleted holds its place until it has drained; `carry_out` waits for that.
    living = {_place(pool): pool for pool in pools if not _is_going(pool)}
    steps = [_step(each, living.get(each.place), each.size_at(now)) for each in declared]
    listed = {each.place for each in declared}
    emptied = {each.lower() for each in others}
    steps += [
        Step(
            action="delete",
            project=pool.metadata.project_id or "",
            environment_class=pool.metadata.environment_class_id or "",
            pool_id=pool.id,
            before=_size(pool),
            after=None,
        )
        for place, pool in living.items()
        if place not in listed and place[0] in emptied
    ]
    return steps


def carry_out(client: PrebuildClient, step: Step) -> None:
    """Make a change."""
    if step.action == "delete":
        client.prebuilds.delete_warm_pool(warm_pool_id=step.pool_id or "")
    elif step.action == "resize" and step.after is not None:
        client.prebuilds.update_warm_pool(
            warm_pool_id=step.pool_id or "", min_size=step.after.min, max_size=step.after.max
        )
    elif step.action == "create" and step.after is not None:
        client.prebuilds.ensure_warm_pool(step.project, step.environment_class, step.after.min, step.after.max)


def plan_layout() -> Layout[Step]:
    """The layout for a plan: a diff."""

    def record(step: Step) -> dict[str, Any]:
        return {
            "action": step.action,
            "warmPoolId": step.pool_id,
            "projectId": step.project,
            "environmentClassId": step.environment_class,
            "before": None if step.before is None else {"minSize": step.before.min, "maxSize": step.before.max},
            "after": None if step.after is None else {"minSize": step.after.min, "maxSize": step.after.max},
        }

    def sizes(step: Step) -> str:
        shown = [str(size) for size in (step.before, step.after) if size is not None]
        return " -> ".join(dict.fromkeys(shown))

    return Layout(
        columns=(
            Column(header="", text=lambda each: _SIGNS[each.action], style=lambda each: _STYLES.get(each.action)),
            Column(header="ACTION", text=lambda each: each.action),
            Column(header="SIZE", text=sizes),
            Column(header="PROJECT", text=lambda each: each.project, short=9),
            Column(header="CLASS", text=lambda each: each.environment_class, short=9),
            Column(header="WARM POOL", text=lambda each: each.pool_id or "", short=9),
        ),
        item_id=lambda each: each.pool_id or "",
        record=record,
        paths=lambda: (
            "action",
            "warmPoolId",
            "projectId",
            "environmentClassId",
            "before.minSize",
            "before.maxSize",
            "after.minSize",
            "after.maxSize",
        ),
    )


def _step(declared: DeclaredPool, pool: WarmPool | None, size: Size) -> Step:
    before = None if pool is None else _size(pool)
    return Step(
        action="create" if before is None else "keep" if before == size else "resize",
        project=declared.project,
        environment_class=declared.environment_class,
        pool_id=None if pool is None else pool.id,
        before=before,
        after=size,
    )


def _size(pool: WarmPool) -> Size:
    return Size(pool.spec.min_size or 0, pool.spec.max_size or 0)


def _place(pool: WarmPool) -> tuple[str, str]:
    return (pool.metadata.project_id or "").lower(), (pool.metadata.environment_class_id or "").lower()


def _is_going(pool: WarmPool) -> bool:
    deleting = pool.status.phase.is_deleting or pool.status.phase.is_terminal
    return deleting or pool.spec.desired_phase == WarmPoolPhase.DELETED
