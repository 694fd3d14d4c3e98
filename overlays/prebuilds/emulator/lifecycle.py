"""How prebuilds and warm pools change: pure functions of a record, the time and a plan.

A record carries the steps that it still has to take, each with the time at which it is due. They are decided when the
record is made, and again when it is cancelled or deleted. `take_step` and `take_pool_step` take the next one; who
calls them, and when, makes no difference to the outcome, since a step is stamped with the time at which it was due.
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
"""A phase in which a prebuild is under way, by its short name."""

WAY: Final[tuple[ActivePhase, ...]] = tuple(phase for phase in get_args(ActivePhase) if phase != "CANCELLING")
"""The phases that lead to COMPLETED, in their order."""

ACTIVE: Final = frozenset(phase for phase in PrebuildPhase if phase.is_active)
"""The phases in which a prebuild is still under way."""

_ENDED = frozenset(phase for phase in PrebuildPhase if phase.is_terminal and phase is not PrebuildPhase.DELETED)


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """Someone who acts."""

    id: str
    principal: Principal = Principal.USER


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a prebuild that is due at a time. Without a phase, the prebuild is gone for good."""

    due: datetime
    phase: PrebuildPhase | None
    percentage: int = 0
    """How much of the snapshot is written."""
    message: str = ""
    """Why it failed, or what it warns about."""
    snapshot_size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrebuildRecord:
    """A prebuild with all that is known of its past (`taken`) and its future (`timeline`).

    It is equal to itself only: to compare all that two of them hold would take longer than many a call.
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
    """What was planned for it; None for the usual."""
    taken: tuple[Step, ...]
    timeline: tuple[Step, ...]

    @property
    def next_due(self) -> datetime | None:
        """When the next step is due, None if there is none to come."""
        return self.timeline[0].due if self.timeline else None

    @property
    def has_environment(self) -> bool:
        """Whether its environment was made: from STARTING on.

        ASSUMPTION: the environment's id and the log's address are known from then on, and stay known.
        """
        return any(step.phase is PrebuildPhase.STARTING for step in self.taken)


@dataclass(frozen=True, slots=True)
class PoolStep:
    """A change of a warm pool that is due at a time. Without a phase, the pool is gone for good."""

    due: datetime
    phase: WarmPoolPhase | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPoolRecord:
    """A warm pool. `target` is what its autoscaler aims at; it has a timeline only once it is deleted."""

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
        """When the next step is due, None if there is none to come."""
        return self.timeline[0].due if self.timeline else None


# -- Prebuilds ---------------------------------------------------------------------------------------------------------


def prebuild_timeline(
    created_at: datetime, timeout: timedelta, plan: Plan, outcome: Outcome | None = None
) -> tuple[Step, ...]:
    """All steps of a prebuild that nobody interferes with, but for its creation.

    ASSUMPTION: a prebuild that has not completed when its timeout is over becomes FAILED at that moment.
    ASSUMPTION: its snapshot takes the prebuild along when it expires; what left no snapshot is kept.
    """
    from .declarations import USUAL  # loaded with the plan, and not before: pydantic takes its time

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
            # ASSUMPTION: progress is reported once, halfway, as a change of the status like any other.
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
    """The seconds that each phase on the way to COMPLETED takes."""
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
    """The prebuild after the next step of its timeline, None if that step is its last."""
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
        # ASSUMPTION: when a snapshot expires, the service wants the prebuild DELETED, as if somebody had asked.
        after = replace(after, desired_phase=PrebuildPhase.DELETED, spec_version=after.spec_version + 1)
    return after


def cancel(prebuild: PrebuildRecord, now: datetime, plan: Plan) -> PrebuildRecord:
    """The prebuild, on its way to CANCELLED; unchanged if it is that already. Its due steps must have been taken.

    ASSUMPTION: a prebuild that is to be deleted, or that has ended, can no longer be cancelled.

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
    """The prebuild, on its way to DELETED; unchanged if it is that already. Its due steps must have been taken.

    ASSUMPTION: the desired phase is DELETED at once. An environment that is up is stopped first, and one that is
    being stopped comes to its end, before the phase becomes DELETING.
    """
    if prebuild.desired_phase is PrebuildPhase.DELETED:
        return prebuild
    steps: tuple[Step, ...] = ()
    stopped = now
    if prebuild.phase in (PrebuildPhase.STARTING, PrebuildPhase.RUNNING):
        steps = (Step(now, PrebuildPhase.STOPPING),)
        stopped = now + timedelta(seconds=plan.stopping)
    elif prebuild.phase in (PrebuildPhase.STOPPING, PrebuildPhase.CANCELLING):
        # What stalls has no end of its own but its timeout, which a deletion does not wait for.
        stopped = min(prebuild.timeline[0].due, now + timedelta(seconds=plan.stopping))
    return _turn(prebuild, PrebuildPhase.DELETED, (*steps, *_removal(stopped, plan)), now)


