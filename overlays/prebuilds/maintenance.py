"""Operations of scripts on the prebuilds and warm pools of a project, beyond single calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prebuild_api import models
from prebuild_api.models import PrebuildPhase, WarmPoolPhase
from prebuild_api.operations import (
    CANCEL_PREBUILD,
    CREATE_WARM_POOL,
    DELETE_PREBUILD,
    LIST_PREBUILDS,
    LIST_WARM_POOLS,
    UPDATE_WARM_POOL,
)
from prebuilds.calls import CallExecutor
from prebuilds.errors import AlreadyExistsError, CallError, FailedPreconditionError, NotFoundError, PrebuildsError
from prebuilds.flows.effects import Callback, Sleep, Steps
from prebuilds.options import DEFAULT_POOL_WAIT, Seconds
from prebuilds.pagination import Listing
from prebuilds.waitables import WARM_POOL
from prebuilds.waiting import Patience, Reached, follow

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild, WarmPool

_PAGE_SIZE = 100

_MAX_PROJECTS = 25
"""The number of projects that a filter can name, according to the schema."""

_CANCELLABLE = [phase for phase in PrebuildPhase if phase.is_active and phase is not PrebuildPhase.CANCELLING]
_FINISHED = [phase for phase in PrebuildPhase if phase.is_terminal and phase is not PrebuildPhase.DELETED]


def cancel_active(
    executor: CallExecutor, project_id: str, *, environment_class_id: str | None = None, keep: Iterable[str] = ()
) -> Steps[list[Prebuild]]:
    """The logic of `client.prebuilds.cancel_active`."""
    (project_id,) = _ids("project_id", [project_id])
    spared = {each.lower() for each in _ids("keep", keep)}

    def steps() -> Steps[list[Prebuild]]:
        found = yield from _prebuilds(executor, [project_id], _CANCELLABLE)
        cancelled: list[Prebuild] = []
        for prebuild in found:
            if (prebuild.id or "").lower() in spared or not _is_of_class(prebuild, environment_class_id):
                continue
            try:
                answer = yield from executor.call(
                    CANCEL_PREBUILD, models.CancelPrebuildRequest(prebuild_id=prebuild.id or ""), {}
                )
            except (FailedPreconditionError, NotFoundError):
                continue
            except PrebuildsError as error:
                _note(error, "cancelled", cancelled)
                raise
            cancelled.append(answer.prebuild)
        return cancelled

    return steps()


def latest(executor: CallExecutor, project_id: str, environment_class_id: str | None = None) -> Steps[Prebuild | None]:
    """The logic of `client.prebuilds.latest`."""
    projects = _ids("project_id", [project_id])

    def steps() -> Steps[Prebuild | None]:
        found = yield from _prebuilds(executor, projects, [PrebuildPhase.COMPLETED])
        matching = [prebuild for prebuild in found if _is_of_class(prebuild, environment_class_id)]
        return max(matching, key=_ended_at, default=None)

    return steps()


def prune(
    executor: CallExecutor,
    *,
    project_ids: Iterable[str] = (),
    environment_class_id: str | None = None,
    older_than: Seconds | None = None,
    keep: int = 1,
    dry_run: bool = False,
    on_delete: Callable[[Prebuild], object] | None = None,
) -> Steps[list[Prebuild]]:
    """The logic of `client.prebuilds.prune`."""
    if keep < 0:
        raise ValueError(f"keep: expected 0 or more, got {keep!r}")
    age = timedelta(seconds=older_than) if isinstance(older_than, int | float) else older_than
    if age is not None and age < timedelta(0):
        raise ValueError(f"older_than: expected 0 seconds or more, got {older_than!r}")
    projects = _ids("project_ids", project_ids)

    def steps() -> Steps[list[Prebuild]]:
        found = yield from _prebuilds(executor, projects, _FINISHED)
        doomed = [prebuild for prebuild in found if _is_of_class(prebuild, environment_class_id)]
        doomed = _without_newest(sorted(doomed, key=_ended_at), keep)
        if age is not None:
            limit = datetime.fromtimestamp(executor.runtime.now(), UTC) - age
            doomed = [prebuild for prebuild in doomed if _ended_at(prebuild) < limit]
        if dry_run:
            return doomed
        deleted: list[Prebuild] = []
        for prebuild in doomed:
            try:
                yield from executor.call(
                    DELETE_PREBUILD, models.DeletePrebuildRequest(prebuild_id=prebuild.id or ""), {}
                )
            except NotFoundError:
                continue  # somebody else was faster
            except PrebuildsError as error:
                _note(error, "deleted", deleted)
                raise
            deleted.append(prebuild)
            if on_delete is not None:
                yield Callback(on_delete, (prebuild,))
        return deleted

    return steps()


def ensure_warm_pool(
    executor: CallExecutor,
    project_id: str,
    environment_class_id: str,
    min_size: int | None = None,
    max_size: int | None = None,
    *,
    timeout: Seconds | None = DEFAULT_POOL_WAIT,
) -> Steps[WarmPool]:
    """The logic of `client.prebuilds.ensure_warm_pool`."""
    limit = Patience.of(timeout).timeout
    (project_id,) = _ids("project_id", [project_id])
    (environment_class_id,) = _ids("environment_class_id", [environment_class_id])
    clock = executor.runtime.clock

    def steps() -> Steps[WarmPool]:
        deadline = math.inf if limit is None else clock() + limit
        refusals: dict[str | None, CallError] = {}
        gone: set[str | None] = set()
        taken: AlreadyExistsError | None = None
        while True:
            pools = yield from _pools(executor, project_id, environment_class_id)
            # A list may be a little behind.
            pools = [pool for pool in pools if pool.id not in gone]
            living = next((pool for pool in pools if not _is_going(pool)), None)
            if living is not None:
                if living.id in refusals:
                    raise refusals[living.id]  # it has not been deleted, so that is not why
                try:
                    return (yield from _resized(executor, living, min_size, max_size))
                except (FailedPreconditionError, NotFoundError) as error:
                    refusals[living.id] = error
                    continue
            if pools:
                yield from _gone(executor, pools[0], None if limit is None else max(deadline - clock(), 0.0))
                gone.add(pools[0].id)
                continue
            if taken is not None:
                # Somebody else was faster and is not listed yet, or a pool that is not listed any more drains.
                if clock() >= deadline:
                    raise taken
                yield Sleep(min(_PLACE_INTERVAL * executor.runtime.uniform(0.9, 1.1), deadline - clock()))
            request = models.CreateWarmPoolRequest(
                project_id=project_id,
                environment_class_id=environment_class_id,
                min_size=min_size,
                max_size=max_size,
            )
            try:
                return (yield from executor.call(CREATE_WARM_POOL, request, {})).warm_pool
            except AlreadyExistsError as error:
                taken = error

    return steps()


_PLACE_INTERVAL = 3.0
"""Seconds between two attempts to take a place whose holder is not visible."""


def _ids(name: str, given: Iterable[str]) -> list[str]:
    """The ids, each once. A missing id must not mean all ids."""
    if isinstance(given, str):
        raise TypeError(f"{name}: expected several ids, got one string")
    found: dict[Any, None] = dict.fromkeys(given)
    for each in found:
        if not isinstance(each, str) or not each.strip():
            raise ValueError(f"{name}: expected an id, got {each!r}")
    return list(found)


def _prebuilds(
    executor: CallExecutor, project_ids: Sequence[str], phases: Sequence[PrebuildPhase]
) -> Steps[list[Prebuild]]:
    """All prebuilds of the projects (of all projects, if none is named) in these phases.

    The phase in the page counts: a prebuild may have progressed since then.
    """
    found: list[Prebuild] = []
    for begin in range(0, max(1, len(project_ids)), _MAX_PROJECTS):
        some = project_ids[begin : begin + _MAX_PROJECTS]
        wanted = models.ListPrebuildsRequestFilter(project_ids=list(some), phases=list(phases))
        request = models.ListPrebuildsRequest(filter=wanted, pagination=models.PaginationRequest(page_size=_PAGE_SIZE))
        listing = Listing[Any, Any, "Prebuild"](
            executor=executor, operation=LIST_PREBUILDS, request=request, options={}
        )
        found += yield from listing.all()
    # A page that shifts during the read may list a prebuild twice, and a server without support for a filter may list
    # any prebuild. Prebuilds outside the filter must not be cancelled or deleted.
    meant = {each.lower() for each in project_ids}
    return list({each.id: each for each in found if each.id and _is_meant(each, meant, phases)}.values())


def _is_meant(prebuild: Prebuild, project_ids: Collection[str], phases: Collection[PrebuildPhase]) -> bool:
    project_id = prebuild.metadata.project_id
    return prebuild.status.phase in phases and not (
        project_ids and project_id and project_id.lower() not in project_ids
    )


def _pools(executor: CallExecutor, project_id: str, environment_class_id: str) -> Steps[list[WarmPool]]:
    """The pools that hold the place of the project and class: one, or none."""
    wanted = models.ListWarmPoolsRequestFilter(project_ids=[project_id], environment_class_ids=[environment_class_id])
    request = models.ListWarmPoolsRequest(filter=wanted, pagination=models.PaginationRequest(page_size=_PAGE_SIZE))
    listing = Listing[Any, Any, "WarmPool"](executor=executor, operation=LIST_WARM_POOLS, request=request, options={})
    found = yield from listing.all()
    place = project_id.lower(), environment_class_id.lower()
    return [pool for pool in found if pool.status.phase != WarmPoolPhase.DELETED and _place(pool, place) == place]


def _place(pool: WarmPool, unsaid: tuple[str, str]) -> tuple[str, str]:
    """The project and class of a pool; `unsaid` holds the values to use if the pool omits them."""
    metadata = pool.metadata
    return (metadata.project_id or unsaid[0]).lower(), (metadata.environment_class_id or unsaid[1]).lower()


def _is_going(pool: WarmPool) -> bool:
    return pool.status.phase.is_deleting or pool.spec.desired_phase == WarmPoolPhase.DELETED


def _resized(executor: CallExecutor, pool: WarmPool, min_size: int | None, max_size: int | None) -> Steps[WarmPool]:
    if min_size in (None, pool.spec.min_size) and max_size in (None, pool.spec.max_size):
        return pool
    request = models.UpdateWarmPoolRequest(warm_pool_id=pool.id or "", min_size=min_size, max_size=max_size)
    return (yield from executor.call(UPDATE_WARM_POOL, request, {})).warm_pool


def _gone(executor: CallExecutor, pool: WarmPool, timeout: float | None) -> Steps[object]:
    """Wait until a pool has given up its place."""
    goal = Reached[Any](lambda seen: seen.status.phase == WarmPoolPhase.DELETED, deletion=True)
    return (yield from follow(executor, WARM_POOL, pool.id or "", pool, goal, Patience(timeout=timeout), None))


def _is_of_class(prebuild: Prebuild, environment_class_id: str | None) -> bool:
    found = prebuild.metadata.environment_class_id or ""
    return environment_class_id is None or found.lower() == environment_class_id.lower()


def _ended_at(prebuild: Prebuild) -> datetime:
    """The time when a prebuild ended.

    A prebuild without this time counts as new, so that it is not deleted by mistake.
    """
    metadata, status = prebuild.metadata, prebuild.status
    return status.completion_time or metadata.updated_at


def _without_newest(prebuilds: Sequence[Prebuild], keep: int) -> list[Prebuild]:
    """`prebuilds`, oldest first, without the completed prebuilds to keep."""
    kept: dict[tuple[str | None, str | None], int] = {}
    doomed: list[Prebuild] = []
    for prebuild in reversed(prebuilds):
        if prebuild.status.phase == PrebuildPhase.COMPLETED:
            place = prebuild.metadata.project_id, prebuild.metadata.environment_class_id
            kept[place] = kept.get(place, 0) + 1
            if kept[place] <= keep:
                continue
        doomed.append(prebuild)
    return doomed[::-1]


def _note(error: PrebuildsError, done: str, prebuilds: Sequence[Prebuild]) -> None:
    if prebuilds:
        error.add_note(f"Before that, {len(prebuilds)} were {done}: {', '.join(each.id or '?' for each in prebuilds)}")
