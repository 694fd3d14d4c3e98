"""The model of the state machine: the client's knowledge of its resources, and the expected states.

The server determines durations and phases. This module sends nothing, and reads no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from prebuild_wire.scalars import parse_timestamp
from prebuilds.contract.observations import ACTIVE, ENDED, LEAVING, desired_phase_of, phase_of
from prebuilds.contract.wire import at

Kind = Literal["prebuild", "pool"]
Json = dict[str, Any]

UNDER_WAY: Final = ACTIVE - {"CANCELLING"}
"""The phases in which a prebuild can be cancelled."""

CANCELLING: Final = frozenset({"CANCELLING", "CANCELLED"})
"""The phases of cancelled prebuilds."""

_DURATION = re.compile(r"([+-]?\d+(?:\.\d+)?)s")


@dataclass(slots=True)
class Made:
    """A resource that the machine created, and its known state.

    Attributes:
        kind: a prebuild or a warm pool.
        id: the id from the server.
        place: the requested project and environment class; the class is "" if the request named none.
        seen: the last observed state.
        bounds: the expected minSize and maxSize of a pool; None for a bound that the server chooses.
        deleting: whether its deletion was requested.
        cancelled: whether the server accepted a cancellation while the prebuild was running.
        gone: whether the server reported, after the deletion, that the resource does not exist.
        lost: whether it behaved so incorrectly that its state is unknown.
        since: the time in seconds since when its deletion must become visible.
    """

    kind: Kind
    id: str
    place: tuple[str, str]
    seen: Json
    bounds: tuple[int | None, int | None] = (None, None)
    deleting: bool = False
    cancelled: bool = False
    gone: bool = False
    lost: bool = False
    since: float | None = field(default=None)

    @property
    def there(self) -> bool:
        """Whether it must exist: no client requested its deletion."""
        return not (self.deleting or self.lost)

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{'prebuild' if self.kind == 'prebuild' else 'warm pool'} {self.id}"


def is_leaving(item: Json) -> bool:
    """Whether an object shows that it was deleted: by its phase, or by the phase that it is to come to."""
    return phase_of(item) in LEAVING or desired_phase_of(item) == "DELETED"


def is_at_rest(made: Made, item: Json) -> bool:
    """Whether a deletion would not need to wait for running work."""
    return made.kind == "pool" or phase_of(item) in ENDED


def seconds(duration: Any) -> Decimal | None:
    """A protobuf duration in seconds, None if it is invalid."""
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    return None if match is None else Decimal(match[1])


def made_at(item: Json) -> tuple[Any, int] | None:
    """The creation time as a comparable value; None if it is missing."""
    try:
        return parse_timestamp(at(item, "metadata.createdAt"))
    except ValueError:
        return None


def bounds(item: Json) -> tuple[Any, Any]:
    """The minSize and maxSize that a pool shows."""
    return at(item, "spec.minSize"), at(item, "spec.maxSize")


def fits(shown: tuple[Any, Any], wanted: tuple[int | None, int | None]) -> bool:
    """Whether a pool shows its expected bounds."""
    return all(want is None or (have == want and have is not True) for have, want in zip(shown, wanted, strict=True))


def new_bounds(
    sizes: Mapping[str, int], stored: tuple[int | None, int | None] = (None, None)
) -> tuple[int | None, int | None] | None:
    """The expected bounds of a pool after a request for these sizes, None if the server must reject them.

    Args:
        sizes: `minSize` and `maxSize`, or `desiredSize`, or nothing.
        stored: its current bounds; None for an unknown bound.

    Returns:
        The bounds; None for a bound that the server chooses.
    """
    if "desiredSize" in sizes:
        return sizes["desiredSize"], sizes["desiredSize"]
    low, high = sizes.get("minSize", stored[0]), sizes.get("maxSize", stored[1])
    return None if low is not None and high is not None and low > high else (low, high)


Filter = Mapping[str, Sequence[str]]

# The fields of an item that a filter compares.
_LOOKS_AT: Final = {
    "projectIds": "metadata.projectId",
    "phases": "status.phase",
    "triggeredBy": "metadata.triggeredBy",
    "creatorIds": "metadata.creator.id",
    "executorIds": "metadata.executor.id",
    "environmentClassIds": "metadata.environmentClassId",
}

# Zero values and members that were added later say nothing about whether a filter works.
_ENUMS: Final = {
    "phases": frozenset(f"PREBUILD_PHASE_{name}" for name in (*UNDER_WAY, *ENDED, *CANCELLING, *LEAVING)),
    "triggeredBy": frozenset({"PREBUILD_TRIGGER_MANUAL", "PREBUILD_TRIGGER_SCHEDULED"}),
}


def passes(item: Json, wanted: Filter) -> bool | None:
    """Whether an item matches a filter, None if its fields do not show it. An empty list matches everything."""
    unknown = False
    for name, values in wanted.items():
        if not values:
            continue
        value = at(item, _LOOKS_AT[name])
        if name in _ENUMS and value not in _ENUMS[name]:
            unknown = True
        elif str(value or "").lower() not in {each.lower() for each in values}:
            return False
    return None if unknown else True


# The fields that a list must show as Get does.
_SHOWN: Final = (
    *(f"metadata.{name}" for name in ("organizationId", "projectId", "environmentClassId", "runnerId")),
    *(f"metadata.{name}" for name in ("creator.id", "executor.id", "createdAt", "updatedAt", "triggeredBy")),
    *(f"spec.{name}" for name in ("specVersion", "desiredPhase", "timeout", "minSize", "maxSize", "snapshotId")),
    *(f"status.{name}" for name in ("phase", "statusVersion", "completionTime", "failureMessage", "warningMessage")),
    *(f"status.{name}" for name in ("environmentId", "snapshotSizeBytes", "runningInstances", "stoppedInstances")),
)


def difference(first: Json, second: Json) -> str:
    """The first field that differs between two views of a resource, "" if there is none."""
    for path in _SHOWN:
        if (at(first, path) or None) != (at(second, path) or None):
            return f"{path} is {at(first, path)!r} here and {at(second, path)!r} there"
    return ""


def misplaced(made: Made) -> list[str]:
    """The place that a resource shows, if it differs from the requested place."""
    wrong: list[str] = []
    for what, path, wanted in (
        ("project", "metadata.projectId", made.place[0]),
        ("environment class", "metadata.environmentClassId", made.place[1]),
    ):
        shown = at(made.seen, path)
        if wanted and str(shown or "").lower() != wanted.lower():
            wrong.append(f"the {what} {wanted} and got {shown}")
    return wrong