def _turn(
    prebuild: PrebuildRecord, desired: PrebuildPhase, timeline: tuple[Step, ...], now: datetime
) -> PrebuildRecord:
    """The prebuild with another aim and another future, whose first steps it takes at once if they are due.

    The last step, which removes the record, is left to whoever stores it.
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
        # ASSUMPTION: DELETED can be seen for a while, then the id is unknown.
        Step(deleted + timedelta(seconds=plan.tombstone), None),
    )


# -- Warm pools --------------------------------------------------------------------------------------------------------


def new_pool_bounds(desired: int | None, smallest: int | None, largest: int | None) -> tuple[int, int]:
    """The bounds of a new pool: `desiredSize`, `minSize` and `maxSize` as they were given.

    ASSUMPTION: `desiredSize` counts only where no bound is given beside it. Without any size the pool holds one
    environment; a bound that is left out is 1, but a maximum is never below the minimum.
    """
    if smallest is None and largest is None:
        return (1, 1) if desired is None else (desired, desired)
    low = 1 if smallest is None else smallest
    return low, max(1, low) if largest is None else largest


def resize(
    pool: WarmPoolRecord, desired: int | None, smallest: int | None, largest: int | None, now: datetime
) -> WarmPoolRecord:
    """The pool with other bounds, those left out as they were. Unchanged if they are the same.

    ASSUMPTION: `desiredSize` counts only where no bound is given beside it. The instances follow at once.

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
        from .violations import out_of_order  # it brings protobuf along

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
    """The pool with a newer snapshot, READY with all its instances. A pool that is being deleted takes none.

    ASSUMPTION: the instances are there at once, and a rotation counts as a change of spec and status.
    ASSUMPTION: only a newer snapshot replaces the one of a pool: it stays when its prebuild is deleted.
    ASSUMPTION: a pool that is DEGRADED takes the snapshot, but stays DEGRADED, with the instances that it has.
    """
    if pool.desired_phase is WarmPoolPhase.DELETED:
        return pool
    after = replace(pool, snapshot_id=snapshot_id, spec_version=pool.spec_version + 1, updated_at=at)
    if pool.phase is WarmPoolPhase.DEGRADED:
        return after
    return replace(_at_rest(after), phase=WarmPoolPhase.READY, status_version=pool.status_version + 1)


def degrade(pool: WarmPoolRecord, message: str, now: datetime) -> WarmPoolRecord:
    """The pool with trouble of which `message` tells; its instances stay.

    ASSUMPTION: what makes a pool DEGRADED is nowhere said, so that only who runs the emulator does.

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
    """The pool without its trouble: READY if it has a snapshot, PENDING if not. Unchanged if it has none."""
    if pool.phase is not WarmPoolPhase.DEGRADED:
        return pool
    after = replace(pool, failure_message="", status_version=pool.status_version + 1, updated_at=now)
    if pool.snapshot_id is None:
        return replace(after, phase=WarmPoolPhase.PENDING)
    return replace(_at_rest(after), phase=WarmPoolPhase.READY)


def delete_pool(pool: WarmPoolRecord, now: datetime, plan: Plan) -> WarmPoolRecord:
    """The pool, draining on its way to DELETED; unchanged if it is that already. Its due steps must have been taken.

    ASSUMPTION: desired phase DELETED and phase DELETING are seen at once, and the instances stay until it is drained.
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
    """The pool after the next step of its timeline, None if that step is its last."""
    step, rest = pool.timeline[0], pool.timeline[1:]
    if step.phase is None:
        return None
    after = replace(pool, phase=step.phase, status_version=pool.status_version + 1, updated_at=step.due, timeline=rest)
    return replace(after, running=0, stopped=0) if step.phase is WarmPoolPhase.DELETED else after


def new_pool_with_snapshot(pool: WarmPoolRecord, snapshot_id: str) -> WarmPoolRecord:
    """A pool that finds a snapshot when it is made: READY from its first version on."""
    return replace(_at_rest(pool), snapshot_id=snapshot_id, phase=WarmPoolPhase.READY)


def _at_rest(pool: WarmPoolRecord) -> WarmPoolRecord:
    """The pool with as many instances as it has when nobody claims any."""
    return replace(pool, running=pool.min_size, stopped=pool.max_size - pool.min_size, target=pool.min_size)
