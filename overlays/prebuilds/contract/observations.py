"""Properties across all responses about one resource: no state goes back in time, and no constant changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from prebuild_wire.enums import PrebuildPhase
from prebuild_wire.scalars import parse_timestamp
from prebuilds.contract.wire import Answer, at

# The happy path, in order.
_RANK: Final = {
    "PENDING": 1,
    "STARTING": 2,
    "RUNNING": 3,
    "STOPPING": 4,
    "SNAPSHOTTING": 5,
    "COMPLETED": 6,
    "FAILED": 6,
    "CANCELLING": 6,
    "CANCELLED": 7,
    "DELETING": 8,
    "DELETED": 9,
}
ACTIVE: Final = frozenset(phase.name for phase in PrebuildPhase if phase.is_active)
"""The phases in which a prebuild is under way."""

LEAVING: Final = frozenset({*(phase.name for phase in PrebuildPhase if phase.is_deleting), "DELETED"})
"""The phases of resources that are being deleted."""

ENDED: Final = frozenset(phase.name for phase in PrebuildPhase if phase.is_terminal) - LEAVING
"""The phases in which a prebuild stays until it is deleted."""

_PREBUILD_FIXED = (
    "metadata.createdAt",
    "metadata.organizationId",
    "metadata.projectId",
    "metadata.environmentClassId",
    "metadata.creator.id",
    "metadata.triggeredBy",
    "spec.timeout",
)
_POOL_FIXED = (
    "metadata.createdAt",
    "metadata.organizationId",
    "metadata.projectId",
    "metadata.environmentClassId",
    "metadata.runnerId",
)
_COUNTS = ("status.runningInstances", "status.stoppedInstances", "status.desiredSize")


@dataclass(frozen=True, slots=True)
class Observation:
    """A result for one response.

    Attributes:
        property: the name of the property.
        why: the problem; "" if the check passed.
        before: the earlier response that shows the problem together with this one, if needed.
    """

    property: str
    why: str = ""
    before: Answer | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    item: dict[str, Any]
    answer: Answer
    at: float
    approved: set[str]
    """The methods that have shown it again as it is, and right."""


def phase_of(item: dict[str, Any]) -> str:
    """The phase of a prebuild or pool without its prefix, "" if it is missing or unknown."""
    return _phase(at(item, "status.phase"))


def desired_phase_of(item: dict[str, Any]) -> str:
    """The desired phase of a prebuild or pool without its prefix."""
    return _phase(at(item, "spec.desiredPhase"))


def items_in(answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    """The prebuilds and pools in a response, each with its type."""
    if not answer.ok:
        return
    for kind, lists in (("prebuild", "prebuilds"), ("warmPool", "warmPools")):
        found = [answer.json.get(kind)]
        several = answer.json.get(lists)
        if isinstance(several, list):
            found += cast("Iterable[Any]", several)
        for item in found:
            if isinstance(item, dict):
                yield kind, cast("dict[str, Any]", item)


class Observer:
    """Checks each response, and remembers the latest response about each prebuild and pool.

    Args:
        settle: for how many seconds a response may still show an earlier state.
    """

    def __init__(self, settle: float = 0.0) -> None:
        self._settle = settle
        self._seen: dict[str, _Seen] = {}

    def latest(self, item_id: str) -> dict[str, Any] | None:
        """The last observed state of the resource with that id."""
        seen = self._seen.get(item_id)
        return None if seen is None else seen.item

    def look(self, answer: Answer, now: float) -> Iterator[Observation]:
        """The result of the response for each property."""
        for kind, item in items_in(answer):
            item_id = item.get("id")
            if not isinstance(item_id, str) or not item_id:
                yield from _alone(kind, item)
                continue
            before = self._seen.get(item_id)
            if before is None:
                yield from _alone(kind, item)
                self._seen[item_id] = _Seen(item, answer, now, set())
            elif now - before.at < self._settle:
                yield from _alone(kind, item)
            elif item != before.item:
                yield from _alone(kind, item)
                yield from _together(kind, before, item)
                self._seen[item_id] = _Seen(item, answer, now, set())
            else:
                yield from self._again(kind, before, item, answer.request.method)
                self._seen[item_id] = _Seen(before.item, answer, now, before.approved)

    def _again(self, kind: str, before: _Seen, item: dict[str, Any], method: str) -> Iterator[Observation]:
        """Unchanged resources need no repeated check: most resources in responses are unchanged."""
        if method in before.approved:
            return
        found = [*_alone(kind, item), *_together(kind, before, item)]
        if not any(observation.why for observation in found):
            before.approved.add(method)
        yield from found


def _alone(kind: str, item: dict[str, Any]) -> Iterator[Observation]:
    name = f"{kind} {item.get('id')}"
    created, updated = _moment(at(item, "metadata.createdAt")), _moment(at(item, "metadata.updatedAt"))
    if created is not None and updated is not None:
        late = updated < created
        yield Observation("updated-at-moves-forward", f"{name}: updatedAt is before createdAt" if late else "")
    phase = phase_of(item)
    for path in _COUNTS:
        count = at(item, path)
        if isinstance(count, int) and count < 0:
            yield Observation("matches-schema", f"{name}: {path} {count} is below zero")
    if kind == "warmPool":
        missing = phase == "READY" and not at(item, "spec.snapshotId")
        yield Observation("ready-needs-a-snapshot", f"{name} is READY without a spec.snapshotId" if missing else "")
        low, high = at(item, "spec.minSize"), at(item, "spec.maxSize")
        if isinstance(low, int) and isinstance(high, int) and low > high:
            yield Observation("matches-schema", f"{name}: spec.minSize {low} is above spec.maxSize {high}")
        return
    if not phase:
        return
    completed = at(item, "status.completionTime")
    if phase in ACTIVE and completed:
        yield Observation("completion-time-at-the-end", f"{name} is {phase} and has a completionTime already")
    elif phase == "COMPLETED" and not completed:
        yield Observation("completion-time-at-the-end", f"{name} is COMPLETED and has no completionTime")
    else:
        yield Observation("completion-time-at-the-end")
    size = at(item, "status.snapshotSizeBytes")
    early = size not in (None, "", "0", 0) and phase in (ACTIVE | {"FAILED", "CANCELLED"})
    yield Observation("size-once-completed", f"{name} is {phase} and has snapshotSizeBytes {size}" if early else "")
    failed = bool(at(item, "status.failureMessage")) and phase in (ACTIVE | {"COMPLETED"}) - {"CANCELLING"}
    yield Observation("failure-message-of-failures", f"{name} is {phase} and has a failureMessage" if failed else "")


def _together(kind: str, before: _Seen, item: dict[str, Any]) -> Iterator[Observation]:
    old = before.item
    name = f"{kind} {item.get('id')}"

    def judged(property_name: str, why: str) -> Observation:
        return Observation(property_name, f"{name}: {why}" if why else "", before.answer if why else None)

    fixed = _PREBUILD_FIXED if kind == "prebuild" else _POOL_FIXED
    changed = next((path for path in fixed if (at(old, path) or None) != (at(item, path) or None)), None)
    why = "" if changed is None else f"{changed} was {at(old, changed)!r}, and is {at(item, changed)!r} now"
    yield judged("created-at-is-stable", why)
    first, second = _moment(at(old, "metadata.updatedAt")), _moment(at(item, "metadata.updatedAt"))
    if first is not None and second is not None:
        yield judged("updated-at-moves-forward", "updatedAt went back" if second < first else "")
    was, phase = phase_of(old), phase_of(item)
    yield judged("versions-grow", _versions(old, item, was, phase))
    if kind == "prebuild" and was in _RANK and phase in _RANK:
        yield judged("phases-move-forward", f"it was {was}, and is {phase} now" if _goes_back(was, phase) else "")
        if was in ENDED | {"DELETED"}:
            left = phase != was and (phase not in LEAVING or was == "DELETED")
            yield judged("terminal-phases-stay", f"it was {was}, and is {phase} now" if left else "")


def _versions(old: dict[str, Any], item: dict[str, Any], was: str, phase: str) -> str:
    for part, changed in (("status", was != phase and bool(was and phase)), ("spec", _spec_changed(old, item))):
        path = f"{part}.{part}Version"
        earlier, later = _count(at(old, path)), _count(at(item, path))
        if earlier is None or later is None:
            return ""  # another check reports the violated schema
        if later < earlier:
            return f"{path} went back from {earlier} to {later}"
        if changed and later == earlier:
            return f"{part} has changed, and {path} is still {later}"
    return ""


def _spec_changed(old: dict[str, Any], item: dict[str, Any]) -> bool:
    names = ("timeout", "desiredPhase", "minSize", "maxSize", "snapshotId")
    return any((at(old, f"spec.{name}") or None) != (at(item, f"spec.{name}") or None) for name in names)


def _goes_back(was: str, phase: str) -> bool:
    if was in ENDED:
        return False  # its own property reports this
    return _RANK[phase] < _RANK[was] or (was == "CANCELLING" and phase == "COMPLETED")


def _phase(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    for prefix in ("PREBUILD_PHASE_", "WARM_POOL_PHASE_"):
        if value.startswith(prefix):
            name = value.removeprefix(prefix)
            return "" if name == "UNSPECIFIED" else name
    return ""


def _count(value: Any) -> int | None:
    if value in (None, "", 0):
        return 0
    return int(value) if isinstance(value, str) and value.isdigit() else None


def _moment(value: Any) -> tuple[Any, int] | None:
    return _moment_of(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)  # the same ones come again and again
def _moment_of(text: str) -> tuple[Any, int] | None:
    try:
        return parse_timestamp(text)
    except ValueError:
        return None
