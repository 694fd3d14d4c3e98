"""What a caller knows of what it made, and what has to follow from that: the model of the state machine.

How long anything takes, and through which phases it goes, is for the server to say. Nothing here sends anything or
looks at a clock.
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
"""The phases of what was cancelled."""

_DURATION = re.compile(r"([+-]?\d+(?:\.\d+)?)s")


@dataclass(slots=True)
class Made:
    """An object that the machine made, and what it knows of it.

    Attributes:
        kind: a prebuild or a warm pool.
        id: what the server called it.
        place: the project and the environment class that it was made for; the class is "" where none was named.
        seen: how it was shown last.
        bounds: the minSize and maxSize that a pool has to have; None in place of one that is the server's choice.
        deleting: whether its deletion was asked for.
        cancelled: whether a cancellation of it was accepted while it was under way.
        gone: whether the server has said, after its deletion, that there is no such thing.
        lost: whether it behaved so wrongly that nothing more can be said of it.
        since: when it got into the state in which its deletion has to show, in seconds.
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
        """Whether it must be there: nobody asked for its deletion."""
        return not (self.deleting or self.lost)

    @property
    def name(self) -> str:
        """What a message calls it."""
        return f"{'prebuild' if self.kind == 'prebuild' else 'warm pool'} {self.id}"


def is_leaving(item: Json) -> bool:
    """Whether an object shows that it was deleted: by its phase, or by the phase that it is to come to."""
    return phase_of(item) in LEAVING or desired_phase_of(item) == "DELETED"


def is_at_rest(made: Made, item: Json) -> bool:
    """Whether nothing is under way that a deletion would have to wait for."""
    return made.kind == "pool" or phase_of(item) in ENDED


def seconds(duration: Any) -> Decimal | None:
    """A protobuf duration in seconds, None if it is none."""
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    return None if match is None else Decimal(match[1])


def made_at(item: Json) -> tuple[Any, int] | None:
    """When an object was made, as something that can be compared; None if it does not tell."""
    try:
        return parse_timestamp(at(item, "metadata.createdAt"))
    except ValueError:
        return None


def bounds(item: Json) -> tuple[Any, Any]:
    """The minSize and maxSize that a pool shows."""
    return at(item, "spec.minSize"), at(item, "spec.maxSize")


def fits(shown: tuple[Any, Any], wanted: tuple[int | None, int | None]) -> bool:
    """Whether a pool shows the bounds that it has to have."""
    return all(want is None or (have == want and have is not True) for have, want in zip(shown, wanted, strict=True))


def new_bounds(
    sizes: Mapping[str, int], stored: tuple[int | None, int | None] = (None, None)
) -> tuple[int | None, int | None] | None:
    """The bounds that a pool must have after it was asked for these sizes, None if they have to be refused.

    Args:
        sizes: `minSize` and `maxSize`, or `desiredSize`, or nothing.
        stored: the bounds that it has; None in place of one that is not known.

    Returns:
        The bounds; None in place of one that is for the server to choose.
    """
    if "desiredSize" in sizes:
        return sizes["desiredSize"], sizes["desiredSize"]
    low, high = sizes.get("minSize", stored[0]), sizes.get("maxSize", stored[1])
    return None if low is not None and high is not None and low > high else (low, high)


Filter = Mapping[str, Sequence[str]]

# Where an item has what a filter looks at.
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
    """Whether an item passes a filter, None if what it shows does not tell. An empty list lets everything through."""
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


# What a list has to show as Get does.
_SHOWN: Final = (
    *(f"metadata.{name}" for name in ("organizationId", "projectId", "environmentClassId", "runnerId")),
    *(f"metadata.{name}" for name in ("creator.id", "executor.id", "createdAt", "updatedAt", "triggeredBy")),
    *(f"spec.{name}" for name in ("specVersion", "desiredPhase", "timeout", "minSize", "maxSize", "snapshotId")),
    *(f"status.{name}" for name in ("phase", "statusVersion", "completionTime", "failureMessage", "warningMessage")),
    *(f"status.{name}" for name in ("environmentId", "snapshotSizeBytes", "runningInstances", "stoppedInstances")),
)


def difference(first: Json, second: Json) -> str:
    """The first field that two views of an object do not show alike, "" if there is none."""
    for path in _SHOWN:
        if (at(first, path) or None) != (at(second, path) or None):
            return f"{path} is {at(first, path)!r} here and {at(second, path)!r} there"
    return ""


def misplaced(made: Made) -> list[str]:
    """Where a thing is shown to be, if that is another place than the one that was asked for."""
    wrong: list[str] = []
    for what, path, wanted in (
        ("project", "metadata.projectId", made.place[0]),
        ("environment class", "metadata.environmentClassId", made.place[1]),
    ):
        shown = at(made.seen, path)
        if wanted and str(shown or "").lower() != wanted.lower():
            wrong.append(f"the {what} {wanted} and got {shown}")
    return wrong
