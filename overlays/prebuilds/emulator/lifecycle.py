"""How prebuilds and warm pools change: pure functions of a record, the time and a plan.

A record contains its future steps, each with its due time. The steps are computed when the record is created, and
again when it is cancelled or deleted. `take_step` and `take_pool_step` apply the next step. The caller and the
time of the call make no difference to the outcome, because each step is stamped with its due time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, get_args

from prebuild_wire.enums import PrebuildPhase, PrebuildTrigger, Principal, WarmPoolPhase
from prebuild_wire.scalars import parse_duration

from .errors import ConnectCode, ConnectError

if TYPE_CHECKING:
    from .declarations import Outcome, Plan

ActivePhase = Literal["PENDING", "STARTING", "RUNNING", "STOPPING", "SNAPSHOTTING", "CANCELLING"]
"""The phase of a running prebuild, by its short name."""

WAY: Final[tuple[ActivePhase, ...]] = tuple(phase for phase in get_args(ActivePhase) if phase != "CANCELLING")
"""The phases that lead to COMPLETED, in order."""

ACTIVE: Final = frozenset(phase for phase in PrebuildPhase if phase.is_active)
"""The phases in which a prebuild is still running."""

_ENDED = frozenset(phase for phase in PrebuildPhase if phase.is_terminal and phase is not PrebuildPhase.DELETED)


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """The subject who creates or executes a prebuild."""

    id: str
    principal: Principal = Principal.USER


@dataclass(frozen=True, slots=True)
class Step:
    """A future change of a prebuild with its due time. A step without a phase removes the prebuild."""

    due: datetime
    phase: PrebuildPhase | None
    percentage: int = 0
    """How much of the snapshot is written."""
    message: str = ""
    """The reason of a failure, or a warning."""
    snapshot_size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrebuildRecord:
    """A prebuild with its known past (`taken`) and its future (`timeline`).

    Records compare by identity: comparing all their fields would take longer than many requests.
    """

    id: str
    organization_id: str
    project_id: str
    environment_class_id: str
    environment_id: str
    creator: SubjectRecord
    executor: SubjectRecord | None = None
    triggered_by: PrebuildTrigger = PrebuildTrigger.MANUAL
    created_at: datetime
    updated_at: datetime
    timeout: str
    spec_version: int = 1
    desired_phase: PrebuildPhase = PrebuildPhase.COMPLETED
    phase: PrebuildPhase = PrebuildPhase.PENDING
    status_version: int = 1
    completion_time: datetime | None = None
    failure_message: str = ""
    warning_message: str = ""
    percentage: int = 0
    snapshot_size_bytes: int = 0
    outcome: Outcome | None = None
    """The planned outcome; None for the usual outcome."""
    taken: tuple[Step, ...]
    timeline: tuple[Step, ...]

    @property
    def next_due(self) -> datetime | None:
        """Return the due time of the next step, or None if there are no more steps."""
        return self.timeline[0].due if self.timeline else None

    @property
    def has_environment(self) -> bool:
        """Return whether the environment was created: from STARTING on.

        ASSUMPTION: the environment's id and the log's address are known from then on, and stay known.
        """
        return any(step.phase is PrebuildPhase.STARTING for step in self.taken)


@dataclass(frozen=True, slots=True)
class PoolStep:
    """A future change of a warm pool with its due time. A step without a phase removes the pool."""

    due: datetime
    phase: WarmPoolPhase | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPoolRecord:
    """A warm pool. `target` is the size that its autoscaler aims at. Only a deleted pool has a timeline."""

    id: str
    organization_id: str
    project_id: str
    environment_class_id: str
    runner_id: str
    created_at: datetime
    updated_at: datetime
    spec_version: int = 1
    desired_phase: WarmPoolPhase = WarmPoolPhase.READY
    min_size: int
    max_size: int
    snapshot_id: str | None = None
    phase: WarmPoolPhase = WarmPoolPhase.PENDING
    status_version: int = 1
    failure_message: str = ""
    running: int = 0
    stopped: int = 0
    target: int = 0
    timeline: tuple[PoolStep, ...] = ()

    @property
    def next_due(self) -> datetime | None:
        """Return the due time of the next step, or None if there are no more steps."""
        return self.timeline[0].due if self.timeline else None


# -- Prebuilds ---------------------------------------------------------------------------------------------------------


def prebuild_timeline(
    created_at: datetime, timeout: timedelta, plan: Plan, outcome: Outcome | None = None
) -> tuple[Step, ...]:
    """Return all steps of a prebuild after its creation, if nobody cancels or deletes it.

    ASSUMPTION: a prebuild that has not completed before its timeout becomes FAILED at that moment.
    ASSUMPTION: a prebuild is deleted when its snapshot expires; a prebuild without a snapshot stays.
    """
    from .declarations import USUAL  # imported with the plan only: pydantic is slow to import

    outcome = outcome or USUAL
    durations = _durations(plan, outcome)
    steps: list[Step] = []
    at = created_at
    ended: datetime | None = None
    for phase, following in zip(WAY, (*WAY[1:], None), strict=True):
        if outcome.stalls_in == phase:
            break
        begin, at = at, at + timedelta(seconds=durations[phase])
        if outcome.fails_in == phase:
            ended = at
            message = outcome.message or f"the prebuild failed in the phase {phase}"
            steps.append(Step(at, PrebuildPhase.FAILED, message=message))
            break
        if phase == "SNAPSHOTTING":
            # ASSUMPTION: progress is reported once, halfway, as an ordinary change of the status.
            steps.append(Step(begin + (at - begin) / 2, PrebuildPhase.SNAPSHOTTING, percentage=50))
        if following is not None:
            steps.append(Step(at, PrebuildPhase[following]))
        else:
            ended = at
            completed = Step(
                at,
                PrebuildPhase.COMPLETED,
                message=outcome.warning,
                snapshot_size_bytes=plan.snapshot_size_bytes,
            )
            steps += (completed, *_removal(at + timedelta(seconds=plan.expiry), plan))
    deadline = created_at + timeout
    if ended is None or ended > deadline:
        in_time = (step for step in steps if step.due < deadline)
        return (*in_time, _timed_out(deadline, timeout))
    return tuple(steps)


def _durations(plan: Plan, outcome: Outcome) -> dict[ActivePhase, float]:
    """Return the duration of each phase on the way to COMPLETED, in seconds."""
    usual = plan.durations()
    if outcome.takes is None:
        if not outcome.durations:
            return usual
        return {phase: outcome.durations.get(phase, seconds) for phase, seconds in usual.items()}
    passed = WAY if outcome.fails_in not in WAY else WAY[: WAY.index(outcome.fails_in) + 1]
    whole = sum(usual[phase] for phase in passed)
    if not whole:
        return {**usual, passed[-1]: outcome.takes}
    return {phase: outcome.takes * seconds / whole for phase, seconds in usual.items()}


def _timed_out(deadline: datetime, timeout: timedelta) -> Step:
    seconds = f"{timeout.total_seconds():g}"
    return Step(
        deadline,
        PrebuildPhase.FAILED,
        message=f"the prebuild did not complete within its timeout of {seconds} seconds",
    )


def take_step(prebuild: PrebuildRecord) -> PrebuildRecord | None:
    """Return the prebuild after the next step of its timeline, or None if that step removes it."""
    step, rest = prebuild.timeline[0], prebuild.timeline[1:]
    if step.phase is None:
        return None
    after = replace(
        prebuild,
        phase=step.phase,
        percentage=step.percentage,
        status_version=prebuild.status_version + 1,
        updated_at=step.due,
        taken=(*prebuild.taken, step),
        timeline=rest,
    )
    if step.phase in _ENDED:
        after = replace(after, completion_time=step.due)
    if step.phase is PrebuildPhase.COMPLETED:
        after = replace(after, snapshot_size_bytes=step.snapshot_size_bytes, warning_message=step.message)
    elif step.phase is PrebuildPhase.FAILED:
        after = replace(after, failure_message=step.message)
    elif step.phase is PrebuildPhase.DELETING and after.desired_phase is not PrebuildPhase.DELETED:
        # ASSUMPTION: when a snapshot expires, the service sets the desired phase DELETED, as a delete request would.
        after = replace(after, desired_phase=PrebuildPhase.DELETED, spec_version=after.spec_version + 1)
    return after


def cancel(prebuild: PrebuildRecord, now: datetime, plan: Plan) -> PrebuildRecord:
    """Return the prebuild on its way to CANCELLED, unchanged if it already is. Its due steps must have been taken.

    ASSUMPTION: a prebuild that is being deleted, or that has ended, cannot be cancelled.

    Raises:
        ConnectError: `failed_precondition`, the prebuild cannot be cancelled any more.
    """
    if prebuild.desired_phase is PrebuildPhase.CANCELLED and prebuild.phase is not PrebuildPhase.FAILED:
        return prebuild
    if prebuild.desired_phase is PrebuildPhase.DELETED or prebuild.phase not in ACTIVE:
        state = (
            "is being deleted"
            if prebuild.desired_phase is PrebuildPhase.DELETED
            else f"is {prebuild.phase.name} already"
        )
        raise ConnectError(ConnectCode.FAILED_PRECONDITION, f"prebuild {prebuild.id} {state} and cannot be cancelled")
    from .declarations import USUAL

    outcome = prebuild.outcome or USUAL
    seconds = outcome.durations.get("CANCELLING", plan.cancelling)
    end = Step(now + timedelta(seconds=seconds), PrebuildPhase.CANCELLED)
    if outcome.fails_in == "CANCELLING":
        message = outcome.message or "the prebuild failed in the phase CANCELLING"
        end = Step(end.due, PrebuildPhase.FAILED, message=message)
    elif outcome.stalls_in == "CANCELLING":
        timeout = timedelta(microseconds=round(parse_duration(prebuild.timeout) * 1_000_000))
        end = _timed_out(max(now, prebuild.created_at + timeout), timeout)
    steps = (Step(now, PrebuildPhase.CANCELLING), end)
    return _turn(prebuild, PrebuildPhase.CANCELLED, steps, now)


def delete(prebuild: PrebuildRecord, now: datetime, plan: Plan) -> PrebuildRecord:
    """Return the prebuild on its way to DELETED, unchanged if it already is. Its due steps must have been taken.

    ASSUMPTION: the desired phase is DELETED at once. A running environment is stopped first, and an environment
    that is being stopped ends, before the phase becomes DELETING.
    """
    if prebuild.desired_phase is PrebuildPhase.DELETED:
        return prebuild
    steps: tuple[Step, ...] = ()
    stopped = now
    if prebuild.phase in (PrebuildPhase.STARTING, PrebuildPhase.RUNNING):
        steps = (Step(now, PrebuildPhase.STOPPING),)
        stopped = now + timedelta(seconds=plan.stopping)
    elif prebuild.phase in (PrebuildPhase.STOPPING, PrebuildPhase.CANCELLING):
        # A stalled prebuild ends only at its timeout, and a deletion does not wait for that.
        stopped = min(prebuild.timeline[0].due, now + timedelta(seconds=plan.stopping))
    return _turn(prebuild, PrebuildPhase.DELETED, (*steps, *_removal(stopped, plan)), now)


def _turn(
    prebuild: PrebuildRecord, desired: PrebuildPhase, timeline: tuple[Step, ...], now: datetime
) -> PrebuildRecord:
    """Return the prebuild with another desired phase and timeline. The first steps are taken at once if they are due.

    The caller that stores the record handles the last step, which removes the record.
    """
    after = replace(
        prebuild,
        desired_phase=desired,
        spec_version=prebuild.spec_version + 1,
        updated_at=now,
        timeline=timeline,
    )
    while after.timeline and after.timeline[0].phase is not None and after.timeline[0].due <= now:
        after = take_step(after) or after
    return after


def _removal(begin: datetime, plan: Plan) -> tuple[Step, ...]:
    deleted = begin + timedelta(seconds=plan.deleting)
    return (
        Step(begin, PrebuildPhase.DELETING),
        Step(deleted, PrebuildPhase.DELETED),
        # ASSUMPTION: DELETED is visible for a while; then the id is unknown.
        Step(deleted + timedelta(seconds=plan.tombstone), None),
    )


# -- Warm pools --------------------------------------------------------------------------------------------------------


def new_pool_bounds(desired: int | None, smallest: int | None, largest: int | None) -> tuple[int, int]:
    """Return the bounds of a new pool from its `desiredSize`, `minSize` and `maxSize`.

    ASSUMPTION: `desiredSize` applies only if no bound is given as well. Without any size the pool holds one
    environment. A bound that is left out is 1, but a maximum is never below the minimum.
    """
    if smallest is None and largest is None:
        return (1, 1) if desired is None else (desired, desired)
    low = 1 if smallest is None else smallest
    return low, max(1, low) if largest is None else largest


def resize(
    pool: WarmPoolRecord, desired: int | None, smallest: int | None, largest: int | None, now: datetime
) -> WarmPoolRecord:
    """Return the pool with other bounds, unchanged if they are the same. A bound that is left out stays.

    ASSUMPTION: `desiredSize` applies only if no bound is given as well. The instances follow at once.

    Raises:
        ConnectError: `invalid_argument`, the minimum would exceed the maximum; `failed_precondition`, the pool is
            being deleted.
    """
    if pool.desired_phase is WarmPoolPhase.DELETED:
        raise ConnectError(
            ConnectCode.FAILED_PRECONDITION, f"warm pool {pool.id} is being deleted and cannot be changed"
        )
    if smallest is None and largest is None:
        smallest = largest = desired
    low = pool.min_size if smallest is None else smallest
    high = pool.max_size if largest is None else largest
    if low > high:
        from .violations import out_of_order  # it imports protobuf

        field = "max_size" if smallest is None else "min_size"
        raise out_of_order(
            "UpdateWarmPool", field, f"the pool would have a min_size of {low}, above its max_size of {high}"
        )
    if (low, high) == (pool.min_size, pool.max_size):
        return pool
    after = replace(pool, min_size=low, max_size=high, spec_version=pool.spec_version + 1, updated_at=now)
    if pool.phase is WarmPoolPhase.READY:
        after = replace(_at_rest(after), status_version=pool.status_version + 1)
    return after


def serve_snapshot(pool: WarmPoolRecord, snapshot_id: str, at: datetime) -> WarmPoolRecord:
    """Return the pool with a newer snapshot, READY with all its instances. A pool that is being deleted is unchanged.

    ASSUMPTION: the instances exist at once, and a rotation counts as a change of spec and status.
    ASSUMPTION: only a newer snapshot replaces the snapshot of a pool: it stays when its prebuild is deleted.
    ASSUMPTION: a DEGRADED pool takes the snapshot, but stays DEGRADED, with its current instances.
    """
    if pool.desired_phase is WarmPoolPhase.DELETED:
        return pool
    after = replace(pool, snapshot_id=snapshot_id, spec_version=pool.spec_version + 1, updated_at=at)
    if pool.phase is WarmPoolPhase.DEGRADED:
        return after
    return replace(_at_rest(after), phase=WarmPoolPhase.READY, status_version=pool.status_version + 1)


def degrade(pool: WarmPoolRecord, message: str, now: datetime) -> WarmPoolRecord:
    """Return the pool as DEGRADED with the failure `message`. Its instances stay.

    ASSUMPTION: the causes of DEGRADED are not documented, so that only the control plane makes a pool DEGRADED.

    Raises:
        ConnectError: `failed_precondition`, the pool is being deleted.
    """
    if pool.desired_phase is WarmPoolPhase.DELETED:
        raise ConnectError(ConnectCode.FAILED_PRECONDITION, f"warm pool {pool.id} is being deleted")
    return replace(
        pool,
        phase=WarmPoolPhase.DEGRADED,
        failure_message=message,
        status_version=pool.status_version + 1,
        updated_at=now,
    )


def recover(pool: WarmPoolRecord, now: datetime) -> WarmPoolRecord:
    """Return the pool without its failure: READY with a snapshot, else PENDING. A healthy pool is unchanged."""
    if pool.phase is not WarmPoolPhase.DEGRADED:
        return pool
    after = replace(pool, failure_message="", status_version=pool.status_version + 1, updated_at=now)
    if pool.snapshot_id is None:
        return replace(after, phase=WarmPoolPhase.PENDING)
    return replace(_at_rest(after), phase=WarmPoolPhase.READY)


def delete_pool(pool: WarmPoolRecord, now: datetime, plan: Plan) -> WarmPoolRecord:
    """Return the pool draining on its way to DELETED, unchanged if it already is. Its due steps must have been taken.

    ASSUMPTION: desired phase DELETED and phase DELETING are visible at once. The instances stay until it is drained.
    """
    if pool.desired_phase is WarmPoolPhase.DELETED:
        return pool
    drained = now + timedelta(seconds=plan.draining)
    after = replace(
        pool,
        desired_phase=WarmPoolPhase.DELETED,
        spec_version=pool.spec_version + 1,
        target=0,
        timeline=(
            PoolStep(now, WarmPoolPhase.DELETING),
            PoolStep(drained, WarmPoolPhase.DELETED),
            PoolStep(drained + timedelta(seconds=plan.tombstone), None),
        ),
    )
    while after.timeline and after.timeline[0].phase is not None and after.timeline[0].due <= now:
        after = take_pool_step(after) or after
    return after


def take_pool_step(pool: WarmPoolRecord) -> WarmPoolRecord | None:
    """Return the pool after the next step of its timeline, or None if that step removes it."""
    step, rest = pool.timeline[0], pool.timeline[1:]
    if step.phase is None:
        return None
    after = replace(pool, phase=step.phase, status_version=pool.status_version + 1, updated_at=step.due, timeline=rest)
    return replace(after, running=0, stopped=0) if step.phase is WarmPoolPhase.DELETED else after


def new_pool_with_snapshot(pool: WarmPoolRecord, snapshot_id: str) -> WarmPoolRecord:
    """Return a new pool that has a snapshot from the start: READY from its first version on."""
    return replace(_at_rest(pool), snapshot_id=snapshot_id, phase=WarmPoolPhase.READY)


def _at_rest(pool: WarmPoolRecord) -> WarmPoolRecord:
    """Return the pool with the number of instances that it has when none is claimed."""
    return replace(pool, running=pool.min_size, stopped=pool.max_size - pool.min_size, target=pool.min_size)
