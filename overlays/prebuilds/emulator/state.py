"""The whole state of an emulator as one JSON document: dump and load."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar, cast

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from prebuild_wire.scalars import parse_duration

from .clock import END_OF_TIME, FASTEST
from .declarations import ControlModel, DeclaredProject, OutcomeState, Plan
from .lifecycle import PrebuildRecord, WarmPoolRecord
from .service import PrebuildService
from .store import Filter

FORMAT: Final = "prebuilds-emulator-state"
VERSION: Final = 1

_MOST_PROBLEMS = 5
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9990, 1, 1, tzinfo=UTC)
_MOST_INTEGER = 2**63 - 1
_MOST = {"percentage": 100, "min_size": 20, "max_size": 20, "running": 20, "stopped": 20, "target": 20}

RecordT = TypeVar("RecordT", PrebuildRecord, WarmPoolRecord)
_ALL = -1  # no limit in SQLite


class StateError(ValueError):
    """A document that is not a state, or a state that this emulator cannot load. Nothing was changed."""


def _check_record(record: RecordT) -> RecordT:
    """Reject values that no record of an emulator has, and values that would break a later response."""
    for name, value in _values("", record):
        match value:
            case datetime() if value.tzinfo is None:
                raise ValueError(f"{name}: {value.isoformat()} has no time zone")
            case datetime() if not _FIRST < value < _LAST:
                raise ValueError(f"{name}: {value.isoformat()} is out of range")
            case int() if not 0 <= value <= _MOST.get(name.rpartition(".")[2], _MOST_INTEGER):
                raise ValueError(f"{name}: {value} is out of range")
            case _:
                pass
    due = [step.due for step in record.timeline]
    if due != sorted(due):
        raise ValueError("timeline: the steps are not in the order of their times")
    if isinstance(record, PrebuildRecord):
        parse_duration(record.timeout)
    return record


def _values(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the numbers and times of a record, each with its path."""
    if isinstance(value, (int, datetime)):
        yield name, value
    elif isinstance(value, tuple):
        for position, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of any kind
            yield from _values(f"{name}.{position}", item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _values(f"{name}.{field.name}" if name else field.name, getattr(value, field.name))


Sequence = Annotated[int, Field(ge=0, lt=2**53)]


class ClockState(ControlModel):
    """The emulated time and its speed."""

    now: Annotated[AwareDatetime, Field(ge=_FIRST, le=END_OF_TIME)]
    """The emulated time."""

    speed: Annotated[float, Field(gt=0, le=FASTEST)]
    """How many emulated seconds pass per real second, while time is not frozen."""

    frozen: bool
    """Whether time is frozen until it is advanced or resumed."""


class StoredPrebuild(ControlModel):
    """A prebuild with its known past and its future."""

    sequence: Sequence
    """The position in the lists. Newer prebuilds have higher positions."""

    record: Annotated[PrebuildRecord, AfterValidator(_check_record)]
    """The stored record."""


class StoredWarmPool(ControlModel):
    """A warm pool with its stored record."""

    sequence: Sequence
    """The position in the lists. Newer pools have higher positions."""

    record: Annotated[WarmPoolRecord, AfterValidator(_check_record)]
    """The stored record."""


class State(ControlModel):
    """The whole state, for a later `load`. Faults and recorded requests are not included.

    The secret that signs page tokens and logs tokens is not included: tokens are valid only in the emulator that
    returned them.
    """

    format: Literal["prebuilds-emulator-state"]
    """The type of this document."""

    version: Literal[1]
    """The version of the format."""

    clock: ClockState
    """The clock."""

    plan: Plan
    """The durations."""

    projects: tuple[DeclaredProject, ...]
    """The declared projects."""

    outcomes: tuple[OutcomeState, ...]
    """The planned outcomes that are not used up."""

    counters: dict[Literal["prebuilds", "warm_pools"], Sequence]
    """The highest sequence that each table has ever had."""

    prebuilds: tuple[StoredPrebuild, ...]
    """All prebuilds."""

    warm_pools: tuple[StoredWarmPool, ...]
    """All warm pools."""


def dump(service: PrebuildService) -> State:
    """Return the current state."""
    clock = service.clock
    now = clock.now()
    with service.transaction(now) as transaction:
        service.settle(transaction, now)
        projects, outcomes = service.projects.dump()
        return State.model_construct(
            format=FORMAT,
            version=VERSION,
            clock=ClockState(now=now, speed=clock.speed, frozen=clock.frozen),
            plan=service.plan,
            projects=projects,
            outcomes=outcomes,
            counters={"prebuilds": 0, "warm_pools": 0} | transaction.counters(),
            prebuilds=tuple(
                StoredPrebuild.model_construct(sequence=sequence, record=record)
                for sequence, record in transaction.list_prebuilds(Filter(), None, _ALL)
            ),
            warm_pools=tuple(
                StoredWarmPool.model_construct(sequence=sequence, record=record)
                for sequence, record in transaction.list_pools(Filter(), None, _ALL)
            ),
        )


def parse(document: bytes) -> State:
    """Parse the document of a state.

    Raises:
        StateError: the document is malformed, is not a state, or was written by a newer emulator.
    """
    try:
        content: Any = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise StateError(f"the document is not JSON: {error}") from None
    fields: dict[str, Any] = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if fields.get("format") != FORMAT:
        raise StateError(f"the document is no state of the emulator: its format is not {FORMAT!r}")
    version = fields.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StateError(
            f"the document was written by a newer emulator (version {version}; this one knows version {VERSION})"
        )
    try:
        return State.model_validate_json(document, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        texts = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found[:_MOST_PROBLEMS]]
        more = f" (and {len(found) - _MOST_PROBLEMS} more)" if len(found) > _MOST_PROBLEMS else ""
        raise StateError(f"the document is broken: {'; '.join(texts)}{more}") from None


def load(service: PrebuildService, state: State) -> None:
    """Replace the current state by another one, all or nothing.

    Raises:
        StateError: the state is inconsistent, or has ids that this emulator does not accept.
    """
    _check_ids(service, state)
    prebuilds, pools = state.prebuilds, state.warm_pools
    highest: dict[str, int] = {
        "prebuilds": max((item.sequence for item in prebuilds), default=0),
        "warm_pools": max((item.sequence for item in pools), default=0),
    }
    try:
        with service.transaction(state.clock.now) as transaction:
            transaction.clear()
            # New rows get sequences above all requested positions, so that none of them collide.
            transaction.put_counters(highest)
            for stored in prebuilds:
                transaction.add_prebuild(stored.record)
                transaction.place_prebuild(stored.record.id, stored.sequence)
            for pool in pools:
                transaction.add_pool(pool.record)
                transaction.place_pool(pool.record.id, pool.sequence)
            transaction.put_counters(highest | {str(name): count for name, count in state.counters.items()})
            service.projects.keep_all(transaction, state.projects, state.outcomes)
            service.put_plan(transaction, state.plan)
    except sqlite3.IntegrityError as error:
        raise StateError(f"the document contradicts itself, two records claim one place: {error}") from None
    service.clock.restore(state.clock.now, speed=state.clock.speed, frozen=state.clock.frozen)
    service.take_over()


def _check_ids(service: PrebuildService, state: State) -> None:
    """Reject ids that no request could use."""
    given = {f"projects.{at}.project.id": item.project.id for at, item in enumerate(state.projects)}
    stored: dict[str, tuple[StoredPrebuild | StoredWarmPool, ...]] = {
        "prebuilds": state.prebuilds,
        "warm_pools": state.warm_pools,
    }
    for name, items in stored.items():
        for at, item in enumerate(items):
            record, where = item.record, f"{name}.{at}.record"
            given[f"{where}.id"] = record.id
            given[f"{where}.project_id"] = record.project_id
            given[f"{where}.environment_class_id"] = record.environment_class_id
    for where, text in given.items():
        try:
            kept = service.projects.checked_id(text, where)
        except ValueError as error:
            raise StateError(f"the document does not fit this emulator: {error}") from None
        if kept != text:
            raise StateError(f"the document is broken: {where}: {text!r} is not in lower case")


def reset(service: PrebuildService) -> None:
    """Reset the emulator to its state at a start without a data file."""
    service.faults.clear()
    service.clock.reset()
    now = service.clock.now()
    with service.transaction(now) as transaction:
        transaction.clear()
        transaction.put_counters({})
        for project in service.first_projects:
            service.projects.declare(transaction, project, now)
    service.take_over()
