"""What the page is told about the emulator: prebuilds as rows with all their steps, and everything else as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from prebuild_wire import OPERATIONS
from prebuilds.emulator.lifecycle import PrebuildRecord, Step
from prebuilds.emulator.store import Filter, Transaction
from prebuilds.emulator.views import prebuild_view, warm_pool_view

if TYPE_CHECKING:
    from prebuilds.emulator.declarations import ControlModel
    from prebuilds.emulator.service import PrebuildService

MAX_PREBUILDS: Final = 20_000
"""How many prebuilds the page gets, the newest ones."""

MAX_POOLS: Final = 2_000
"""How many warm pools the page gets, the newest ones."""

_MAX_CALLS: Final = 20


def prebuild_row(sequence: int | None, record: PrebuildRecord) -> dict[str, Any]:
    """A prebuild as the page lists it.

    It has the steps to come as well as those that were taken. The page knows the time, so that it can tell the phase
    at any moment without asking.
    """
    return {
        "id": record.id,
        "seq": sequence,
        "project": record.project_id,
        "class": record.environment_class_id,
        "created": record.created_at.timestamp() * 1000,
        "trigger": record.triggered_by.name,
        "desired": record.desired_phase.name,
        "steps": [_step(step) for step in (*record.taken, *record.timeline)],
    }


def _step(step: Step) -> list[Any]:
    """When it is due, its phase (null where the prebuild is gone), the percentage and the message."""
    found: list[Any] = [step.due.timestamp() * 1000, None if step.phase is None else step.phase.name]
    if step.percentage or step.message:
        found += [step.percentage, step.message]
    return found


def prebuild_details(record: PrebuildRecord, base_url: str) -> dict[str, Any]:
    """A prebuild as the service returns it."""
    return prebuild_view(record, base_url)


def clock_state(service: PrebuildService) -> dict[str, Any]:
    """The emulated time, and how it passes."""
    clock = service.clock
    return {"now": clock.now().timestamp() * 1000, "speed": clock.speed, "frozen": clock.frozen}


def constants(service: PrebuildService) -> dict[str, Any]:
    """What stays the same for as long as the emulator runs."""
    return {
        "service": next(iter(OPERATIONS.values())).path.rpartition("/")[0],
        "methods": list(OPERATIONS),
        "strict": service.projects.strict,
    }


class Parts:
    """Everything but prebuilds and requests: small enough to be compared and sent as a whole."""

    def __init__(self, service: PrebuildService) -> None:
        self._service = service
        self._known: dict[str, Any] = {}

    def read(self, transaction: Transaction) -> dict[str, Any]:
        """All parts as the page gets them."""
        self._known = self._objects(transaction)
        return {name: _sent(name, value) for name, value in self._known.items()}

    def changed(self, transaction: Transaction) -> dict[str, Any]:
        """The parts that are others than when they were last read."""
        before, self._known = self._known, self._objects(transaction)
        return {name: _sent(name, value) for name, value in self._known.items() if before.get(name) != value}

    def _objects(self, transaction: Transaction) -> dict[str, Any]:
        service = self._service
        return {
            "plan": service.plan,
            "projects": service.projects.all(),
            "outcomes": service.projects.outcomes(),
            "faults": service.faults.all(),
            "pools": [pool for _, pool in transaction.list_pools(Filter(), None, MAX_POOLS)],
        }


def _sent(name: str, value: Any) -> Any:
    if name == "pools":
        return [warm_pool_view(pool) for pool in value]
    if name == "plan":
        return value.model_dump(mode="json")
    models: Iterable[ControlModel] = value
    rows = [model.model_dump(mode="json") for model in models]
    if name == "faults":
        rows = [{**row, "calls": row["calls"][-_MAX_CALLS:]} for row in rows]
    return rows
